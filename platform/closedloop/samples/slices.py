"""Slices: saved queries with a name, for looking again and for sampling.

A slice is a filter, not a list of rows: what it selects grows with the data. Slices may overlap.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from closedloop.core.errors import Conflict, InputError, NotFound
from closedloop.core.schema import saved_slice
from closedloop.core.store import Store
from closedloop.data.cube.filters import Filter, from_json, to_json

_MAX_NAME_CHARS = 120
_MAX_DESCRIPTION_CHARS = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """A saved query."""

    name: str
    where: Filter
    description: str
    saved_by: str  # who saved it last; empty for the command
    created_at: float  # Unix seconds
    changed_at: float


class Slices:
    """The slices of an installation, in its metadata store.

    Parameters
    ----------
    store : Store
        Where they are kept.
    clock : callable, optional
        Returns Unix seconds; tests move it by hand.

    Examples
    --------
    >>> slices = Slices(Store.open("sqlite:////srv/closedloop/store.db"))      # doctest: +SKIP
    >>> slices.save("zh refunds", In(field="language", values=("zh",)))        # doctest: +SKIP
    >>> slices.get("zh refunds").where                                         # doctest: +SKIP
    In(field='language', values=('zh',))
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def save(
        self,
        name: str,
        where: Filter,
        *,
        description: str = "",
        saved_by: str = "",
        replace: bool = False,
    ) -> Slice:
        """Keep a filter under a name.

        Parameters
        ----------
        replace : bool
            Overwrite a slice of that name; without it a taken name is refused.

        Raises
        ------
        InputError
            The name is empty or longer than 120 characters, or the description than 2,000.
        Conflict
            The name is taken.
        """
        name = _checked(name)
        if len(description) > _MAX_DESCRIPTION_CHARS:
            raise InputError(
                f"The description has {len(description):,} characters.",
                remedy=f"Use {_MAX_DESCRIPTION_CHARS:,} at most.",
            )
        now = self._clock()
        values: dict[str, Any] = {
            "filter": to_json(where),
            "description": description.strip(),
            "saved_by": saved_by,
            "changed_at": now,
        }
        with self._store.write() as connection:
            changed = 0
            if replace:
                changed = connection.execute(
                    sa.update(saved_slice).where(saved_slice.c.name == name).values(values)
                ).rowcount
            if not changed:
                _refuse_taken(connection, name)
                connection.execute(
                    sa.insert(saved_slice).values(name=name, created_at=now, **values)
                )
        return self.get(name)

    def get(self, name: str) -> Slice:
        """Return a slice.

        Raises
        ------
        NotFound
            There is none of that name.
        """
        chosen = sa.select(saved_slice).where(saved_slice.c.name == _folded(name))
        with self._store.read() as connection:
            row = connection.execute(chosen).one_or_none()
        if row is None:
            raise _unknown(name)
        return _slice(row)

    def all(self) -> list[Slice]:
        """Return every slice, by name."""
        with self._store.read() as connection:
            found = connection.execute(sa.select(saved_slice).order_by(saved_slice.c.name))
            return [_slice(row) for row in found]

    def rename(self, name: str, to: str) -> Slice:
        """Give a slice another name; all else stays.

        Raises
        ------
        NotFound
            There is none of that name.
        Conflict
            The new name is taken.
        """
        to = _checked(to)
        with self._store.write() as connection:
            if _folded(name) != to:
                _refuse_taken(connection, to)
            found = connection.execute(
                sa.update(saved_slice).where(saved_slice.c.name == _folded(name)).values(name=to)
            ).rowcount
        if not found:
            raise _unknown(name)
        return self.get(to)

    def delete(self, name: str) -> None:
        """Forget a slice; tasks that came from it stay.

        Raises
        ------
        NotFound
            There is none of that name.
        """
        with self._store.write() as connection:
            gone = connection.execute(
                sa.delete(saved_slice).where(saved_slice.c.name == _folded(name))
            ).rowcount
        if not gone:
            raise _unknown(name)


def _folded(name: str) -> str:
    # One name, however a keyboard composes it.
    return unicodedata.normalize("NFC", " ".join(name.split()))


def _checked(name: str) -> str:
    folded = _folded(name)
    if not folded or len(folded) > _MAX_NAME_CHARS:
        raise InputError(
            f"A slice cannot have a name of {len(folded)} characters.",
            remedy=f"Give a name of 1 to {_MAX_NAME_CHARS} characters.",
        )
    return folded


def _refuse_taken(connection: sa.Connection, name: str) -> None:
    taken = sa.select(saved_slice.c.id).where(saved_slice.c.name == name)
    if connection.execute(taken).one_or_none() is not None:
        raise Conflict(
            f"There is a slice {name!r} already.",
            remedy="Choose another name, or say that it shall be replaced.",
        )


def _unknown(name: str) -> NotFound:
    return NotFound(f"There is no slice {name!r}.", remedy="See closedloop slices list.")


def _slice(row: Any) -> Slice:
    return Slice(
        name=row.name,
        where=from_json(row.filter),
        description=row.description,
        saved_by=row.saved_by,
        created_at=row.created_at,
        changed_at=row.changed_at,
    )
