"""The issues of an installation: what the stream reports, what people decide, and who did what.

The stream publishes, people act. Each act keeps what it changed, so that it can be taken back. An
act names the revision that the person looked at; where somebody was faster, it is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from closedloop.core.errors import InputError
from closedloop.core.schema import issue, issue_act
from closedloop.core.store import Lock, Store, one_at_a_time
from closedloop.defence.issues import acts
from closedloop.defence.issues.issue import Issue, IssueAct, IssueState
from closedloop.defence.issues.issue_rows import (
    BOARD_COLUMNS,
    IssueRows,
    issue_of,
    no_such_issue,
)
from closedloop.defence.issues.publishing import publish
from closedloop.defence.issues.sighting import Sighting


class IssueBook:
    """The issues, in the metadata store.

    Parameters
    ----------
    store : Store
        Where they are kept.
    clock : callable, optional
        Returns Unix seconds; tests move it by hand.

    Examples
    --------
    >>> book = IssueBook(Store.open("sqlite:////srv/closedloop/store.db"))    # doctest: +SKIP
    >>> for issue in book.board():                                            # doctest: +SKIP
    ...     print(issue.title, issue.sighting.rate_per_min)
    coupon · fails · invalid 412.0
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    # What the stream says.

    def publish(self, tenant: str, sightings: Sequence[Sighting]) -> list[Issue]:
        """Bring a tenant's issues up to what the stream sees; publishing twice changes nothing.

        Returns
        -------
        list of Issue
            Those that came onto the board by this: new ones, and closed ones that rise again.

        Raises
        ------
        InputError
            A sighting is of another tenant.
        """
        strange = next((one.tenant for one in sightings if one.tenant != tenant), None)
        if strange is not None:
            raise InputError(
                f"A sighting of {strange!r} was published for {tenant!r}.",
                remedy="Publish each tenant's sightings on their own.",
            )
        if not sightings:
            return []
        with self._writing() as rows:
            return publish(rows, sightings, self._clock())

    def fade(self, tenant: str, *, quiet_since: float) -> int:
        """Resolve what nobody has touched and nobody asks any more; return how many.

        Parameters
        ----------
        quiet_since : float
            Time of events, in Unix seconds; an issue whose last text is older has faded.
        """
        untouched = [one for one in self.board(tenant=tenant) if one.revision == 1]
        faded = [one for one in untouched if one.sighting.seen_at < quiet_since]
        if not faded:
            return 0
        with self._writing() as rows:
            for one in faded:
                acts.fade(rows, one)
        return len(faded)

    def parts(self, tenant: str) -> dict[int, int]:
        """Return the micro-clusters that people set apart, and the cluster each counts as."""
        wanted = sa.select(issue.c.id, issue.c.parts).where(issue.c.tenant == tenant)
        with self._store.read() as connection:
            rows = connection.execute(wanted).all()
        return {micro: -row.id for row in rows for micro in row.parts}

    def clusters(self, tenant: str) -> list[int]:
        """Return the clusters of the issues that are not closed, whose figures are wanted."""
        wanted = (
            sa.select(issue.c.sighting)
            .where(issue.c.tenant == tenant)
            .where(issue.c.state.in_([IssueState.OPEN.value, IssueState.SNOOZED.value]))
        )
        with self._store.read() as connection:
            rows = connection.execute(wanted).all()
        seen = [row.sighting for row in rows]
        return sorted({c for one in seen for c in (one["cluster"], *one["absorbed"])})

    # What people look at.

    def board(
        self,
        *,
        tenant: str | None = None,
        states: Sequence[IssueState] = (IssueState.OPEN,),
        closed_since: float = 0.0,
    ) -> list[Issue]:
        """Return issues in these states, the hottest first, without their samples.

        Parameters
        ----------
        closed_since : float
            Resolved and merged ones are left out that nobody touched since, in Unix seconds.
        """
        wanted = sa.select(*BOARD_COLUMNS).where(issue.c.state.in_([s.value for s in states]))
        if tenant is not None:
            wanted = wanted.where(issue.c.tenant == tenant)
        if closed_since:
            live = issue.c.state.in_([IssueState.OPEN.value, IssueState.SNOOZED.value])
            wanted = wanted.where(sa.or_(live, issue.c.changed_at >= closed_since))
        with self._store.read() as connection:
            found = [issue_of(row) for row in connection.execute(wanted)]
        return sorted(found, key=lambda one: (-one.sighting.heat, -one.sighting.seen_at, one.id))

    def get(self, issue_id: int) -> Issue:
        """Return an issue with its samples.

        Raises
        ------
        NotFound
            There is none with this id.
        """
        with self._store.read() as connection:
            wanted = sa.select(issue).where(issue.c.id == issue_id)
            row = connection.execute(wanted).one_or_none()
        if row is None:
            raise no_such_issue(issue_id)
        return issue_of(row)

    def history(self, issue_id: int) -> list[IssueAct]:
        """Return what was done with an issue, the newest first."""
        of_it = sa.select(issue_act).where(issue_act.c.issue_id == issue_id)
        with self._store.read() as connection:
            rows = connection.execute(of_it.order_by(issue_act.c.id.desc())).all()
        names = ("id", "issue_id", "at", "who", "what", "details")
        return [IssueAct(**{name: getattr(row, name) for name in names}) for row in rows]

    def sequence(self) -> int:
        """Return the number of the last change; a board that has seen it need not read again."""
        with self._store.read() as connection:
            return connection.execute(sa.select(sa.func.max(issue.c.sequence))).scalar() or 0

    # What people do. Each raises NotFound, and Conflict where the issue changed since `seen`.

    def snooze(self, issue_id: int, until: float, *, who: str, seen: int | None = None) -> Issue:
        """Take an issue off the board until a time, in Unix seconds.

        Raises
        ------
        InputError
            That time has passed.
        """
        if until <= self._clock():
            raise InputError("The snooze would be over already.", remedy="Choose a later time.")
        standing = {"state": IssueState.SNOOZED, "snoozed_until": until}
        return self._change(issue_id, "snoozed", standing, who, seen, {"until": until})

    def assign(self, issue_id: int, to: str, *, who: str, seen: int | None = None) -> Issue:
        """Give an issue to a person; to nobody where `to` is empty."""
        return self._change(issue_id, "assigned", {"assigned_to": to}, who, seen, {"to": to})

    def rename(self, issue_id: int, title: str, *, who: str, seen: int | None = None) -> Issue:
        """Call an issue by a person's words; by its terms again where they are empty."""
        title = acts.words("title", title, least=0)
        return self._change(issue_id, "renamed", {"title": title}, who, seen, {"title": title})

    def resolve(self, issue_id: int, reason: str, *, who: str, seen: int | None = None) -> Issue:
        """Close an issue; it comes back where it rises anew.

        Raises
        ------
        InputError
            There is no reason, or a very long one.
        """
        reason = acts.words("reason", reason, least=1)
        standing = {"state": IssueState.RESOLVED, "reason": reason, "snoozed_until": None}
        return self._change(issue_id, "resolved", standing, who, seen, {"reason": reason})

    def reopen(self, issue_id: int, *, who: str, seen: int | None = None) -> Issue:
        """Put an issue back on the board."""
        with self._writing() as rows:
            return acts.reopen(rows, issue_id, who=who, seen=seen)

    def merge(self, issue_id: int, into: int, *, who: str, seen: int | None = None) -> Issue:
        """Let an issue's texts count with another issue from now on; return that one.

        Raises
        ------
        InputError
            Both are the same, or of different tenants.
        Conflict
            One of them was merged already.
        """
        with self._writing() as rows:
            return acts.merge(rows, issue_id, into, who=who, seen=seen)

    def split(
        self, issue_id: int, micros: Sequence[int], *, who: str, seen: int | None = None
    ) -> Issue:
        """Make micro-clusters an issue of their own, and return it.

        Its figures come with the stream's next report.

        Raises
        ------
        InputError
            They are none or all of the issue's, or another's.
        """
        with self._writing() as rows:
            return acts.split(rows, issue_id, micros, who=who, seen=seen)

    def note(self, issue_id: int, what: str, details: Mapping[str, Any], *, who: str) -> None:
        """Keep what was done because of an issue, such as a rule that was added."""
        what = acts.words("note", what, least=1)
        with self._writing() as rows:
            rows.get(issue_id)
            rows.act(issue_id, what[:60], who=who, details=details)

    def undo(self, issue_id: int, *, who: str) -> Issue:
        """Take back the last act on an issue that changed it.

        Raises
        ------
        Conflict
            There is none, or the stream changed the issue after it.
        """
        with self._writing() as rows:
            return acts.undo(rows, issue_id, who=who)

    def _change(
        self,
        issue_id: int,
        what: str,
        values: Mapping[str, Any],
        who: str,
        seen: int | None,
        details: Mapping[str, Any],
    ) -> Issue:
        with self._writing() as rows:
            return acts.change(rows, issue_id, what, values, who=who, seen=seen, details=details)

    @contextmanager
    def _writing(self) -> Iterator[IssueRows]:
        with self._store.write() as connection:
            one_at_a_time(connection, Lock.ISSUES)
            yield IssueRows(connection, self._clock())
