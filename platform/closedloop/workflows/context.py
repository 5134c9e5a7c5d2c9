"""What the stages of a workflow share: parameters, engines, and what has been found so far.

The engines that live above this layer (annotation queue actor, Ray Serve, people) come in
through protocols, so that a workflow is the same with a simulated team, on an embedded
machine or on a cluster, and a test can drive it without any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from closedloop.core.errors import InputError
from closedloop.core.settings import Settings
from closedloop.data.event_log.protocol import EventLog
from closedloop.data.lake import Lake
from closedloop.data.log_file import LogFile
from closedloop.data.spark import Engine
from closedloop.models.reference import ModelRef
from closedloop.samples.annotation import AnnotationQueue

if TYPE_CHECKING:
    from closedloop.models.evaluation import Evaluation
    from closedloop.models.registry import Registry
    from closedloop.models.text_classifier import TextClassifier
    from closedloop.models.training_set import TrainingSet
    from closedloop.samples.cluster import Clustering
    from closedloop.samples.vectorise import TextVectoriser, TextViews

DEFAULT_LABELS = 1_000
# Channel of requests that measure; what they ask is never learned from.
EVALUATION_CHANNEL = "evaluation"
StageProgress = Callable[[int, int], None]  # (done, total)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledTexts:
    """Texts with their true labels that judge or replay, and that no stage trains on."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayReport:
    """What came of sending traffic over HTTP."""

    requests: int
    failed: int
    liked: int
    disliked: int
    versions: tuple[int, ...]  # every model version that answered


class Annotators(Protocol):
    """Who answers the tasks of a queue; returns when none of them waits any more."""

    def work(self, queue: AnnotationQueue, name: str, *, progress: Callable[[int], None]) -> int:
        """Answer what waits in queue ``name``; return the number of votes."""


class Serving(Protocol):
    """The serving layer, as clients reach it over HTTP."""

    def wait_until_serving(self, ref: ModelRef, version: int) -> float:
        """Return when requests are answered by ``version``; the seconds it took."""

    def predict(self, ref: ModelRef, texts: Sequence[str]) -> list[str]:
        """Return the label of each text."""

    def replay(
        self, ref: ModelRef, traffic: LabelledTexts, *, seed: int, progress: StageProgress
    ) -> ReplayReport:
        """Send each text as a user would, and that user's feedback on the answer."""

    def probe_during(
        self, ref: ModelRef, texts: Sequence[str], change: Callable[[], float]
    ) -> tuple[float, ReplayReport]:
        """Keep asking while ``change`` runs; return its result and what became of the requests."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopParameters:
    """What a person chooses about a run."""

    model: ModelRef
    labels: int | None = DEFAULT_LABELS  # budget of labels; None: every sample
    repair_labels: int = 500  # at most so many bad cases are labelled in a repair
    votes: int = 1  # different annotators a task needs
    clusters: int | None = None
    trials: int = 8
    trials_at_once: int = 2
    engine: Engine = Engine.RAY
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("labels", 20), ("repair_labels", 1), ("votes", 1), ("trials", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(
                    f"--{name.replace('_', '-')} {value} is too few.",
                    remedy=f"Give {least} or more.",
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Engines:
    """The real engines under a run."""

    settings: Settings
    log: EventLog
    lake: Lake
    queue: AnnotationQueue
    registry: Registry
    serving: Serving
    annotators: Annotators
    simulated_annotators: bool


@dataclass(kw_only=True, slots=True)
class LoopState:
    """What the stages of one run have found so far; each stage reads what earlier ones wrote."""

    logs: LogFile | None = None
    traffic: LabelledTexts | None = None  # to replay in a repair
    heldout: LabelledTexts | None = None
    samples: pa.Table = field(default_factory=lambda: pa.table({}))
    vectoriser: TextVectoriser | None = None
    views: TextViews | None = None
    clustering: Clustering | None = None
    keywords: tuple[tuple[str, ...], ...] = ()
    bad_cases: pa.Table = field(default_factory=lambda: pa.table({}))
    # What users asked the champion: text → the answer they disliked, None where nobody did.
    asked: dict[str, str | None] = field(default_factory=dict)
    training_set: TrainingSet | None = None
    labels_version: int = -1  # of the lake table that the training set comes from
    champion: TextClassifier | None = None
    champion_version: int | None = None
    challenger: TextClassifier | None = None
    challenger_file: Path | None = None
    challenger_sha256: str = ""
    evaluation: Evaluation | None = None
    version: int | None = None
    figures: dict[str, float | int | None] = field(default_factory=dict)  # shown at the end


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopContext:
    """One run of a workflow."""

    run_id: str
    parameters: LoopParameters
    engines: Engines
    state: LoopState
    scratch: Path  # removed at the end of the run


def masked(text: str) -> str:
    """Return a text as it stands behind the door."""
    from closedloop.core.privacy import mask

    return mask(text.strip())


def masked_truth(labelled: LabelledTexts) -> dict[str, str]:
    """Return text → label, each text as it stands behind the door."""
    pairs = zip(labelled.texts, labelled.labels, strict=True)
    return {masked(text): label for text, label in pairs}
