"""What receivers of alerts do not know yet: issues that came onto the board, and how they grow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from closedloop.core.schema import alert, issue_act
from closedloop.defence.alerts.alert import AlertKind
from closedloop.defence.alerts.sink import Receiver
from closedloop.defence.issues.issue import Issue

_TENFOLD = 10.0
_MOST_POWERS = 12  # a million million times as many texts


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """Something of an issue that a receiver is to be told."""

    issue: Issue
    receiver: Receiver
    kind: AlertKind
    occasion: str  # the same, it is the same news


def missing(connection: sa.Connection, wanted: Sequence[tuple[Issue, Receiver]]) -> list[News]:
    """Return what receivers are to be told of issues, and no alert tells them.

    Parameters
    ----------
    wanted : sequence of (Issue, Receiver)
        Which of them want to hear of which issue on the board.
    """
    ids = sorted({issue.id for issue, _ in wanted})
    openings = _openings(connection, ids)
    names = ("issue_id", "kind", "occasion", "sink", "content")
    there = sa.select(*(alert.c[name] for name in names)).where(alert.c.issue_id.in_(ids))
    known = {
        (row.issue_id, row.kind, row.occasion, row.sink): row.content
        for row in connection.execute(there)
    }
    found: dict[tuple[int, str, str, str], News] = {}

    def tell(issue: Issue, receiver: Receiver, kind: AlertKind, occasion: str) -> None:
        news = News(issue=issue, receiver=receiver, kind=kind, occasion=occasion)
        found[issue.id, kind.value, occasion, receiver.name] = news

    for issue, receiver in wanted:
        if issue.id not in openings:
            continue  # a person put it there, and knows
        kind, occasion = openings[issue.id]
        told = known.get((issue.id, kind.value, occasion, receiver.name))
        if told is None:
            tell(issue, receiver, kind, occasion)
            continue
        power, escalated = _powers(issue, told), AlertKind.ESCALATED
        # Only beyond all that it had grown to before: rates go up and down.
        before = (f"{occasion} 10^{n}" for n in range(power, _MOST_POWERS))
        if power > 0 and not any(
            (issue.id, escalated.value, each, receiver.name) in known for each in before
        ):
            tell(issue, receiver, escalated, f"{occasion} 10^{power}")
    return list(found.values())


def _openings(connection: sa.Connection, ids: Sequence[int]) -> dict[int, tuple[AlertKind, str]]:
    """Return for issues how the stream put each on the board last."""
    kinds = [AlertKind.OPENED.value, AlertKind.REOPENED.value]
    acts = (
        sa.select(issue_act.c.id, issue_act.c.issue_id, issue_act.c.what)
        .where(issue_act.c.issue_id.in_(ids), issue_act.c.what.in_(kinds), issue_act.c.who == "")
        .order_by(issue_act.c.id)
    )
    return {row.issue_id: (AlertKind(row.what), str(row.id)) for row in connection.execute(acts)}


def _powers(issue: Issue, told: Mapping[str, Any]) -> int:
    """Return how many times over an issue has grown tenfold since a receiver was told of it."""
    then, now = told["issue"]["rate_per_min"], issue.sighting.rate_per_min
    if now <= 0 or then <= 0:
        return 0
    return min(_MOST_POWERS - 1, math.floor(math.log(now / then, _TENFOLD) + 1e-9))
