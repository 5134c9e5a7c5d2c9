"""Measures the loop on labelled intent files: cold start, label budget, one repair.

    python benchmarks/loop.py --logs train.csv --heldout test.csv --json loop.json [--quick]

The files are CSV with the columns ``text`` and ``category`` (``--map`` names others). Every
stage runs through its real engine: Spark on Ray, the annotation queue with simulated
annotators that answer from the label column without errors, Ray Tune, the registry and Ray
Serve. Held-out accuracy is measured over HTTP on rows that no stage has touched.

The peer of each figure, in the same run: a linear SVM on word and character n-grams, trained
on every label (``peer_accuracy_full``) and on as many labels drawn at random
(``peer_accuracy_budget``, ``peer_accuracy_after_repair``).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from closedloop.core.ports import free_port
from closedloop.core.settings import Settings
from closedloop.data.lake import Lake
from closedloop.ui.console import console, show_runs
from closedloop.ui.loop_runs import LoopRequest, labelled_texts, run_request
from closedloop.ui.stack import Stack, running_stack
from closedloop.workflows.context import LabelledTexts, masked
from closedloop.workflows.records import RunRecord

FULL, BUDGET = "bench.intent.full", "bench.intent.budget"
LABELS, REPAIR_LABELS = 1_000, 500
QUICK_LABELS, QUICK_REPAIR_LABELS = 300, 150


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logs", type=Path, required=True)
    parser.add_argument("--heldout", type=Path, required=True)
    parser.add_argument("--map", action="append", default=None, metavar="FIELD=COLUMN")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--engine", choices=("ray", "local"), default="ray")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="no full labelling, fewer labels")
    options = parser.parse_args()

    request = LoopRequest(
        workflow="cold-start",
        logs=options.logs,
        heldout=options.heldout,
        mapping=tuple(options.map or ("text=text", "label=category")),
        simulate_annotators=True,
        engine=options.engine,
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory(prefix="closedloop-bench-") as folder:
        settings = Settings(
            home=Path(folder),
            api_port=free_port(),
            dashboard_port=free_port(),
            ray_address="",
            store="",
            event_log="",
            lake="",
            registry="",
            artifacts="",
        )
        with running_stack(settings, app=False) as stack:
            figures = measure(stack, request, quick=options.quick)
    options.json.write_text(json.dumps(figures, indent=2) + "\n")
    shown = {k: v for k, v in figures.items() if not isinstance(v, list | dict)}
    console.print_json(json.dumps(shown))


def measure(stack: Stack, request: LoopRequest, *, quick: bool) -> dict[str, Any]:
    """Run the loop and its peers and return the figures."""
    labels, repair_labels = (
        (QUICK_LABELS, QUICK_REPAIR_LABELS) if quick else (LABELS, REPAIR_LABELS)
    )
    assert request.logs is not None
    assert request.heldout is not None
    pool = labelled_texts(request.file(request.logs))
    heldout = labelled_texts(request.file(request.heldout))
    figures: dict[str, Any] = {"labels_budget": labels, "labels_repair": repair_labels}
    runs: list[RunRecord] = []
    if not quick:
        full = run_request(stack, replace(request, model=FULL, labels="all"))
        runs.append(full)
        figures["accuracy_full"] = full.summary["accuracy"]
        figures["peer_accuracy_full"] = peer_accuracy(pool, heldout, len(pool), request.seed)

    first = run_request(stack, replace(request, model=BUDGET, labels=str(labels)))
    with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="", encoding="utf-8") as file:
        write_unlabelled(stack, pool, file)
        repair = run_request(
            stack,
            replace(
                request,
                workflow="repair",
                model=BUDGET,
                logs=None,
                replay=Path(file.name),
                mapping=("text=text", "label=label"),
                heldout_mapping=request.mapping,
                repair_labels=repair_labels,
            ),
        )
    runs += [first, repair]
    show_runs(runs)
    before, after = first.summary["accuracy"], repair.summary["accuracy"]
    return figures | {
        "accuracy_budget": before,
        "accuracy_after_repair": after,
        "error_reduction": (after - before) / (1 - before),
        "peer_accuracy_budget": peer_accuracy(pool, heldout, labels, request.seed),
        "peer_accuracy_after_repair": peer_accuracy(
            pool, heldout, labels + repair_labels, request.seed
        ),
        "failed_requests_during_swap": repair.summary["failed_requests_during_swap"],
        "stages": [
            {
                "run": f"{run.workflow} {run.model}",
                "name": stage.name,
                "seconds": round(stage.seconds, 3),
                "rows": stage.rows,
            }
            for run in runs
            for stage in run.stages
        ],
        "ran": {
            "logs": request.logs.name,
            "log_rows": len(pool),
            "heldout_rows": len(heldout),
            "engine": request.engine,
            "seed": request.seed,
            "quick": quick,
            "cores": os.cpu_count(),
            "python": sys.version.split()[0],
            "versions": {
                name: version(name)
                for name in ("closedloop", "ray", "raydp", "pyspark", "scikit-learn", "mlflow")
            },
        },
    }


def write_unlabelled(stack: Stack, pool: LabelledTexts, file: Any) -> None:
    """Write the pool's rows that nobody has labelled in the cold start: the repair's traffic."""
    labels = Lake(stack.settings.lake_url).read("labels", columns=["model", "text"]).to_pylist()
    known = {row["text"] for row in labels if row["model"] == BUDGET}
    writer = csv.writer(file)
    writer.writerow(("text", "label"))
    for text, label in zip(pool.texts, pool.labels, strict=True):
        if masked(text) not in known:
            writer.writerow((text, label))
    file.flush()


def peer_accuracy(pool: LabelledTexts, heldout: LabelledTexts, labels: int, seed: int) -> float:
    """Held-out accuracy of a plain linear SVM on ``labels`` rows drawn at random."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    rows = random.Random(seed).sample(range(len(pool)), min(labels, len(pool)))
    model = make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        ),
        LinearSVC(random_state=seed),
    )
    model.fit(_pick(pool.texts, rows), _pick(pool.labels, rows))
    return float(model.score(list(heldout.texts), list(heldout.labels)))


def _pick(values: Sequence[str], rows: Sequence[int]) -> list[str]:
    return [values[row] for row in rows]


if __name__ == "__main__":
    main()
