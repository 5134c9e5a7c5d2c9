"""Labelled texts, split once and for ever in what trains and what judges.

The *gold* rows judge: they are a uniform random part of the labels and no model ever trains on
them. Whether a text is gold is decided by a hash of the text itself, so that the split survives
restarts, repeats and repair rounds, and copies of one text never sit on both sides.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from closedloop.core.errors import InputError, TooFewLabels
from closedloop.samples.normal_form import normalise

GOLD_SHARE = 0.12
MAX_GOLD_ROWS = 500
_MIN_CLASSES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledText:
    """One labelled row of the log."""

    row_id: str
    text: str
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSet:
    """What trains (``train``) and what judges (``gold``), with what was odd about it."""

    train: tuple[LabelledText, ...]
    gold: tuple[LabelledText, ...]
    warnings: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels that occur in training, sorted."""
        return tuple(sorted({row.label for row in self.train}))

    @property
    def texts(self) -> list[str]:
        """Training texts."""
        return [row.text for row in self.train]

    @property
    def labels(self) -> list[str]:
        """Training labels, beside :attr:`texts`."""
        return [row.label for row in self.train]


def make_training_set(rows: Iterable[LabelledText], *, gold_ids: Iterable[str] = ()) -> TrainingSet:
    """Check labelled rows and put the gold ones apart.

    Parameters
    ----------
    rows : iterable of LabelledText
    gold_ids : iterable of str
        Row ids of the evaluation split, fixed at cold start (:func:`choose_gold`).

    Raises
    ------
    TooFewLabels
        When no label is left to train on, or all are of one class.

    Examples
    --------
    >>> rows = [LabelledText(row_id=str(i), text=t, label=l) for i, (t, l) in
    ...         enumerate([("hi", "greet"), ("bye", "leave"), ("hello", "greet")])]
    >>> made = make_training_set(rows, gold_ids=["2"])
    >>> made.classes, len(made.gold)
    (('greet', 'leave'), 1)
    """
    rows = [row for row in rows if row.text.strip() and row.label.strip()]
    if not rows:
        raise TooFewLabels(
            "There is no labelled text to train on.", remedy="Label some tasks of the queue first."
        )
    rows, warnings = _settle_conflicts(rows)
    gold_texts = {normalise(row.text) for row in rows if row.row_id in set(gold_ids)}
    gold = tuple(row for row in rows if normalise(row.text) in gold_texts)
    train = tuple(row for row in rows if normalise(row.text) not in gold_texts)
    counts = Counter(row.label for row in train)
    if len(counts) < _MIN_CLASSES:
        found = (
            f"all {len(train)} are labelled {next(iter(counts))!r}" if counts else "none is left"
        )
        raise TooFewLabels(
            f"Training needs at least {_MIN_CLASSES} classes, but {found}"
            + (f" ({len(gold)} more are kept for evaluation)." if gold else "."),
            remedy="Label texts of another class, or check which column is mapped to label.",
        )
    once = sorted(label for label, count in counts.items() if count == 1)
    if once:
        warnings.append(
            f"{len(once)} labels have a single training text and will be weak: {_some(once)}."
        )
    unseen = sorted({row.label for row in gold} - set(counts))
    if unseen:
        warnings.append(
            f"{len(unseen)} labels occur in the evaluation split only and count as errors: "
            f"{_some(unseen)}."
        )
    return TrainingSet(train=train, gold=gold, warnings=tuple(warnings))


def choose_gold(
    texts: Sequence[str],
    *,
    labels_budget: int,
    share: float = GOLD_SHARE,
    max_rows: int = MAX_GOLD_ROWS,
    salt: str = "",
) -> list[int]:
    """Choose the rows of the evaluation split, uniformly and independently of any model.

    Chosen before anything is labelled: rows that a selection favours would make the split a
    harder or easier sample than the traffic is.

    Parameters
    ----------
    texts : sequence of str
        The whole log.
    labels_budget : int
        How many labels there will be in all; the split takes its share of them.
    share : float
        Part of the budget, in (0, 1).
    max_rows : int
        Ceiling.
    salt : str
        Another salt, another split; a workflow fixes one for a model.

    Returns
    -------
    list of int
        Row indices, rising; of equal texts only the first row.

    Raises
    ------
    InputError
        When the share is not in (0, 1).
    """
    if not 0 < share < 1:
        raise InputError(
            f"An evaluation share of {share} is not between 0 and 1.", remedy="Try 0.12."
        )
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        first.setdefault(normalise(text), row)
    wanted = min(max_rows, round(min(labels_budget, len(texts)) * share))
    ranked = sorted(first, key=lambda text: stable_rank(text, salt=salt))
    return sorted(first[text] for text in ranked[:wanted])


def stable_rank(text: str, *, salt: str = "") -> bytes:
    """Pseudo-random sort key of a text, equal in every process and release."""
    key = salt.encode()[:64]
    return hashlib.blake2b(normalise(text).encode(), digest_size=16, key=key).digest()


def _settle_conflicts(rows: Sequence[LabelledText]) -> tuple[list[LabelledText], list[str]]:
    """Give one text one label: the majority's, and where there is none the latest."""
    labels_of: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        labels_of[normalise(row.text)].append(row.label)
    conflicts = {text: labels for text, labels in labels_of.items() if len(set(labels)) > 1}
    if not conflicts:
        return list(rows), []
    settled = {text: _majority(labels) for text, labels in conflicts.items()}
    kept = [row for row in rows if settled.get(normalise(row.text), row.label) == row.label]
    examples = _some(sorted(conflicts))
    return kept, [
        f"{len(conflicts)} texts were labelled in several ways and keep the majority's label "
        f"(the latest in a tie): {examples}."
    ]


def _majority(labels: Sequence[str]) -> str:
    counts = Counter(labels)
    most = max(counts.values())
    return next(label for label in reversed(labels) if counts[label] == most)


def _some(items: Sequence[str], *, shown: int = 5) -> str:
    tail = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(repr(item) for item in items[:shown]) + tail
