"""The issues of an installation: what the stream reports, what people decide, and who did what.

The stream publishes, people act. Each act keeps what it changed, so that it can be taken back. An
act names the revision that the person looked at; where somebody was faster, it is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from closedloop.core.errors import Conflict, InputError
from closedloop.core.schema import issue, issue_act
from closedloop.core.store import Lock, Store, one_at_a_time
from closedloop.defence.issues.issue import Issue, IssueAct, IssueState, Standing
from closedloop.defence.issues.issue_rows import (
    BOARD_COLUMNS,
    IssueRows,
    issue_of,
    no_such_issue,
    standing_of,
)
from closedloop.defence.issues.publishing import publish, reopened
from closedloop.defence.issues.sighting import Sighting

_MAX_WORDS_CHARS = 400


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
                before = {"standings": {str(one.id): asdict(one.standing)}}
                closed = replace(
                    one.standing, state=IssueState.RESOLVED, reason="nobody asks it any more"
                )
                rows.stand(one.id, closed)
                rows.act(one.id, "faded", before=before)
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
        title = _words("title", title, least=0)
        return self._change(issue_id, "renamed", {"title": title}, who, seen, {"title": title})

    def resolve(self, issue_id: int, reason: str, *, who: str, seen: int | None = None) -> Issue:
        """Close an issue; it comes back where it rises anew.

        Raises
        ------
        InputError
            There is no reason, or a very long one.
        """
        reason = _words("reason", reason, least=1)
        standing = {"state": IssueState.RESOLVED, "reason": reason, "snoozed_until": None}
        return self._change(issue_id, "resolved", standing, who, seen, {"reason": reason})

    def reopen(self, issue_id: int, *, who: str, seen: int | None = None) -> Issue:
        """Put an issue back on the board."""
        with self._writing() as rows:
            now = _seen(rows.get(issue_id), seen)
            if now.state is IssueState.MERGED:
                raise Conflict(
                    f"The issue {now.title!r} counts with another one.",
                    remedy="Take the merge back, or split the other issue.",
                )
            before = {"standings": {str(now.id): asdict(now.standing)}}
            rows.stand(issue_id, reopened(now.standing))
            rows.act(issue_id, "reopened", who=who, before=before)
            return rows.get(issue_id)

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
            now, target = _seen(rows.get(issue_id), seen), rows.get(into)
            if now.id == target.id or now.tenant != target.tenant:
                raise InputError(
                    "An issue can be merged with another one of its tenant only.",
                    remedy="Choose another one.",
                )
            if IssueState.MERGED in (now.state, target.state):
                raise Conflict(
                    "One of the two was merged meanwhile.", remedy="Look at the board again."
                )
            clusters = rows.clusters(now.id)
            before = {
                "standings": {str(now.id): asdict(now.standing)},
                "clusters": {str(now.id): clusters},
            }
            merged = replace(now.standing, state=IssueState.MERGED, merged_into=into)
            rows.stand(now.id, merged)
            rows.point(now.tenant, clusters, into)
            rows.act(now.id, "merged", who=who, details={"into": into}, before=before)
            rows.act(into, "took in", who=who, details={"issue": now.id})
            return rows.get(into)

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
            now = _seen(rows.get(issue_id), seen)
            chosen, there = set(micros), set(now.sighting.micros)
            if not chosen or not chosen < there:
                raise InputError(
                    f"{len(chosen)} of the {len(there)} groups of texts cannot be split off.",
                    remedy="Choose at least one and not all of them.",
                )
            made = rows.open(now.sighting, parts=sorted(chosen))
            into = {"standings": {str(made.id): _merged_into(issue_id)}, "parts": str(made.id)}
            rows.act(made.id, "opened", who=who, details={"out of": issue_id})
            rows.act(issue_id, "split", who=who, details={"issue": made.id}, before=into)
            rows.stand(issue_id, now.standing)  # its revision goes on: it is another issue now
            return made

    def note(self, issue_id: int, what: str, details: Mapping[str, Any], *, who: str) -> None:
        """Keep what was done because of an issue, such as a rule that was added."""
        with self._writing() as rows:
            rows.get(issue_id)
            rows.act(issue_id, _words("note", what, least=1)[:60], who=who, details=details)

    def undo(self, issue_id: int, *, who: str) -> Issue:
        """Take back the last act on an issue that changed it.

        Raises
        ------
        Conflict
            There is none, or the stream changed the issue after it.
        """
        of_it = sa.select(issue_act).where(
            issue_act.c.issue_id == issue_id, issue_act.c.undone.is_(False)
        )
        with self._writing() as rows:
            found = rows.connection.execute(of_it.order_by(issue_act.c.id.desc())).all()
            last = next((row for row in found if row.before is not None), None)
            if last is None or not last.who:
                raise Conflict(
                    "The stream changed this issue after the last act of a person."
                    if last
                    else "Nothing was done with this issue that could be taken back.",
                    remedy="Look at its history, and act anew.",
                )
            _restore(rows, last.before, rows.get(issue_id).tenant)
            done = sa.update(issue_act).where(issue_act.c.id == last.id).values(undone=True)
            rows.connection.execute(done)
            rows.act(issue_id, "undone", who=who, details={"what": last.what})
            return rows.get(issue_id)

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
            now = _seen(rows.get(issue_id), seen)
            if now.state is IssueState.MERGED:
                raise Conflict(
                    f"The issue {now.title!r} counts with another one.",
                    remedy="Act on that one, or take the merge back.",
                )
            before = {"standings": {str(now.id): asdict(now.standing)}}
            rows.stand(issue_id, replace(now.standing, **values))
            rows.act(issue_id, what, who=who, details=details, before=before)
            return rows.get(issue_id)

    @contextmanager
    def _writing(self) -> Iterator[IssueRows]:
        with self._store.write() as connection:
            one_at_a_time(connection, Lock.ISSUES)
            yield IssueRows(connection, self._clock())


def _seen(now: Issue, seen: int | None) -> Issue:
    if seen is not None and now.revision != seen:
        raise Conflict(
            f"Somebody changed the issue {now.title!r} meanwhile.",
            remedy="Look at it again, and act anew.",
        )
    return now


def _merged_into(issue_id: int) -> dict[str, Any]:
    return asdict(Standing(state=IssueState.MERGED, merged_into=issue_id))


def _restore(rows: IssueRows, before: Mapping[str, Any], tenant: str) -> None:
    """Give issues back what an act took: their standing, their clusters, their texts."""
    emptied = before.get("parts")
    for name, standing in before.get("standings", {}).items():
        parts: list[int] | None = [] if name == emptied else None
        rows.stand(int(name), standing_of(standing), parts=parts)
    for name, clusters in before.get("clusters", {}).items():
        rows.point(tenant, clusters, int(name))


def _words(what: str, words: str, *, least: int) -> str:
    words = " ".join(words.split())
    if not least <= len(words) <= _MAX_WORDS_CHARS:
        raise InputError(
            f"The {what} has {len(words)} characters.",
            remedy=f"Use {least} to {_MAX_WORDS_CHARS}.",
        )
    return words
