"""What people do with issues, within a transaction: each act keeps what it takes to undo it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from closedloop.core.errors import Conflict, InputError
from closedloop.core.schema import issue_act
from closedloop.defence.issues.issue import Issue, IssueState, Standing
from closedloop.defence.issues.issue_rows import IssueRows, standing_of
from closedloop.defence.issues.publishing import reopened

_MAX_WORDS_CHARS = 400


def change(
    rows: IssueRows,
    issue_id: int,
    what: str,
    values: Mapping[str, Any],
    *,
    who: str,
    seen: int | None,
    details: Mapping[str, Any],
) -> Issue:
    """Change parts of an issue's standing."""
    now = _seen(rows.get(issue_id), seen)
    if now.state is IssueState.MERGED:
        raise _elsewhere(now, "Act on that one, or take the merge back.")
    rows.stand(issue_id, replace(now.standing, **values))
    rows.act(issue_id, what, who=who, details=details, before=_before(now))
    return rows.get(issue_id)


def reopen(rows: IssueRows, issue_id: int, *, who: str, seen: int | None) -> Issue:
    """Put an issue back on the board."""
    now = _seen(rows.get(issue_id), seen)
    if now.state is IssueState.MERGED:
        raise _elsewhere(now, "Take the merge back, or split the other issue.")
    rows.stand(issue_id, reopened(now.standing))
    rows.act(issue_id, "reopened", who=who, before=_before(now))
    return rows.get(issue_id)


def fade(rows: IssueRows, issue: Issue) -> None:
    """Close an issue that nobody asks any more."""
    reason = "nobody asks it any more"
    rows.stand(issue.id, replace(issue.standing, state=IssueState.RESOLVED, reason=reason))
    rows.act(issue.id, "faded", before=_before(issue))


def merge(rows: IssueRows, issue_id: int, into: int, *, who: str, seen: int | None) -> Issue:
    """Let an issue's clusters count with another issue; see `IssueBook.merge`."""
    now, target = _seen(rows.get(issue_id), seen), rows.get(into)
    if now.id == target.id or now.tenant != target.tenant:
        raise InputError(
            "An issue can be merged with another one of its tenant only.",
            remedy="Choose another one.",
        )
    if IssueState.MERGED in (now.state, target.state):
        raise Conflict("One of the two was merged meanwhile.", remedy="Look at the board again.")
    clusters = rows.clusters(now.id)
    before = {**_before(now), "clusters": {str(now.id): clusters}}
    rows.stand(now.id, replace(now.standing, state=IssueState.MERGED, merged_into=into))
    rows.point(now.tenant, clusters, into)
    rows.act(now.id, "merged", who=who, details={"into": into}, before=before)
    rows.act(into, "took in", who=who, details={"issue": now.id})
    return rows.get(into)


def split(
    rows: IssueRows, issue_id: int, micros: Sequence[int], *, who: str, seen: int | None
) -> Issue:
    """Make micro-clusters an issue of their own; see `IssueBook.split`."""
    now = _seen(rows.get(issue_id), seen)
    chosen, there = set(micros), set(now.sighting.micros)
    if not chosen or not chosen < there:
        raise InputError(
            f"{len(chosen)} of the {len(there)} groups of texts cannot be split off.",
            remedy="Choose at least one and not all of them.",
        )
    made = rows.open(now.sighting, parts=sorted(chosen))
    back = asdict(Standing(state=IssueState.MERGED, merged_into=issue_id))
    before = {"standings": {str(made.id): back}, "parts": str(made.id)}
    rows.act(made.id, "opened", who=who, details={"out of": issue_id})
    rows.act(issue_id, "split", who=who, details={"issue": made.id}, before=before)
    rows.stand(issue_id, now.standing)  # its revision goes on: it is another issue now
    return made


def undo(rows: IssueRows, issue_id: int, *, who: str) -> Issue:
    """Take back the last act that changed an issue; see `IssueBook.undo`."""
    of_it = sa.select(issue_act).where(
        issue_act.c.issue_id == issue_id,
        issue_act.c.undone.is_(False),
    )
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


def words(what: str, said: str, *, least: int) -> str:
    """Return what a person wrote, without blanks around.

    Raises
    ------
    InputError
        It is too short or too long.
    """
    said = " ".join(said.split())
    if not least <= len(said) <= _MAX_WORDS_CHARS:
        raise InputError(
            f"The {what} has {len(said)} characters.",
            remedy=f"Use {least} to {_MAX_WORDS_CHARS}.",
        )
    return said


def _seen(now: Issue, seen: int | None) -> Issue:
    if seen is not None and now.revision != seen:
        raise Conflict(
            f"Somebody changed the issue {now.title!r} meanwhile.",
            remedy="Look at it again, and act anew.",
        )
    return now


def _elsewhere(now: Issue, remedy: str) -> Conflict:
    return Conflict(f"The issue {now.title!r} counts with another one.", remedy=remedy)


def _before(now: Issue) -> dict[str, Any]:
    return {"standings": {str(now.id): asdict(now.standing)}}


def _restore(rows: IssueRows, before: Mapping[str, Any], tenant: str) -> None:
    """Give issues back what an act took: their standing, their clusters, their texts."""
    emptied = before.get("parts")
    for name, standing in before.get("standings", {}).items():
        parts: list[int] | None = [] if name == emptied else None
        rows.stand(int(name), standing_of(standing), parts=parts)
    for name, clusters in before.get("clusters", {}).items():
        rows.point(tenant, clusters, int(name))
