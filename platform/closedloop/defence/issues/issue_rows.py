"""Issues as rows of the metadata store; what the book and the stream's reports both write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from closedloop.core.errors import NotFound
from closedloop.core.schema import issue, issue_act, issue_cluster
from closedloop.defence.issues.issue import Issue, IssueState, Standing
from closedloop.defence.issues.sighting import Sighting

# What a board of many issues needs: all but the samples.
BOARD_COLUMNS = tuple(column for column in issue.c if column.name != "samples")


class IssueRows:
    """The rows within one transaction that writes.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Of the transaction; nobody else writes issues while it is open.
    at : float
        Now, in Unix seconds.
    """

    def __init__(self, connection: sa.Connection, at: float) -> None:
        self.connection = connection
        self._at = at
        self._sequence: int | None = None

    def get(self, issue_id: int) -> Issue:
        """Return an issue.

        Raises
        ------
        NotFound
            There is none with this id.
        """
        wanted = sa.select(issue).where(issue.c.id == issue_id)
        row = self.connection.execute(wanted).one_or_none()
        if row is None:
            raise no_such_issue(issue_id)
        return issue_of(row)

    def of_clusters(self, tenant: str, clusters: Iterable[int]) -> dict[int, int]:
        """Return for clusters the issues that they count with."""
        wanted = sa.select(issue_cluster.c.cluster, issue_cluster.c.issue_id).where(
            issue_cluster.c.tenant == tenant, issue_cluster.c.cluster.in_(sorted(set(clusters)))
        )
        return {row.cluster: row.issue_id for row in self.connection.execute(wanted)}

    def clusters(self, issue_id: int) -> list[int]:
        """Return the clusters that count with an issue."""
        mine = issue_cluster.c.issue_id == issue_id
        rows = self.connection.execute(sa.select(issue_cluster.c.cluster).where(mine))
        return sorted(row.cluster for row in rows)

    def point(self, tenant: str, clusters: Iterable[int], issue_id: int) -> None:
        """Let clusters count with an issue from now on."""
        known = self.of_clusters(tenant, clusters)
        for cluster in sorted(set(clusters)):
            place = {"tenant": tenant, "cluster": cluster}
            if cluster in known:
                here = sa.and_(issue_cluster.c.tenant == tenant, issue_cluster.c.cluster == cluster)
                change = sa.update(issue_cluster).where(here).values(issue_id=issue_id)
                self.connection.execute(change)
            else:
                self.connection.execute(sa.insert(issue_cluster).values(issue_id=issue_id, **place))

    def open(self, sighting: Sighting, *, parts: Sequence[int] = ()) -> Issue:
        """Keep a new issue; with `parts`, one that a person set apart from another."""
        highest = self.connection.execute(sa.select(sa.func.max(issue.c.id))).scalar() or 0
        number = highest + 1
        if parts:
            sighting = replace(sighting, cluster=-number, absorbed=(), micros=tuple(parts))
        opened = Issue(
            id=number,
            tenant=sighting.tenant,
            standing=Standing(),
            opened_at=self._at,
            changed_at=self._at,
            revision=1,
            sighting=sighting,
        )
        self.connection.execute(
            sa.insert(issue).values(
                id=number,
                tenant=sighting.tenant,
                opened_at=self._at,
                changed_at=self._at,
                revision=1,
                parts=list(parts),
                **_standing(opened.standing),
                **_sighting(sighting),
                sequence=self._next(),
            )
        )
        self.point(sighting.tenant, [sighting.cluster, *sighting.absorbed], number)
        return opened

    def stand(
        self, issue_id: int, standing: Standing, *, parts: Sequence[int] | None = None
    ) -> None:
        """Change what was decided of an issue."""
        values = {**_standing(standing), "changed_at": self._at, "sequence": self._next()}
        if parts is not None:
            values["parts"] = list(parts)
        self.connection.execute(
            sa.update(issue)
            .where(issue.c.id == issue_id)
            .values(revision=issue.c.revision + 1, **values)
        )

    def sight(self, issue_id: int, sighting: Sighting) -> None:
        """Change an issue's figures."""
        values = {**_sighting(sighting), "sequence": self._next()}
        self.connection.execute(sa.update(issue).where(issue.c.id == issue_id).values(values))

    def act(
        self,
        issue_id: int,
        what: str,
        *,
        who: str = "",
        details: Mapping[str, Any] | None = None,
        before: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep that something was done."""
        self.connection.execute(
            sa.insert(issue_act).values(
                issue_id=issue_id,
                at=self._at,
                who=who,
                what=what,
                details=dict(details or {}),
                before=sa.null() if before is None else dict(before),
                undone=False,
            )
        )
        moved = sa.update(issue).where(issue.c.id == issue_id).values(sequence=self._next())
        self.connection.execute(moved)

    def _next(self) -> int:
        """Return the number of this transaction's change."""
        if self._sequence is None:
            last = self.connection.execute(sa.select(sa.func.max(issue.c.sequence))).scalar()
            self._sequence = (last or 0) + 1
        return self._sequence


def issue_of(row: Any) -> Issue:
    """Return a row as an issue; without the column of samples it has none."""
    values = row._mapping
    sighting = {**values["sighting"], "samples": values.get("samples", ())}
    return Issue(
        id=values["id"],
        tenant=values["tenant"],
        standing=standing_of(values["standing"]),
        opened_at=values["opened_at"],
        changed_at=values["changed_at"],
        revision=values["revision"],
        sighting=Sighting.from_json(sighting),
    )


def standing_of(values: Mapping[str, Any]) -> Standing:
    """Rebuild what was decided from its JSON form."""
    return Standing(**{**values, "state": IssueState(values["state"])})


def no_such_issue(issue_id: int) -> NotFound:
    """Return the error for an id that no issue has."""
    return NotFound(f"There is no issue {issue_id}.", remedy="See the board for those there are.")


def _standing(standing: Standing) -> dict[str, Any]:
    return {"state": standing.state.value, "standing": asdict(standing)}


def _sighting(sighting: Sighting) -> dict[str, Any]:
    values = sighting.to_json()
    samples = values.pop("samples")
    return {"sighting": values, "samples": samples}
