"""Runs of workflows as the metadata store remembers them: which stage, how many rows, how long.

The app's Overview page and the table at the end of a run read the same records.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from closedloop.core import schema
from closedloop.core.errors import NotFound
from closedloop.core.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class StageRecord:
    """One stage of a run; ``details`` are the figures a person wants to see."""

    name: str
    state: str  # running, done, failed
    rows: int
    details: dict[str, Any]
    started_at: float
    ended_at: float | None

    @property
    def seconds(self) -> float:
        """How long the stage took, or has been going on."""
        return (self.ended_at or time.time()) - self.started_at


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run of a workflow for one model."""

    id: str
    workflow: str  # cold-start, repair
    model: str
    params: dict[str, Any]
    state: str  # running, done, failed
    error: str | None
    summary: dict[str, Any]
    started_at: float
    ended_at: float | None
    stages: tuple[StageRecord, ...] = ()


@dataclass(kw_only=True, slots=True)
class StageOutcome:
    """What a running stage fills in before it ends."""

    rows: int = 0
    details: dict[str, Any] = field(default_factory=dict)


class RunRecords:
    """Writes and reads runs in the metadata store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self, workflow: str, model: str, params: Mapping[str, Any]) -> str:
        """Open a run and return its id."""
        run_id = str(uuid.uuid4())
        with self._store.write() as connection:
            connection.execute(
                sa.insert(schema.run).values(
                    id=run_id,
                    workflow=workflow,
                    model=model,
                    params=dict(params),
                    state="running",
                    summary={},
                    started_at=time.time(),
                )
            )
        return run_id

    def finish(self, run_id: str, summary: Mapping[str, Any]) -> None:
        """Close a run that reached its end."""
        self._close(run_id, state="done", summary=dict(summary))

    def fail(self, run_id: str, error: str) -> None:
        """Close a run that did not reach its end, with the reason."""
        self._close(run_id, state="failed", error=error)

    @contextmanager
    def stage(self, run_id: str, position: int, name: str) -> Iterator[StageOutcome]:
        """Record a stage around the block that does it; an exception marks it failed."""
        key = (schema.stage.c.run_id == run_id) & (schema.stage.c.position == position)
        with self._store.write() as connection:
            connection.execute(sa.delete(schema.stage).where(key))
            connection.execute(
                sa.insert(schema.stage).values(
                    run_id=run_id,
                    position=position,
                    name=name,
                    state="running",
                    rows=0,
                    details={},
                    started_at=time.time(),
                )
            )
        outcome = StageOutcome()
        state = "failed"
        try:
            yield outcome
            state = "done"
        finally:
            with self._store.write() as connection:
                connection.execute(
                    sa.update(schema.stage)
                    .where(key)
                    .values(
                        state=state,
                        rows=outcome.rows,
                        details=outcome.details,
                        ended_at=time.time(),
                    )
                )

    def get(self, run_id: str) -> RunRecord:
        """Return one run with its stages."""
        with self._store.read() as connection:
            row = connection.execute(
                sa.select(schema.run).where(schema.run.c.id == run_id)
            ).one_or_none()
            if row is None:
                raise NotFound(f"There is no run {run_id!r}.", remedy="See 'closedloop status'.")
            return self._with_stages(connection, [row])[0]

    def recent(self, *, limit: int = 10) -> list[RunRecord]:
        """Return the last runs, newest first."""
        query = sa.select(schema.run).order_by(schema.run.c.started_at.desc()).limit(limit)
        with self._store.read() as connection:
            return self._with_stages(connection, connection.execute(query).all())

    def _close(self, run_id: str, **values: Any) -> None:
        with self._store.write() as connection:
            connection.execute(
                sa.update(schema.run)
                .where(schema.run.c.id == run_id)
                .values(ended_at=time.time(), **values)
            )

    def _with_stages(self, connection: sa.Connection, rows: Any) -> list[RunRecord]:
        ids = [row.id for row in rows]
        query = (
            sa.select(schema.stage)
            .where(schema.stage.c.run_id.in_(ids))
            .order_by(schema.stage.c.position)
        )
        stages: dict[str, list[StageRecord]] = {}
        for row in connection.execute(query):
            stages.setdefault(row.run_id, []).append(
                StageRecord(
                    name=row.name,
                    state=row.state,
                    rows=row.rows,
                    details=row.details,
                    started_at=row.started_at,
                    ended_at=row.ended_at,
                )
            )
        return [
            RunRecord(
                id=row.id,
                workflow=row.workflow,
                model=row.model,
                params=row.params,
                state=row.state,
                error=row.error,
                summary=row.summary,
                started_at=row.started_at,
                ended_at=row.ended_at,
                stages=tuple(stages.get(row.id, ())),
            )
            for row in rows
        ]
