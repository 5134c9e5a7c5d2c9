"""Simulated annotators: they take and answer tasks through the real queue.

For demonstrations, benchmarks and tests of the loop. Their votes are marked ``simulated``
wherever they go. Each annotator errs at a set rate, and an error is any other label, drawn
uniformly.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from closedloop.core.errors import InputError
from closedloop.samples.annotation import AnnotationQueue
from closedloop.samples.annotation_task import LeasedTask

_BATCH_TASKS = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedAnnotators:
    """A team that knows the truth and sometimes errs.

    Parameters
    ----------
    truth : mapping of text → label
        What a careful person would answer; a text that is missing is skipped.
    team : int
        How many annotators take turns.
    error_rate : float
        Share of wrong answers, in [0, 1).
    seed : int
        Of the errors.

    Examples
    --------
    >>> team = SimulatedAnnotators(truth={"where is my parcel": "track"}, team=2)
    >>> team.work(queue, "demo.intent.main")  # doctest: +SKIP
    1
    """

    truth: Mapping[str, str]
    team: int = 3
    error_rate: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.team < 1 or not 0 <= self.error_rate < 1:
            raise InputError(
                f"{self.team} simulated annotators with an error rate of {self.error_rate}: "
                "there must be one or more, and the rate must be in [0, 1).",
                remedy="Correct --annotators or --error-rate.",
            )

    def work(
        self, queue: AnnotationQueue, name: str, *, progress: Callable[[int], None] = lambda _: None
    ) -> int:
        """Answer every task that waits in a queue; returns the number of votes given."""
        labels = sorted(set(self.truth.values()))
        annotators = [f"simulated-{i + 1}" for i in range(self.team)]
        chance = {a: random.Random(f"{self.seed}:{a}") for a in annotators}
        votes = 0
        while annotators:
            idle = []
            for annotator in annotators:
                tasks = queue.lease(annotator, queue=name, limit=_BATCH_TASKS)
                answers = [self._answer(task, labels, chance[annotator]) for task in tasks]
                votes += queue.submit([a for a in answers if a is not None], simulated=True)
                for task, answer in zip(tasks, answers, strict=True):
                    if answer is None:
                        queue.skip(task.token, simulated=True)
                if not tasks:
                    idle.append(annotator)
                progress(votes)
            if len(idle) == len(annotators):
                break
        return votes

    def _answer(
        self, task: LeasedTask, labels: list[str], chance: random.Random
    ) -> tuple[str, str] | None:
        label = self.truth.get(task.text)
        if label is None:
            return None
        if len(labels) > 1 and chance.random() < self.error_rate:
            label = chance.choice([other for other in labels if other != label])
        return task.token, label
