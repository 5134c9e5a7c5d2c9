"""The outbox of alerts: what is told is a row first, and is sent from there until it arrives.

An alert is kept once for each issue, kind, occasion and receiver, so that it may be raised again
and again: after a crash, or for the whole board each time that it is looked at. The occasion is the
act by which the stream put the issue on the board, and how far it has grown since (`news`).

It is sent at least once. Whoever sends it has a lease on it; where he ends half-way, somebody else
sends it again under the same id. What fails is tried again, later and later, and given up with the
reason kept.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from closedloop.core import audit
from closedloop.core.errors import Conflict, NotFound
from closedloop.core.schema import alert
from closedloop.core.store import Lock, Store, one_at_a_time
from closedloop.defence.alerts.alert import Alert, AlertKind, AlertState, content_of
from closedloop.defence.alerts.news import News, missing
from closedloop.defence.alerts.sink import NotDelivered, Receiver
from closedloop.defence.issues.issue import Issue, IssueState

_FIELDS = tuple(alert.c[name] for name in Alert.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How often an alert is tried, and how long it waits between."""

    attempts: int = 12  # about an hour and a half
    first_wait_s: float = 5.0  # doubles with each attempt, of which a random half is left out
    longest_wait_s: float = 900.0
    lease_s: float = 120.0  # longer than a receiver may take

    def wait_s(self, attempts: int, chance: float) -> float:
        """Return how long to wait after so many attempts; `chance` is in [0, 1).

        Examples
        --------
        >>> [Patience().wait_s(n, 0.0) for n in (1, 2, 3, 20)]
        [5.0, 10.0, 20.0, 900.0]
        """
        whole = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(attempts - 1, 60))
        return whole * (1 - chance / 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """What became of the alerts that were due."""

    sent: int = 0
    postponed: int = 0
    given_up: int = 0


class AlertBook:
    """Alerts in the metadata store, and their way to the receivers.

    Parameters
    ----------
    store : Store
        Where they are kept.
    receivers : sequence of Receiver
        Who is told; see `configuration.read_alerts`.
    link : str
        Address of the board, told with each alert.
    clock : callable, optional
        Returns Unix seconds.
    chance : callable, optional
        Returns a number in [0, 1): waits are of different lengths, so that what failed together
        does not come back together.

    Examples
    --------
    >>> book = AlertBook(store, receivers)          # doctest: +SKIP
    >>> book.raise_for(*issues.board())             # doctest: +SKIP
    >>> book.deliver_due()                          # doctest: +SKIP
    Delivered(sent=2, postponed=0, given_up=0)
    """

    def __init__(
        self,
        store: Store,
        receivers: Sequence[Receiver] = (),
        *,
        link: str = "",
        patience: Patience | None = None,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._receivers = {receiver.name: receiver for receiver in receivers}
        self._link = link
        self._patience = patience or Patience()
        self._clock = clock
        self._chance = chance

    def raise_for(self, *issues: Issue) -> int:
        """Keep what receivers are to be told of issues on the board, and return how much is new.

        A receiver is told once that an issue is there, when it has become as large as he wants;
        and again when it has grown tenfold since, a hundredfold, and so on.
        """
        wanted = [
            (issue, receiver)
            for issue in issues
            if issue.state is IssueState.OPEN
            for receiver in self._receivers.values()
            if receiver.wants(issue)
        ]
        if not wanted:
            return 0
        with self._store.read() as connection:  # mostly all is told, and nobody need wait
            if not missing(connection, wanted):
                return 0
        now = self._clock()
        with self._store.write() as connection:
            one_at_a_time(connection, Lock.ALERTS)
            rows = [_row(each, now, self._link) for each in missing(connection, wanted)]
            if rows:
                connection.execute(sa.insert(alert), rows)
        return len(rows)

    def deliver_due(self, now: float | None = None) -> Delivered:
        """Send what is due, one after the other.

        A receiver that fails is left alone until the next call, so that the others do not wait.
        """
        tried: set[str] = set()
        sent = postponed = given_up = 0
        while (leased := self._lease(now, tried)) is not None:
            found, lease = leased
            problem = self._try(found)
            state = self._end(found, lease, problem, now)
            sent += state is AlertState.SENT
            given_up += state is AlertState.FAILED
            postponed += state is AlertState.WAITING
            if problem is not None and not problem.is_final:
                tried.add(found.sink)
        return Delivered(sent=sent, postponed=postponed, given_up=given_up)

    def test(self, sink: str) -> Alert:
        """Send a receiver a test at once, and return it; nothing is kept.

        Raises
        ------
        NotFound
            There is no such receiver.
        NotDelivered
            It did not take it.
        """
        receiver = self._receivers.get(sink)
        if receiver is None:
            raise NotFound(
                f"There is no receiver {sink!r} of alerts.",
                remedy=f"There are: {', '.join(self._receivers) or 'none yet'}.",
            )
        now = self._clock()
        found = Alert(
            id=str(uuid4()),
            issue_id=0,
            kind=AlertKind.TEST,
            occasion="",
            sink=sink,
            tenant="",
            content={"issue": None, "texts": [], "link": self._link},
            state=AlertState.SENT,
            attempts=1,
            due_at=now,
            problem=None,
            created_at=now,
            ended_at=now,
        )
        receiver.sink.send(found)
        return found

    def all(self, *, state: AlertState | None = None, limit: int | None = None) -> list[Alert]:
        """Return the alerts, the newest first."""
        order = sa.select(*_FIELDS).order_by(alert.c.created_at.desc(), alert.c.id).limit(limit)
        wanted = order if state is None else order.where(alert.c.state == state.value)
        with self._store.read() as connection:
            return [_alert(row._asdict()) for row in connection.execute(wanted)]

    def retry(self, alert_id: str, *, who: str) -> None:
        """Have an alert that was given up tried again, from now on.

        Raises
        ------
        NotFound
            There is no such alert.
        Conflict
            It was sent, or is waiting already.
        """
        with self._store.write() as connection:
            one_at_a_time(connection, Lock.ALERTS)
            of_it = alert.c.id == alert_id
            row = connection.execute(sa.select(alert.c.state).where(of_it)).one_or_none()
            if row is None:
                raise NotFound(
                    f"There is no alert {alert_id!r}.", remedy="See closedloop alerts list."
                )
            if row.state != AlertState.FAILED:
                raise Conflict(
                    f"The alert is {row.state}.", remedy="Only one that was given up is retried."
                )
            anew = {"state": AlertState.WAITING.value, "attempts": 0, "due_at": self._clock()}
            connection.execute(sa.update(alert).where(of_it).values(**anew, ended_at=None))
            audit.record(connection, who=who, action="alerts.retry", target=alert_id)

    def _lease(self, at: float | None, tried: set[str]) -> tuple[Alert, str] | None:
        """Take the alert that is due longest, for the time of an attempt."""
        now = self._clock() if at is None else at
        due = (
            sa.select(*_FIELDS)
            .where(alert.c.state == AlertState.WAITING.value, alert.c.due_at <= now)
            .where(sa.or_(alert.c.leased_until.is_(None), alert.c.leased_until <= now))
            .where(alert.c.sink.not_in(sorted(tried)))
            .order_by(alert.c.due_at, alert.c.id)
            .limit(1)
        )
        with self._store.read() as connection:  # mostly nothing is due, and nobody need wait
            if connection.execute(due).one_or_none() is None:
                return None
        lease = uuid4().hex
        with self._store.write() as connection:
            one_at_a_time(connection, Lock.ALERTS)
            row = connection.execute(due).one_or_none()
            if row is None:
                return None
            taken = {"lease": lease, "leased_until": now + self._patience.lease_s}
            connection.execute(
                sa.update(alert)
                .where(alert.c.id == row.id)
                .values(**taken, attempts=alert.c.attempts + 1)
            )
        return _alert({**row._asdict(), "attempts": row.attempts + 1}), lease

    def _try(self, found: Alert) -> NotDelivered | None:
        receiver = self._receivers.get(found.sink)
        if receiver is None:
            return NotDelivered(f"alerts.yaml has no receiver {found.sink!r} now.", is_final=True)
        if found.attempts > self._patience.attempts:
            return NotDelivered("Whoever sent it ended each time.", is_final=True)
        try:
            receiver.sink.send(found)
        except NotDelivered as problem:
            return problem
        except Exception as error:  # a fault of ours must not keep the others from being sent
            return NotDelivered(f"Sending failed: {type(error).__name__}.")
        return None

    def _end(
        self, found: Alert, lease: str, problem: NotDelivered | None, at: float | None
    ) -> AlertState | None:
        """Keep what became of an attempt; None where another one has taken it over."""
        now = self._clock() if at is None else at
        values: dict[str, Any] = {"lease": None, "leased_until": None, "ended_at": now}
        state = AlertState.SENT
        if problem is not None:
            given_up = problem.is_final or found.attempts >= self._patience.attempts
            state = AlertState.FAILED if given_up else AlertState.WAITING
            values["problem"] = problem.message
        if state is AlertState.WAITING and problem is not None:
            wait_s = self._patience.wait_s(found.attempts, self._chance())
            values |= {"due_at": now + max(wait_s, problem.retry_after_s), "ended_at": None}
        mine = sa.and_(alert.c.id == found.id, alert.c.lease == lease)
        with self._store.write() as connection:
            changed = connection.execute(
                sa.update(alert).where(mine).values(state=state.value, **values)
            )
        return state if changed.rowcount else None


def _row(news: News, now: float, link: str) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "issue_id": news.issue.id,
        "kind": news.kind.value,
        "occasion": news.occasion,
        "sink": news.receiver.name,
        "tenant": news.issue.tenant,
        "content": content_of(news.issue, texts=news.receiver.texts, link=link),
        "state": AlertState.WAITING.value,
        "attempts": 0,
        "due_at": now,
        "created_at": now,
    }


def _alert(row: Mapping[str, Any]) -> Alert:
    values = {name: row[name] for name in Alert.__dataclass_fields__}
    kinds = {"kind": AlertKind(row["kind"]), "state": AlertState(row["state"])}
    return Alert(**{**values, **kinds})
