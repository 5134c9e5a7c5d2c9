"""A run of the loop as a person asks for it: checked, given its engines, run, and reported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from closedloop.core.errors import InputError, TooFewLabels
from closedloop.core.settings import Settings
from closedloop.data.log_file import LogFile, Refused
from closedloop.models.reference import ModelRef
from closedloop.samples.annotation import AnnotationQueue
from closedloop.samples.simulated_annotators import SimulatedAnnotators
from closedloop.ui.console import Bars, check_json, console, runs_as_json, show_runs, write_json
from closedloop.ui.stack import Stack, running_stack, temporary_key
from closedloop.workflows.context import (
    Annotators,
    Engines,
    LabelledTexts,
    LoopParameters,
    LoopState,
    masked_truth,
)
from closedloop.workflows.records import RunRecord
from closedloop.workflows.runner import load_template, run_workflow


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopRequest:
    """The options of ``closedloop run``, as typed."""

    workflow: str
    logs: Path | None = None
    replay: Path | None = None
    mapping: tuple[str, ...] = ()
    model: str = "default.intent.main"
    labels: str = "1000"
    repair_labels: int = 500
    simulate_annotators: bool = False
    annotators: int = 3
    error_rate: float = 0.0
    votes: int = 1
    heldout: Path | None = None
    heldout_mapping: tuple[str, ...] = ()  # where it differs from ``mapping``
    engine: str = "ray"
    trials: int = 8
    clusters: int | None = None
    seed: int = 0
    encoding: str = "utf-8"

    def parameters(self) -> LoopParameters:
        """Return the checked parameters of the run."""
        from closedloop.data.spark import Engine

        return LoopParameters(
            model=ModelRef.parse(self.model),
            labels=_budget(self.labels),
            repair_labels=self.repair_labels,
            votes=self.votes,
            clusters=self.clusters,
            trials=self.trials,
            engine=Engine(self.engine),
            seed=self.seed,
        )

    def team(self, truth: Mapping[str, str]) -> SimulatedAnnotators:
        """Return the simulated annotators, who answer from ``truth``."""
        return SimulatedAnnotators(
            truth=truth, team=self.annotators, error_rate=self.error_rate, seed=self.seed
        )

    def file(self, path: Path) -> LogFile:
        """Return a file with this request's mapping."""
        entries = self.heldout_mapping if path == self.heldout else ()
        entries = entries or self.mapping
        pairs = [entry.partition("=") for entry in entries]
        wrong = [
            entry
            for entry, (_, sign, column) in zip(entries, pairs, strict=True)
            if not sign or not column
        ]
        if wrong:
            raise InputError(
                f"--map {wrong[0]} is not FIELD=COLUMN.", remedy="Write it as --map text=message."
            )
        mapping = {field: column for field, _, column in pairs}
        return LogFile(path=path, mapping=mapping, encoding=self.encoding)


@dataclass(frozen=True, kw_only=True, slots=True)
class People:
    """People label in the app; `work` waits until nothing is left to label."""

    poll_s: float = 2.0

    def work(self, queue: AnnotationQueue, name: str, *, progress: Callable[[int], None]) -> int:
        """Wait for every task of the queue to be finished."""
        pause = threading.Event()
        before = queue.counts(name).done
        while True:
            counts = queue.counts(name)
            progress(counts.done - before)
            if counts.open + counts.leased == 0:
                return counts.done - before
            pause.wait(self.poll_s)


def run_or_submit(request: LoopRequest, *, json_file: Path | None, address: str) -> None:
    """Run here, or on the cluster whose dashboard ``address`` is."""
    check_json(json_file)
    if address:
        from closedloop.ui.remote import submit

        submit(request, address=address, json_file=json_file)
        return
    settings = Settings()
    check(request)
    with running_stack(
        settings, app=not request.simulate_annotators, tell=lambda s: console.print(f"[dim]{s} …")
    ) as stack:
        if not request.simulate_annotators:
            console.print(
                f"Label the tasks of {request.model} at {stack.app_url} "
                "(no login yet? closedloop users add NAME)."
            )
        record = run_request(stack, request)
    show_runs([record])
    write_json(json_file, runs_as_json([record]))


def check(request: LoopRequest) -> None:
    """Find what is wrong with a request before any engine starts."""
    request.parameters()
    request.team({})
    for path in (request.logs, request.replay, request.heldout):
        if path is not None:
            request.file(path).check()
    if request.simulate_annotators or request.replay:
        source = request.logs or request.replay
        if source is None:
            raise InputError(
                "Simulated annotators need labels to answer from.",
                remedy="Give --replay FILE with --map label=COLUMN, or leave the flag out.",
            )
        classes = set(labelled_texts(request.file(source)).labels)
        if not classes:
            raise InputError(
                f"{source} has no label to simulate annotators with.",
                remedy="Name its column: --map label=COLUMN.",
            )
        if len(classes) == 1:
            raise TooFewLabels(
                f"Every row of {source} has the same label, {classes.pop()!r}.",
                remedy="Check which column is mapped to label; a model needs two classes.",
            )


def run_request(stack: Stack, request: LoopRequest) -> RunRecord:
    """Run a checked request on a platform that is up."""
    from closedloop.data.event_log.opening import open_event_log
    from closedloop.data.lake import Lake
    from closedloop.models.registry import Registry
    from closedloop.serve.traffic import HttpServing

    settings = stack.settings
    parameters = request.parameters()
    logs = None if request.logs is None else request.file(request.logs)
    traffic = None if request.replay is None else labelled_texts(request.file(request.replay))
    heldout = None if request.heldout is None else labelled_texts(request.file(request.heldout))
    log = open_event_log(settings.event_log_url)
    try:
        with temporary_key(stack.store, "workflow", parameters.model.tenant) as key, Bars() as bars:
            return run_workflow(
                load_template(request.workflow),
                parameters=parameters,
                engines=Engines(
                    settings=settings,
                    log=log,
                    lake=Lake(settings.lake_url),
                    queue=stack.queue,
                    registry=Registry(settings.registry_url, settings.artifacts_url),
                    serving=HttpServing(stack.api_url, key),
                    annotators=_annotators(request, logs, traffic),
                    simulated_annotators=request.simulate_annotators,
                ),
                state=LoopState(logs=logs, traffic=traffic, heldout=heldout),
                store=stack.store,
                watcher=bars,
            )
    finally:
        log.close()


def _annotators(
    request: LoopRequest, logs: LogFile | None, traffic: LabelledTexts | None
) -> Annotators:
    if not request.simulate_annotators:
        return People()
    known = traffic if logs is None else labelled_texts(logs)
    assert known is not None  # `check` saw to it
    return request.team(masked_truth(known))


def labelled_texts(file: LogFile) -> LabelledTexts:
    """Return the rows of a file that have both a text and a label."""
    texts, labels = [], []
    for row in file.rows():
        if isinstance(row, Refused):
            continue
        text, label = row.values.get("text"), row.values.get("label")
        if isinstance(text, str) and text.strip() and label not in (None, ""):
            texts.append(text.strip())
            labels.append(str(label).strip())
    return LabelledTexts(texts=tuple(texts), labels=tuple(labels))


def _budget(labels: str) -> int | None:
    if labels == "all":
        return None
    try:
        return int(labels)
    except ValueError as error:
        raise InputError(
            f"--labels {labels} is not a number.", remedy="Give a number, or 'all'."
        ) from error
