"""Who changed what: a trail of the administrators' acts that shows when it was tampered with.

Each entry holds the hash of the one before and its own, which covers both; the head holds the hash
of the last one, so that a lost end shows, too::

    entry 1   hash1 = SHA-256(1, at, who, action, target, details, 0…0)
    entry n   hashn = SHA-256(n, at, who, action, target, details, hash(n-1))
    head      n, hashn

An entry is written in the transaction of the change that it tells of: neither is there without the
other. Somebody who may write to the database and knows this file can compute the whole chain anew;
only a hash kept elsewhere shows that, so `Audit.verify` returns the last one.

Reference: S. Haber and W. S. Stornetta, "How to time-stamp a digital document", 1991.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from closedloop.core import schema
from closedloop.core.errors import Tampered
from closedloop.core.store import Lock, Store, one_at_a_time

_NOTHING_BEFORE = "0" * 64
_MAX_CHARS = 200
_REMEDY = "Compare the table 'audit' with a backup of the store, and find who may write to it."


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One act of an administrator."""

    position: int  # 1, 2, 3 … without a gap
    at: float
    who: str
    action: str
    target: str
    details: Mapping[str, Any]  # never a secret
    previous: str
    hash: str

    def computed(self) -> str:
        """Return the hash that this content should have."""
        return _hash(
            self.position, self.at, self.who, self.action, self.target, self.details, self.previous
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """A whole chain: how long it is, and the hash to compare with one kept elsewhere."""

    entries: int
    last_hash: str


class Audit:
    """The trail in the metadata store.

    Parameters
    ----------
    store : Store
        Where it is.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, *, who: str, action: str, target: str, **details: Any) -> None:
        """Append an act whose effect lies outside the store; see `record` for one inside."""
        with self._store.write() as connection:
            record(connection, who=who, action=action, target=target, **details)

    def entries(self, *, since: float | None = None, limit: int | None = None) -> list[Entry]:
        """Return what was done, newest first.

        Parameters
        ----------
        since : float, optional
            Nothing before this moment, Unix seconds.
        limit : int, optional
            At most so many.
        """
        wanted = sa.select(schema.audit).order_by(schema.audit.c.position.desc()).limit(limit)
        if since is not None:
            wanted = wanted.where(schema.audit.c.at >= since)
        with self._store.read() as connection:
            return [_entry(row) for row in connection.execute(wanted)]

    def verify(self) -> Verified:
        """Compute every hash again.

        Raises
        ------
        Tampered
            The chain is broken; the message names the first entry that does not fit.
        """
        with self._store.read() as connection:
            one_at_a_time(connection, Lock.AUDIT)
            head = connection.execute(sa.select(schema.audit_head)).one_or_none()
            last_position, last_hash = 0, _NOTHING_BEFORE
            order = sa.select(schema.audit).order_by(schema.audit.c.position)
            for row in connection.execution_options(yield_per=1_000).execute(order):
                entry = _entry(row)
                _check(entry, last_position, last_hash)
                last_position, last_hash = entry.position, entry.hash
        if head is None and last_position == 0:
            return Verified(entries=0, last_hash=last_hash)
        if head is None:
            raise Tampered("The audit trail has lost its head.", remedy=_REMEDY)
        if head.position > last_position:
            raise Tampered(
                f"Audit entry {last_position + 1} is missing: the trail ends behind"
                f" {last_position}, and {head.position} were written.",
                remedy=_REMEDY,
            )
        if (head.position, head.hash) != (last_position, last_hash):
            raise Tampered(
                f"Audit entry {min(head.position + 1, last_position)} was not written by"
                " closedloop: it is not the one that the head names.",
                remedy=_REMEDY,
            )
        return Verified(entries=last_position, last_hash=last_hash)


def record(
    connection: sa.Connection, *, who: str, action: str, target: str, **details: Any
) -> None:
    """Append an act in the transaction that does it.

    Parameters
    ----------
    connection : Connection
        From `Store.write`.
    who, action, target : str
        Such as ``ann``, ``keys.revoke`` and the key's id.
    **details
        JSON values; never a secret.
    """
    one_at_a_time(connection, Lock.AUDIT)
    position, previous = _end(connection)
    row = {
        "position": position + 1,
        "at": time.time(),
        "who": _storable(who),
        "action": action,
        "target": _storable(target),
        "details": json.loads(json.dumps(details)),  # what will be read, tuples as lists
        "previous": previous,
    }
    row["hash"] = _hash(*row.values())
    connection.execute(sa.insert(schema.audit).values(row))
    head = {"position": row["position"], "hash": row["hash"]}
    if not connection.execute(sa.update(schema.audit_head).values(head)).rowcount:
        connection.execute(sa.insert(schema.audit_head).values(id=1, **head))


def system_user() -> str:
    """Return the name of the account that runs this process, whatever its environment claims."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _end(connection: sa.Connection) -> tuple[int, str]:
    """Return position and hash of what the next entry follows.

    A damaged trail must not keep a key from being revoked: the entry goes behind all that is
    there, and `verify` tells of the damage.
    """
    head = connection.execute(sa.select(schema.audit_head)).one_or_none()
    newest = sa.select(schema.audit).order_by(schema.audit.c.position.desc()).limit(1)
    last = connection.execute(newest).one_or_none()
    ends = [(end.position, end.hash) for end in (head, last) if end is not None]
    return max(ends, default=(0, _NOTHING_BEFORE), key=lambda end: end[0])


def _check(entry: Entry, last_position: int, last_hash: str) -> None:
    if entry.position != last_position + 1:
        raise Tampered(f"Audit entry {last_position + 1} is missing.", remedy=_REMEDY)
    if entry.computed() != entry.hash:
        raise Tampered(
            f"Audit entry {entry.position} ({entry.action} of {entry.target!r}) was changed:"
            " its hash is not that of its content.",
            remedy=_REMEDY,
        )
    if entry.previous != last_hash:
        raise Tampered(
            f"Audit entry {entry.position} ({entry.action} of {entry.target!r}) does not follow"
            f" {last_position}: one of the two was written anew.",
            remedy=_REMEDY,
        )


def _hash(*content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(row: sa.Row) -> Entry:
    return Entry(**row._mapping)


def _storable(text: str) -> str:
    """Return a text that every database takes."""
    return text.replace("\x00", "")[:_MAX_CHARS].encode("utf-8", "replace").decode()
