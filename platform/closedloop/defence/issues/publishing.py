"""How the stream's sightings become issues: each is reported once, and then kept up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from closedloop.defence.issues.issue import Issue, IssueState, Standing
from closedloop.defence.issues.issue_rows import IssueRows
from closedloop.defence.issues.sighting import Sighting, combined


def publish(rows: IssueRows, sightings: Sequence[Sighting], at: float) -> list[Issue]:
    """Bring the issues up to what the stream sees now.

    A sighting belongs to the issue of its cluster, or of one that went up in it; clusters of
    several issues that became one make the oldest of them go on. One that belongs to none opens
    an issue where it rises.

    Parameters
    ----------
    sightings : sequence of Sighting
        Of one tenant.
    at : float
        Now, in Unix seconds.

    Returns
    -------
    list of Issue
        Those that came onto the board by this.
    """
    if not sightings:
        return []
    tenant = sightings[0].tenant
    asked = {cluster for one in sightings for cluster in (one.cluster, *one.absorbed)}
    known = rows.of_clusters(tenant, asked)
    of_issue: dict[int, list[Sighting]] = {}
    new: list[Sighting] = []
    for sighting in sightings:
        there = {known[c] for c in (sighting.cluster, *sighting.absorbed) if c in known}
        if there:
            chosen = _joined(rows, sorted(there), known, sighting)
            of_issue.setdefault(chosen, []).append(sighting)
        elif sighting.rising:
            new.append(sighting)
    came: list[Issue] = []
    for issue_id, seen in of_issue.items():
        came += _updated(rows, rows.get(issue_id), combined(seen), at)
    for sighting in new:
        opened = rows.open(sighting)
        rows.act(opened.id, "opened", details={"surprise": round(sighting.surprise, 1)})
        came.append(opened)
    return came


def _joined(rows: IssueRows, there: Sequence[int], known: dict[int, int], seen: Sighting) -> int:
    """Return the issue that a sighting counts with; others that it covers go up in that."""
    here = known.get(seen.cluster)
    # Those that people have not closed go before others, then the oldest.
    issues = [rows.get(issue_id) for issue_id in there]
    closed = {one.id: one.state in (IssueState.RESOLVED, IssueState.MERGED) for one in issues}
    chosen = min(there, key=lambda issue_id: (closed[issue_id], issue_id))
    for one in issues:
        if one.id == chosen or closed[one.id]:
            continue
        clusters = rows.clusters(one.id)
        merged = replace(one.standing, state=IssueState.MERGED, merged_into=chosen)
        rows.stand(one.id, merged)
        rows.act(
            one.id,
            "joined",
            details={"into": chosen},
            before={"standings": {str(one.id): asdict(one.standing)}},
        )
        rows.point(one.tenant, clusters, chosen)
        known.update(dict.fromkeys(clusters, chosen))
    names = {seen.cluster, *seen.absorbed}
    stray = [name for name in names if known.get(name) != chosen]
    if stray or here is None:
        rows.point(seen.tenant, stray, chosen)
        known.update(dict.fromkeys(stray, chosen))
    return chosen


def _updated(rows: IssueRows, issue: Issue, sighting: Sighting, at: float) -> list[Issue]:
    rows.sight(issue.id, sighting)
    if not (sighting.rising and _comes_back(issue, sighting, at)):
        return []
    before = {"standings": {str(issue.id): asdict(issue.standing)}}
    rows.stand(issue.id, reopened(issue.standing))
    rows.act(issue.id, "reopened", details=_why(issue), before=before)
    return [rows.get(issue.id)]


def _comes_back(issue: Issue, sighting: Sighting, at: float) -> bool:
    standing = issue.standing
    if standing.state is IssueState.SNOOZED:
        return standing.snoozed_until is not None and at >= standing.snoozed_until
    # A rise that was under way when a person closed it is what he closed.
    return standing.state is IssueState.RESOLVED and sighting.began_at > issue.changed_at


def _why(issue: Issue) -> Mapping[str, str]:
    if issue.state is IssueState.SNOOZED:
        return {"why": "the snooze is over, and it still rises"}
    return {"why": "it rises anew"}


def reopened(standing: Standing) -> Standing:
    """Return a standing with which the issue is on the board."""
    return replace(standing, state=IssueState.OPEN, snoozed_until=None, reason="", merged_into=None)
