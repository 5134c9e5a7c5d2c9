"""How shards make the watches of their tenants."""

from __future__ import annotations

from closedloop.defence.issues import watch_state
from closedloop.defence.issues.watch import IssueWatch
from closedloop.defence.tenant_stream import Watching


def issue_watching() -> Watching[IssueWatch]:
    """Return how watches are made, and kept over a restart."""
    return Watching(new=IssueWatch, dump=watch_state.dump, load=watch_state.load)
