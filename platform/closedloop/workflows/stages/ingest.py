"""Stage: a file of logs → event log → lake."""

from __future__ import annotations

from closedloop.core.errors import InputError
from closedloop.core.pseudonyms import load_pseudonyms
from closedloop.data.drain import drain_to_lake
from closedloop.data.ingest import ingest_file
from closedloop.workflows.context import LoopContext, StageProgress
from closedloop.workflows.records import StageOutcome


def ingest(context: LoopContext, outcome: StageOutcome, progress: StageProgress) -> None:
    """Load the run's log file; what is loaded already is recognised and left out."""
    engines, state = context.engines, context.state
    if state.logs is None:
        raise InputError(
            "This run has no log file.", remedy="Give --logs FILE and --map text=COLUMN."
        )
    loaded = ingest_file(
        state.logs,
        log=engines.log,
        lake=engines.lake,
        tenant=context.parameters.model.tenant,
        pseudonyms=load_pseudonyms(engines.settings.root),
        progress=lambda rows: progress(rows, 0),
    )
    written = drain_to_lake(engines.log, engines.lake, progress=lambda rows: progress(rows, 0))
    outcome.rows = loaded.new + loaded.duplicates + loaded.refused
    outcome.details = {
        "new": loaded.new,
        "known already": loaded.duplicates,
        "refused": loaded.refused,
        "written to lake": written,
    }
