"""API keys in the metadata store: made, rotated, revoked and checked.

Checking costs the same for an id that nobody has as for a wrong secret: one look-up, one hash and
two comparisons in constant time, so that an answer's time does not tell which ids there are.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

import sqlalchemy as sa

from closedloop.core import audit, schema
from closedloop.core.api_key import (
    ALL,
    CLIENT_ACTIONS,
    Action,
    ApiKey,
    actions_named,
    check_patterns,
    parts,
    written,
)
from closedloop.core.errors import Conflict, EngineError, InputError, NotAllowed, NotFound
from closedloop.core.last_used import LastUsed
from closedloop.core.store import Store

DEFAULT_GRACE_S = 86_400.0
_DAY_S = 86_400.0
_MAX_CHARS = 120
_SEE_LIST = "See 'closedloop keys list'."


class ApiKeys:
    """The keys of client apps.

    Parameters
    ----------
    store : Store
        Where they are.
    who : str, optional
        Whom the audit trail names for changes; the account that runs this process if omitted.
    """

    def __init__(self, store: Store, *, who: str | None = None) -> None:
        self._store = store
        self._who = who or audit.system_user()
        self.last_used = LastUsed(store)
        # What an id that nobody has is compared with.
        self._no_hash = _digest(secrets.token_hex())

    def add_key(
        self,
        client: str,
        *,
        tenant: str = ALL,
        valid_days: float | None = None,
        actions: Collection[str] = CLIENT_ACTIONS,
        models: Sequence[str] = (ALL,),
    ) -> tuple[ApiKey, str]:
        """Create a key; the returned secret string is shown this once and never stored.

        Parameters
        ----------
        client : str
            Whom it is for.
        tenant : str
            Whose models it reaches; ``*`` is everybody's.
        valid_days : float, optional
            It expires then; never if omitted.
        actions : collection of str
            See `Action`; 'all' is everything.
        models : sequence of str
            Names or patterns, such as ``shop.intent.*``.

        Raises
        ------
        InputError
            A name is unusable, an action unknown, or a pattern fits nothing.
        """
        client, tenant = client.strip(), tenant.strip()
        if not client:
            raise InputError("A key needs the name of its client.", remedy="Give --client NAME.")
        for what, name in (("client", client), ("tenant", tenant)):
            if not 0 < len(name) <= _MAX_CHARS:
                raise InputError(
                    f"A name of {len(name)} characters cannot be that of a {what}.",
                    remedy=f"Give a name of 1 to {_MAX_CHARS} characters.",
                )
        models = tuple(dict.fromkeys(models))
        check_patterns(models, tenant)
        now = time.time()
        key = ApiKey(
            id=secrets.token_hex(8),
            client=client,
            tenant=tenant,
            created_at=now,
            expires_at=None if valid_days is None else _later(now, valid_days * _DAY_S),
            actions=actions_named(actions),
            models=models,
        )
        secret = secrets.token_urlsafe(32)
        scope = {"actions": _stored(key.actions), "models": list(models)}
        with self._store.write() as connection:
            connection.execute(
                sa.insert(schema.api_key).values(
                    id=key.id,
                    client=key.client,
                    tenant=key.tenant,
                    secret_hash=_digest(secret),
                    created_at=now,
                    expires_at=key.expires_at,
                    **scope,
                )
            )
            self._record(
                connection,
                "keys.add",
                key.id,
                client=client,
                tenant=tenant,
                expires_at=key.expires_at,
                **scope,
            )
        return key, written(key.id, secret)

    def rotate_key(
        self, key_id: str, *, grace_s: float = DEFAULT_GRACE_S, valid_days: float | None = None
    ) -> tuple[ApiKey, str]:
        """Give a key a new secret; the former one opens until the grace ends.

        Parameters
        ----------
        key_id : str
            Of a key that is not revoked.
        grace_s : float
            For how long the former secret still works; 0 ends it, and one before it, at once.
        valid_days : float, optional
            The key expires so many days from now; as before if omitted.

        Raises
        ------
        NotFound
            There is no such key, or it is revoked.
        Conflict
            The key has expired, or the grace of an earlier rotation still runs.
        """
        now = time.time()
        until = _later(now, grace_s) if grace_s else None
        secret = secrets.token_urlsafe(32)
        mine = schema.api_key.c.id == key_id
        with self._store.write() as connection:
            wanted = sa.select(schema.api_key).where(mine).with_for_update()
            row = connection.execute(wanted).one_or_none()
            if row is None or row.revoked_at is not None:
                raise _no_valid(key_id)
            standing = _key(row).standing(now)
            if standing == "expired" and valid_days is None:
                raise Conflict(
                    f"The API key {key_id} of {row.client!r} has expired.",
                    remedy="Give --expires 90d to let it live on, or make another with"
                    " 'closedloop keys add'.",
                )
            if standing == "rotating" and until is not None:
                raise Conflict(
                    f"The API key {key_id} of {row.client!r} was rotated already: its former secret"
                    f" works until {_moment(row.former_until)}, and would end with a rotation now.",
                    remedy="Wait until then, or give --grace 0h to end it now.",
                )
            expires_at = row.expires_at if valid_days is None else _later(now, valid_days * _DAY_S)
            changed = {
                "secret_hash": _digest(secret),
                "former_hash": row.secret_hash if until is not None else None,
                "former_until": until,
                "expires_at": expires_at,
            }
            connection.execute(sa.update(schema.api_key).where(mine).values(changed))
            self._record(
                connection,
                "keys.rotate",
                key_id,
                client=row.client,
                former_until=until,
                expires_at=expires_at,
            )
            return _key(connection.execute(wanted).one()), written(key_id, secret)

    def revoke_key(self, key_id: str) -> None:
        """Make a key useless from now on, its former secret too.

        Raises
        ------
        NotFound
            There is no such key, or it is revoked already.
        """
        with self._store.write() as connection:
            changed = connection.execute(
                sa.update(schema.api_key)
                .where(schema.api_key.c.id == key_id, schema.api_key.c.revoked_at.is_(None))
                .values(revoked_at=time.time())
            ).rowcount
            if not changed:
                raise _no_valid(key_id)
            self._record(connection, "keys.revoke", key_id)

    def check_key(self, presented: str) -> ApiKey:
        """Return the key that a request presents.

        The former secret of a rotated key gives a key that expires when its grace ends.

        Raises
        ------
        NotAllowed
            The key is malformed, unknown, revoked or expired. Which one is told only to those
            who know its secret.
        EngineError
            The store did not answer.
        """
        refusal = NotAllowed(
            "The API key is missing or not valid.",
            remedy="Send 'Authorization: Bearer KEY' with a key from 'closedloop keys add'.",
        )
        found = parts(presented)
        if found is None:
            raise refusal
        key_id, secret = found
        try:
            with self._store.read() as connection:
                row = connection.execute(
                    sa.select(schema.api_key).where(schema.api_key.c.id == key_id)
                ).one_or_none()
        except EngineError as error:  # which names the database: not for clients
            raise EngineError(
                "The metadata store, which has the API keys, does not answer.",
                remedy="Send the request again after a moment; see 'closedloop status'.",
            ) from error
        given = _digest(secret)
        stored = self._no_hash if row is None else row.secret_hash
        former = self._no_hash if row is None or row.former_hash is None else row.former_hash
        current = hmac.compare_digest(stored, given)
        outdated = hmac.compare_digest(former, given)
        if row is None or not (current or outdated):
            raise refusal
        now = time.time()
        key = _key(row)
        who = f"The API key {key.id} of {key.client!r}"
        if key.revoked_at is not None:
            raise NotAllowed(
                f"{who} was revoked.", remedy="Ask for a new one: 'closedloop keys add'."
            )
        if key.expires_at is not None and key.expires_at <= now:
            raise NotAllowed(
                f"{who} has expired, on {_moment(key.expires_at)}.",
                remedy="Ask for a new one: 'closedloop keys add', or 'closedloop keys rotate"
                f" {key.id} --expires 90d'.",
            )
        if not current:
            if key.former_until is None or key.former_until <= now:
                raise NotAllowed(
                    f"{who} was rotated, and this is its former secret, which has expired.",
                    remedy="Send the secret that 'closedloop keys rotate' printed.",
                )
            key = replace(key, expires_at=min(key.former_until, key.expires_at or key.former_until))
        self.last_used.note(key.id, now, row.last_used_at)
        return key

    def keys(self) -> list[ApiKey]:
        """Return every key, newest first."""
        order = schema.api_key.c.created_at.desc()
        with self._store.read() as connection:
            return [
                _key(row) for row in connection.execute(sa.select(schema.api_key).order_by(order))
            ]

    def _record(
        self, connection: sa.Connection, action: str, target: str, **details: object
    ) -> None:
        audit.record(connection, who=self._who, action=action, target=target, **details)


def _key(row: sa.Row) -> ApiKey:
    return ApiKey(
        id=row.id,
        client=row.client,
        tenant=row.tenant,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        actions=_read(row.actions),
        models=tuple(row.models),
        former_until=row.former_until,
        last_used_at=row.last_used_at,
    )


def _stored(actions: frozenset[Action]) -> list[str]:
    return [ALL] if actions == frozenset(Action) else sorted(actions)


def _read(stored: Sequence[str]) -> frozenset[Action]:
    """Return the actions of a row; one that only a later version knows is left out."""
    known = [Action(name) for name in stored if name in list(Action)]
    return frozenset(Action if ALL in stored else known)


def _later(now: float, seconds: float) -> float:
    if not 0 < seconds <= 100 * 366 * _DAY_S:
        raise InputError(
            f"{seconds / _DAY_S:g} days is no length of time for a key.",
            remedy="Give more than nothing and at most 100 years.",
        )
    return now + seconds


def _no_valid(key_id: str) -> NotFound:
    return NotFound(f"There is no valid key with id {key_id!r}.", remedy=_SEE_LIST)


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
