"""How many shards cluster the stream, and which process has each one's place.

A shard that was replaced may still run: it was cut off, or waits for a disk. Files and board are
only written while the place is held: nobody can take it in between.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from closedloop.core.errors import Conflict, EngineError
from closedloop.core.schema import clusterer, clusterer_shard
from closedloop.core.store import Lock, Store, one_at_a_time
from closedloop.defence.shard_figures import ShardFigures
from closedloop.defence.slots import dealt

# A rebuild gives clusters names that no issue bears yet: people set names apart, and merge them.
_IDS_OF_A_BUILD = 1_000_000_000
_ROW = 1
SILENT_S = 30.0  # a shard reports every two seconds, between pages and checkpoints


class Replaced(Conflict):
    """Another process has this shard's place; this one must end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dealing:
    """How the stream is shared out."""

    epoch: int  # 0: never yet
    shards: int
    first_id: int  # of clusters and micro-clusters of new tenants


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardReport:
    """What a shard last said of itself."""

    shard: int
    figures: ShardFigures
    reported_at: float  # Unix seconds; 0: it has not said anything yet


class Shards:
    """The shards, in the metadata store.

    Parameters
    ----------
    store : Store
    clock : callable, optional
        Returns Unix seconds.

    Examples
    --------
    >>> shards = Shards(Store.open("sqlite:////srv/closedloop/store.db"))  # doctest: +SKIP
    >>> place = shards.take(0, epoch=shards.deal(2).epoch)                 # doctest: +SKIP
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def deal(self, shards: int, *, rebuild: bool = False) -> Dealing:
        """Share the stream out anew; processes of before have no place any more.

        Raises
        ------
        InputError
            There is no such number of shards.
        """
        dealt(shards)
        with self._writing() as connection:
            before = _dealing(connection)
            now = Dealing(
                epoch=before.epoch + 1,
                shards=shards,
                first_id=before.first_id + (_IDS_OF_A_BUILD if rebuild else 0),
            )
            connection.execute(sa.delete(clusterer))
            connection.execute(
                sa.insert(clusterer).values(
                    id=_ROW,
                    epoch=now.epoch,
                    shards=shards,
                    first_id=now.first_id,
                    changed_at=self._clock(),
                )
            )
            connection.execute(sa.delete(clusterer_shard))
            rows = [
                {"shard": n, "epoch": now.epoch, "holder": "", "figures": {}, "reported_at": 0.0}
                for n in range(shards)
            ]
            connection.execute(sa.insert(clusterer_shard), rows)
        return now

    def dealing(self) -> Dealing:
        """Return how the stream is shared out."""
        with self._store.read() as connection:
            return _dealing(connection)

    def reports(self) -> list[ShardReport]:
        """Return what each shard last said of itself."""
        with self._store.read() as connection:
            rows = connection.execute(
                sa.select(clusterer_shard).order_by(clusterer_shard.c.shard)
            ).all()
        return [
            ShardReport(
                shard=row.shard,
                figures=ShardFigures.from_json(row.figures),
                reported_at=row.reported_at,
            )
            for row in rows
        ]

    def take(self, shard: int, *, epoch: int) -> Place:
        """Take a shard's place for this process.

        Raises
        ------
        Replaced
            The stream was shared out anew.
        """
        holder = secrets.token_hex(16)
        with self._writing() as connection:
            done = connection.execute(
                sa.update(clusterer_shard)
                .where(clusterer_shard.c.shard == shard, clusterer_shard.c.epoch == epoch)
                .values(holder=holder)
            )
            if not done.rowcount:
                raise _replaced(shard)
        return Place(self, shard=shard, holder=holder)

    @contextmanager
    def held(self, shard: int, holder: str) -> Iterator[sa.Connection]:
        """Hold a place while something is written; raises Replaced where it is another's."""
        mine = sa.select(clusterer_shard.c.shard).where(
            clusterer_shard.c.shard == shard, clusterer_shard.c.holder == holder
        )
        with self._writing() as connection:
            if connection.execute(mine).one_or_none() is None:
                raise _replaced(shard)
            yield connection

    def report(self, connection: sa.Connection, shard: int, figures: ShardFigures) -> None:
        """Keep what a shard says of itself."""
        values: dict[str, Any] = {"figures": figures.to_json(), "reported_at": self._clock()}
        connection.execute(
            sa.update(clusterer_shard).where(clusterer_shard.c.shard == shard).values(values)
        )

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._store.write() as connection:
            one_at_a_time(connection, Lock.CLUSTERER)
            yield connection


def standing(store: Store, *, now: float | None = None) -> str:
    """Return in a sentence how the shards stand.

    Raises
    ------
    EngineError
        They do not run, or one of them fails.
    """
    now = time.time() if now is None else now
    reports = Shards(store).reports()
    silent = [report.shard for report in reports if now - report.reported_at > SILENT_S]
    if not reports or len(silent) == len(reports):
        raise EngineError("not running", remedy="Start it with 'closedloop up'.")
    troubled = [report for report in reports if report.figures.problem]
    if troubled:
        raise EngineError(
            f"shard {troubled[0].shard}: {troubled[0].figures.problem}",
            remedy="See 'closedloop defence status'.",
        )
    if silent:
        raise EngineError(
            f"shard {silent[0]} has been silent for {now - reports[silent[0]].reported_at:,.0f} s",
            remedy="Ray starts a shard again; see HOME/logs where it does not come back.",
        )
    figures = [report.figures for report in reports]
    return (
        f"{sum(f.tenants for f in figures):,} tenants in {len(reports)}"
        f" {'shard' if len(reports) == 1 else 'shards'},"
        f" {max(f.lag_events for f in figures):,} events behind"
    )


class Place:
    """A shard's place, had by this process until another one takes it."""

    def __init__(self, shards: Shards, *, shard: int, holder: str) -> None:
        self.shard = shard
        self._shards = shards
        self._holder = holder

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the place while something is written, for milliseconds.

        Raises
        ------
        Replaced
            Another process has it.
        """
        with self._shards.held(self.shard, self._holder):
            yield

    def report(self, figures: ShardFigures) -> None:
        """Say how the shard stands; raises Replaced where another process has its place."""
        with self._shards.held(self.shard, self._holder) as connection:
            self._shards.report(connection, self.shard, figures)


def _dealing(connection: sa.Connection) -> Dealing:
    row = connection.execute(sa.select(clusterer)).one_or_none()
    if row is None:
        return Dealing(epoch=0, shards=0, first_id=0)
    return Dealing(epoch=row.epoch, shards=row.shards, first_id=row.first_id)


def _replaced(shard: int) -> Replaced:
    return Replaced(
        f"Another process clusters the stream as shard {shard} now.",
        remedy="Nothing is to be done: this one ends.",
    )
