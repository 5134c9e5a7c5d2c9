"""Self-training: the log's unlabelled traffic as weak labels.

A teacher is fitted on people's labels and answers the unlabelled texts; where it is sure, its
answer becomes a label of little weight, and a student is fitted on both. After a repair round the
traffic knows more than the texts: where a user complained, the answer of that time is *doubted*,
and the teacher must not repeat it as a label. Silence is no praise: no row is taken in because it
drew no complaint, only because the teacher is sure of it.

It is an option of its own, apart from training on labels, because weak labels can also entrench
an error that nobody complains of. Joint evaluation judges the student as it does any challenger.

References
----------
Scudder, H. (1965). Probability of error of some adaptive pattern-recognition machines.
Lee, D.-H. (2013). Pseudo-label: the simple and efficient semi-supervised learning method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from closedloop.core.errors import InputError
from closedloop.models.text_classifier import ClassifierParameters, TextClassifier
from closedloop.samples.vectorise import TextViews


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTraining:
    """How far unlabelled traffic is believed."""

    min_confidence: float = 0.8  # of the teacher, calibrated
    weight: float = 0.25  # of a weak label, where a person's weighs 1
    max_rows: int = 10_000  # a uniform part of larger traffic; more adds time, not accuracy


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTrained:
    """A student and what it was given."""

    model: TextClassifier
    weak_labels: int
    doubted: int  # rows left out because the teacher repeated a doubted answer


def self_train(
    views: TextViews,
    labels: Sequence[str],
    *,
    unlabelled: TextViews,
    doubted: Sequence[str | None] | None = None,
    parameters: ClassifierParameters | None = None,
    options: SelfTraining | None = None,
    seed: int = 0,
) -> SelfTrained:
    """Fit a teacher on labels, and a student on labels and the teacher's sure answers.

    Parameters
    ----------
    views, labels
        The n labelled texts; gold rows are not among them.
    unlabelled : TextViews
        Views of m texts without a label, gold texts left out as well.
    doubted : sequence of str or None, length m, optional
        The answer to each text that a user complained of; None where nobody did.
    parameters : ClassifierParameters, optional
    options : SelfTraining, optional
    seed : int

    Returns
    -------
    SelfTrained
        With the teacher's temperature: weak labels must not judge their own confidence.

    Raises
    ------
    InputError
        When ``doubted`` and ``unlabelled`` differ in length.
    TooFewLabels
        When the labels are of fewer than two classes.
    """
    options = options or SelfTraining()
    if doubted is not None and len(doubted) != len(unlabelled):
        raise InputError(
            f"{len(unlabelled)} unlabelled texts came with {len(doubted)} doubted answers.",
            remedy="Pass one for each text, None where nobody complained.",
        )
    teacher = TextClassifier(parameters, seed=seed).fit_views(views, labels)
    rows = np.arange(len(unlabelled))
    if len(rows) > options.max_rows:
        chosen = np.random.default_rng(seed).choice(rows, options.max_rows, replace=False)
        rows = np.sort(chosen)
    if len(rows) == 0:
        return SelfTrained(model=teacher, weak_labels=0, doubted=0)
    probabilities = teacher.probabilities_of(unlabelled.rows(rows))
    answers = [teacher.classes[i] for i in probabilities.argmax(axis=1)]
    sure = probabilities.max(axis=1) >= options.min_confidence
    repeats = np.asarray(
        [
            doubted is not None and doubted[int(row)] == answer
            for row, answer in zip(rows, answers, strict=True)
        ]
    )
    kept = np.flatnonzero(sure & ~repeats)
    if len(kept) == 0:
        return SelfTrained(model=teacher, weak_labels=0, doubted=int((sure & repeats).sum()))
    student = TextClassifier(parameters, seed=seed).fit_views(
        views.beside(unlabelled.rows(rows[kept])),
        [*labels, *(answers[i] for i in kept)],
        weights=np.concatenate([np.ones(len(labels)), np.full(len(kept), options.weight)]),
        calibrate=False,
    )
    student.temperature = teacher.temperature
    return SelfTrained(model=student, weak_labels=len(kept), doubted=int((sure & repeats).sum()))
