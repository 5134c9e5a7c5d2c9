"""Stage: register the challenger, move the alias if the verdict allows it, watch serving follow."""

from __future__ import annotations

from closedloop.core.errors import EngineError
from closedloop.models.artifacts import LEAN_FILE
from closedloop.models.lean.compiling import check_equal, lean_of_classifier
from closedloop.models.lean.file import save_lean
from closedloop.models.model_version import LeanFile
from closedloop.models.release import release as move_champion
from closedloop.models.training_snapshot import LABELS_VERSION_TAG, SHA256_TAG, content_hash
from closedloop.workflows.context import LoopContext, StageProgress
from closedloop.workflows.records import StageOutcome

_PROBES = 200


def release(context: LoopContext, outcome: StageOutcome, progress: StageProgress) -> None:
    """Release the challenger; requests go on while serving follows the alias.

    Raises
    ------
    ReleaseRefused
        Joint evaluation found a regression; the champion stays.
    """
    state, engines, ref = context.state, context.engines, context.parameters.model
    evaluation = state.evaluation
    assert evaluation is not None
    assert state.challenger is not None
    assert state.challenger_file is not None
    assert state.training_set is not None
    lean = lean_of_classifier(state.challenger)
    texts = [row.text for row in state.training_set.gold][:_PROBES]
    difference = check_equal(lean, state.challenger, texts)
    lean_file = context.scratch / LEAN_FILE
    version = engines.registry.register(
        ref,
        state.challenger_file,
        state.challenger_sha256,
        {
            "gold_accuracy": evaluation.challenger.accuracy.value,
            "gold_macro_f1": evaluation.challenger.macro_f1.value,
        },
        {
            LABELS_VERSION_TAG: str(state.labels_version),
            SHA256_TAG: content_hash(state.training_set),
            "run": context.run_id,
            "train_rows": str(len(state.training_set.train)),
            "gold_rows": str(len(state.training_set.gold)),
        },
        lean=LeanFile(lean_file, save_lean(lean, lean_file)),
        labels=state.training_set.classes,
    )
    state.version = version
    outcome.rows = 1
    outcome.details = {"version": version, "verdict": " ".join(evaluation.verdict.reasons)}
    outcome.details["serving form differs by"] = f"{difference:.1e}"
    progress(1, 3)

    def follow() -> float:
        move_champion(engines.registry, ref, version, evaluation.verdict)
        progress(2, 3)
        return engines.serving.wait_until_serving(ref, version)

    if state.champion is None:
        seconds, failed = follow(), 0
    else:
        seconds, probe = engines.serving.probe_during(ref, texts, follow)
        failed = probe.failed
        outcome.details |= {"requests during swap": probe.requests, "failed requests": failed}
        if failed:
            raise EngineError(
                f"{failed} of {probe.requests} requests failed while version {version} went live.",
                remedy="See the replicas' logs; go back with 'closedloop models rollback'.",
            )
    state.figures["failed_requests_during_swap"] = failed
    outcome.details["seconds until served"] = round(seconds, 2)
    progress(3, 3)
