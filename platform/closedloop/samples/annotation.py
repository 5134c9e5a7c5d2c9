"""The annotation queue: tasks that people (or a simulation of them) label.

A task waits until ``votes_needed`` different annotators have labelled it. An annotator takes
tasks on a *lease*: while it runs nobody else is offered that place, and when it runs out the
task is free again, so that nothing is lost with a closed browser. The token of a lease is
also the idempotency key of its answer: submitting twice counts once. All state is in the
metadata store; a process that dies in the middle of any call leaves the queue consistent.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from closedloop.core import schema
from closedloop.core.errors import Conflict, InputError, NotFound
from closedloop.core.store import Lock, Store, one_at_a_time
from closedloop.samples.annotation_task import (
    LabelledSample,
    LeasedTask,
    NewTask,
    PastVote,
    QueueCounts,
)

DEFAULT_LEASE_S = 300.0
_MAX_LABEL_CHARS = 200
_MAX_SKIPS = 3  # after that many skips a task is set aside instead of going round for ever


class AnnotationQueue:
    """Tasks, leases and votes on the metadata store.

    Parameters
    ----------
    store : Store
        Where everything is kept.
    clock : callable, optional
        Returns Unix seconds; tests move it by hand.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def enqueue(self, queue: str, tasks: Iterable[NewTask], *, votes_needed: int = 1) -> int:
        """Add tasks; a sample that the queue already holds is left as it is.

        Returns
        -------
        int
            How many tasks are new.
        """
        if votes_needed < 1:
            raise InputError(
                f"A task cannot need {votes_needed} votes.", remedy="Ask for 1 vote or more."
            )
        now = self._clock()
        rows = [
            {
                "queue": queue,
                "sample_id": new.sample_id,
                "text": new.text,
                "reason": new.reason,
                "suggestion": new.suggestion,
                "details": new.details,
                "priority": new.priority,
                "votes_needed": votes_needed,
                "votes": 0,
                "skips": 0,
                "state": "open",
                "created_at": now,
            }
            for new in tasks
        ]
        if not rows:
            return 0
        with self._write() as connection:
            count = sa.select(sa.func.count()).where(schema.task.c.queue == queue)
            before = connection.execute(count).scalar_one()
            connection.execute(_insert(connection, schema.task).on_conflict_do_nothing(), rows)
            return connection.execute(count).scalar_one() - before

    def lease(
        self,
        annotator: str,
        *,
        queue: str | None = None,
        limit: int = 1,
        lease_s: float = DEFAULT_LEASE_S,
    ) -> list[LeasedTask]:
        """Take up to ``limit`` tasks, the most urgent first.

        Leases that the annotator still holds are returned first, so that a reloaded page
        shows the same task again. Nobody is offered a task they have answered already.
        """
        now = self._clock()
        task, lease, vote = schema.task, schema.lease, schema.vote
        with self._write() as connection:
            connection.execute(sa.delete(lease).where(lease.c.expires_at <= now))
            held = sa.select(task, lease.c.token, lease.c.expires_at).join(
                lease, lease.c.task_id == task.c.id
            )
            held = held.where(lease.c.annotator == annotator).order_by(lease.c.leased_at)
            if queue is not None:
                held = held.where(task.c.queue == queue)
            leased = [_leased(row, row.token, row.expires_at) for row in connection.execute(held)]
            if len(leased) >= limit:
                return leased[:limit]

            in_hands = (
                sa.select(sa.func.count())
                .where(lease.c.task_id == task.c.id)
                .correlate(task)
                .scalar_subquery()
            )
            mine = sa.select(lease.c.task_id).where(lease.c.annotator == annotator)
            answered = sa.select(vote.c.task_id).where(vote.c.annotator == annotator)
            free = (
                sa.select(task)
                .where(task.c.state == "open")
                .where(task.c.votes + in_hands < task.c.votes_needed)
                .where(task.c.id.not_in(mine), task.c.id.not_in(answered))
                .order_by(task.c.priority.desc(), task.c.id)
                .limit(limit - len(leased))
            )
            if queue is not None:
                free = free.where(task.c.queue == queue)
            expires_at = now + lease_s
            taken = [(row, secrets.token_hex(16)) for row in connection.execute(free)]
            if taken:
                connection.execute(
                    sa.insert(lease),
                    [
                        {
                            "token": token,
                            "task_id": row.id,
                            "annotator": annotator,
                            "leased_at": now,
                            "expires_at": expires_at,
                        }
                        for row, token in taken
                    ],
                )
            return leased + [_leased(row, token, expires_at) for row, token in taken]

    def submit(self, answers: Sequence[tuple[str, str]], *, simulated: bool = False) -> int:
        """Record labels for leased tasks.

        Parameters
        ----------
        answers : sequence of (token, label)
            Each token comes from `lease`. Sending one again changes nothing.
        simulated : bool
            Whether these votes come from simulated annotators.

        Returns
        -------
        int
            How many votes are new.

        Raises
        ------
        Conflict
            A lease ran out or never existed; none of the answers is recorded.
        """
        for _, label in answers:
            if not label.strip() or len(label) > _MAX_LABEL_CHARS:
                raise InputError(
                    f"The label {label[:40]!r} is empty or longer than {_MAX_LABEL_CHARS}.",
                    remedy="Choose one of the labels or type a short name.",
                )
        return self._answer([(token, label.strip()) for token, label in answers], simulated)

    def skip(self, token: str, *, simulated: bool = False) -> None:
        """Pass a task on to another annotator; after three skips it is set aside."""
        self._answer([(token, None)], simulated)

    def release(self, token: str) -> None:
        """Give a task back unanswered."""
        with self._write() as connection:
            connection.execute(sa.delete(schema.lease).where(schema.lease.c.token == token))

    def renew(self, token: str, *, lease_s: float = DEFAULT_LEASE_S) -> float:
        """Hold a leased task for ``lease_s`` seconds from now.

        Returns
        -------
        float
            When the lease now ends, in Unix seconds.

        Raises
        ------
        Conflict
            The lease has run out.
        """
        now = self._clock()
        lease = schema.lease
        with self._write() as connection:
            renewed = connection.execute(
                sa.update(lease)
                .where(lease.c.token == token, lease.c.expires_at > now)
                .values(expires_at=now + lease_s)
            ).rowcount
        if not renewed:
            raise Conflict(
                "The lease on this task has run out.",
                remedy="Take the next task; this one waits for whoever comes first.",
            )
        return now + lease_s

    def undo(self, annotator: str, token: str) -> LeasedTask:
        """Take back one's own answer and hold the task again.

        Calling it a second time, before the new lease is answered, returns the same lease.

        Raises
        ------
        NotFound
            That annotator gave no such answer.
        Conflict
            The answer was a skip, and others have taken or finished the task since.
        """
        now = self._clock()
        task, vote, lease = schema.task, schema.vote, schema.lease
        fresh = hashlib.sha256(f"undo {token}".encode()).hexdigest()[:32]
        with self._write() as connection:
            row = connection.execute(
                sa.select(task, vote.c.label)
                .join(vote, vote.c.task_id == task.c.id)
                .where(vote.c.token == token, vote.c.annotator == annotator)
            ).one_or_none()
            if row is None:
                held = connection.execute(
                    sa.select(task, lease.c.token, lease.c.expires_at)
                    .join(lease, lease.c.task_id == task.c.id)
                    .where(
                        lease.c.token == fresh,
                        lease.c.annotator == annotator,
                        lease.c.expires_at > now,
                    )
                ).one_or_none()
                if held is not None:
                    return _leased(held, fresh, held.expires_at)
                raise NotFound(
                    f"{annotator} has no answer {token!r} to take back.",
                    remedy="It may be taken back already; reload the page.",
                )
            skipped = row.label is None
            others = connection.execute(
                sa.select(sa.func.count()).where(
                    lease.c.task_id == row.id, lease.c.expires_at > now
                )
            ).scalar_one()
            if skipped and row.votes + others >= row.votes_needed:
                raise Conflict(
                    "Somebody else has taken the skipped task.",
                    remedy="Go on with the next one.",
                )
            connection.execute(sa.delete(vote).where(vote.c.token == token))
            connection.execute(
                sa.update(task)
                .where(task.c.id == row.id)
                .values(
                    state="open",
                    votes=row.votes - (not skipped),
                    skips=row.skips - skipped,
                )
            )
            expires_at = now + DEFAULT_LEASE_S
            connection.execute(
                sa.insert(lease).values(
                    token=fresh,
                    task_id=row.id,
                    annotator=annotator,
                    leased_at=0.0,  # before every other lease: it is shown next
                    expires_at=expires_at,
                )
            )
        return _leased(row, fresh, expires_at)

    def counts(self, queue: str | None = None) -> QueueCounts:
        """Return how many tasks stand in each state, of one queue or of all."""
        task, lease = schema.task, schema.lease
        held = sa.exists().where(lease.c.task_id == task.c.id, lease.c.expires_at > self._clock())
        state = sa.case((sa.and_(task.c.state == "open", held), "leased"), else_=task.c.state)
        query = sa.select(state.label("state"), sa.func.count().label("n")).select_from(task)
        if queue is not None:
            query = query.where(task.c.queue == queue)
        with self._store.read() as connection:
            found = {row.state: row.n for row in connection.execute(query.group_by(state))}
        return QueueCounts(**found)

    def queues(self) -> dict[str, QueueCounts]:
        """Return every queue's name and counts."""
        with self._store.read() as connection:
            names = connection.execute(sa.select(schema.task.c.queue).distinct()).scalars().all()
        return {name: self.counts(name) for name in sorted(names)}

    def labelled(self, queue: str) -> list[LabelledSample]:
        """Return the finished tasks of a queue with their majority label, oldest first."""
        task, vote = schema.task, schema.vote
        query = (
            sa.select(task.c.sample_id, task.c.text, vote.c.label, vote.c.simulated)
            .join(vote, vote.c.task_id == task.c.id)
            .where(task.c.queue == queue, task.c.state == "done", vote.c.label.is_not(None))
            .order_by(task.c.id, vote.c.submitted_at)
        )
        votes: dict[tuple[str, str], list[tuple[str, bool]]] = {}
        with self._store.read() as connection:
            for row in connection.execute(query):
                votes.setdefault((row.sample_id, row.text), []).append((row.label, row.simulated))
        return [_consensus(sample_id, text, given) for (sample_id, text), given in votes.items()]

    def label_names(self, queue: str) -> list[str]:
        """Return the labels used so far in a queue, the most frequent first."""
        task, vote = schema.task, schema.vote
        query = (
            sa.select(vote.c.label)
            .join(task, vote.c.task_id == task.c.id)
            .where(task.c.queue == queue, vote.c.label.is_not(None))
            .group_by(vote.c.label)
            .order_by(sa.func.count().desc(), vote.c.label)
        )
        with self._store.read() as connection:
            return list(connection.execute(query).scalars())

    def texts(self, queue: str) -> list[str]:
        """Return the texts of every task of a queue, whatever became of it."""
        query = sa.select(schema.task.c.text).where(schema.task.c.queue == queue)
        with self._store.read() as connection:
            return list(connection.execute(query).scalars())

    def history(self, annotator: str, *, limit: int = 20) -> list[PastVote]:
        """Return an annotator's own last answers, newest first."""
        task, vote = schema.task, schema.vote
        query = (
            sa.select(vote, task.c.text)
            .join(task, vote.c.task_id == task.c.id)
            .where(vote.c.annotator == annotator)
            .order_by(vote.c.submitted_at.desc())
            .limit(limit)
        )
        with self._store.read() as connection:
            return [
                PastVote(
                    token=row.token,
                    task_id=row.task_id,
                    text=row.text,
                    label=row.label,
                    submitted_at=row.submitted_at,
                )
                for row in connection.execute(query)
            ]

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        """One transaction that changes tasks, leases or votes, alone among such.

        Whether a task is free depends on rows of three tables. SQLite's writers wait for each
        other anyway; on PostgreSQL two of them could each see the same task free (row locks
        do not help: the lease that takes it is a new row), so they take turns by a lock.
        """
        with self._store.write() as connection:
            one_at_a_time(connection, Lock.ANNOTATION)
            yield connection

    def _answer(self, answers: Sequence[tuple[str, str | None]], simulated: bool) -> int:
        now = self._clock()
        task, lease, vote = schema.task, schema.lease, schema.vote
        tokens = [token for token, _ in answers]
        with self._write() as connection:
            known = set(
                connection.execute(sa.select(vote.c.token).where(vote.c.token.in_(tokens)))
                .scalars()
                .all()
            )
            held = {
                row.token: row
                for row in connection.execute(
                    sa.select(lease).where(lease.c.token.in_(tokens), lease.c.expires_at > now)
                )
            }
            fresh = {token: label for token, label in answers if token not in known}
            lost = [token for token in fresh if token not in held]
            if lost:
                raise Conflict(
                    f"{len(lost)} of {len(answers)} leases ran out before their answer came.",
                    remedy="Take the tasks again; nothing of this answer was recorded.",
                )
            if not fresh:
                return 0
            connection.execute(
                sa.insert(vote),
                [
                    {
                        "token": token,
                        "task_id": held[token].task_id,
                        "annotator": held[token].annotator,
                        "label": label,
                        "simulated": simulated,
                        "submitted_at": now,
                        "seconds": now - held[token].leased_at if held[token].leased_at else 0.0,
                    }
                    for token, label in fresh.items()
                ],
            )
            connection.execute(sa.delete(lease).where(lease.c.token.in_(list(fresh))))
            for labelled, column in ((True, task.c.votes), (False, task.c.skips)):
                ids = [held[t].task_id for t, label in fresh.items() if (label is None) != labelled]
                if ids:
                    connection.execute(
                        sa.update(task).where(task.c.id.in_(ids)).values({column: column + 1})
                    )
            touched = task.c.id.in_([held[token].task_id for token in fresh])
            connection.execute(
                sa.update(task).where(touched, task.c.votes >= task.c.votes_needed),
                {"state": "done"},
            )
            connection.execute(
                sa.update(task).where(touched, task.c.state == "open", task.c.skips >= _MAX_SKIPS),
                {"state": "set_aside"},
            )
            return len(fresh)


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


def _leased(row: Any, token: str, expires_at: float) -> LeasedTask:
    return LeasedTask(
        token=token,
        task_id=row.id,
        queue=row.queue,
        sample_id=row.sample_id,
        text=row.text,
        reason=row.reason,
        suggestion=row.suggestion,
        details=row.details,
        expires_at=expires_at,
    )


def _consensus(sample_id: str, text: str, given: list[tuple[str, bool]]) -> LabelledSample:
    (label, share), *_ = Counter(label for label, _ in given).most_common(1)
    return LabelledSample(
        sample_id=sample_id,
        text=text,
        label=label,
        votes=len(given),
        agreement=share / len(given),
        simulated=any(simulated for _, simulated in given),
    )
