"""The training set of a model version: what was recorded of it, and how to have it again.

A training set is never copied. The registry keeps the version of the lake's table of labels and
the hash of the rows that were made of it; the same version gives the same rows, in the same
order and so bit for bit, as long as the lake keeps that version (`named_versions` is what
retention asks before it removes one).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from closedloop.core.errors import EngineError, NotFound
from closedloop.data.lake import Lake
from closedloop.models.model_version import ModelVersion
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Registry
from closedloop.models.training_set import LabelledText, TrainingSet, make_training_set

LABELS_TABLE = "labels"
# Tags of a version in the registry.
LABELS_VERSION_TAG = "lake.labels"
SHA256_TAG = "training_set.sha256"
_COLUMNS = ["sample_id", "ts", "model", "text", "label", "split"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebuilt:
    """A training set made again from the lake."""

    training_set: TrainingSet
    labels_version: int
    sha256: str
    # What the registry has; None for a version registered before hashes were kept.
    recorded_sha256: str | None

    @property
    def verified(self) -> bool:
        """Whether it is, bit for bit, what the model was trained on."""
        return self.sha256 == self.recorded_sha256


def training_set_at(lake: Lake, ref: ModelRef, version: int) -> TrainingSet:
    """Return the training set of a model that a version of the lake's labels makes.

    Parameters
    ----------
    lake : Lake
        Where the labels are.
    ref : ModelRef
        Whose labels.
    version : int
        Of the table ``labels``.

    Raises
    ------
    TooFewLabels
        There is nothing to train on.
    EngineError
        The version cannot be read.

    Examples
    --------
    >>> training_set_at(lake, ModelRef.parse("shop.intent.main"), 7).classes  # doctest: +SKIP
    ('greet', 'refund')
    """
    rows = lake.read(LABELS_TABLE, version=version, columns=_COLUMNS)
    # The order of files in a table may change with a checkpoint; that of rows must not.
    rows = rows.filter(pc.equal(rows["model"], str(ref))).sort_by(
        [("ts", "ascending"), ("sample_id", "ascending"), ("label", "ascending")]
    )
    listed = rows.to_pylist()
    return make_training_set(
        [LabelledText(row_id=r["sample_id"], text=r["text"], label=r["label"]) for r in listed],
        gold_ids=[r["sample_id"] for r in listed if r["split"] == "gold"],
    )


def content_hash(training_set: TrainingSet) -> str:
    """Return the SHA-256 of a training set's rows, in their order.

    Examples
    --------
    >>> rows = (LabelledText(row_id="1", text="hi", label="greet"),)
    >>> content_hash(TrainingSet(train=rows, gold=()))[:12]
    '2d0dbbea88d9'
    """
    digest = hashlib.sha256()
    for split, rows in (("train", training_set.train), ("gold", training_set.gold)):
        for row in rows:
            line = json.dumps([split, row.row_id, row.text, row.label], ensure_ascii=False)
            digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def training_rows(training_set: TrainingSet) -> pa.Table:
    """Return a training set as a table: row_id, text, label, split."""
    rows = [(row, "train") for row in training_set.train]
    rows += [(row, "gold") for row in training_set.gold]
    return pa.table(
        {
            "row_id": [row.row_id for row, _ in rows],
            "text": [row.text for row, _ in rows],
            "label": [row.label for row, _ in rows],
            "split": [split for _, split in rows],
        },
        schema=pa.schema([(name, pa.string()) for name in ("row_id", "text", "label", "split")]),
    )


def rebuild(lake: Lake, model: ModelVersion) -> Rebuilt:
    """Make the training set of a model version again.

    Raises
    ------
    NotFound
        The registry names no lake version for it, or the lake no longer holds that version.
    EngineError
        The lake failed, or what it gives is not what was recorded.
    """
    named = f"version {model.version} of {model.ref}"
    recorded = model.tags.get(LABELS_VERSION_TAG, "")
    if not recorded.isdigit():
        raise NotFound(
            f"The registry does not say which lake version {named} was trained on.",
            remedy="Only versions that a workflow trained have a training set.",
        )
    version = int(recorded)
    try:
        training_set = training_set_at(lake, model.ref, version)
    except EngineError as error:
        if not _is_gone(lake, version, error):
            raise
        raise NotFound(
            f"The lake no longer holds version {version} of the table {LABELS_TABLE}, which {named}"
            " was trained on: retention has removed its files.",
            remedy="Restore the lake from a backup; 'lake retain' removes named versions only with"
            " --force.",
        ) from error
    found = Rebuilt(
        training_set=training_set,
        labels_version=version,
        sha256=content_hash(training_set),
        recorded_sha256=model.tags.get(SHA256_TAG),
    )
    if found.recorded_sha256 and not found.verified:
        raise EngineError(
            f"The training set of {named}, made again from version {version} of the lake's"
            f" {LABELS_TABLE}, hashes to {found.sha256[:12]}…, not to"
            f" {found.recorded_sha256[:12]}….",
            remedy="The lake's files were changed, or another release of closedloop made the set.",
        )
    return found


def named_versions(registry: Registry) -> dict[int, list[str]]:
    """Return the versions of the lake's labels that training sets name, and which models they are.

    Examples
    --------
    >>> named_versions(registry)                                     # doctest: +SKIP
    {3: ['shop.intent.main 1'], 5: ['shop.intent.main 2']}
    """
    named: defaultdict[int, list[str]] = defaultdict(list)
    for summary in registry.models():
        for model in registry.versions(summary.ref):
            recorded = model.tags.get(LABELS_VERSION_TAG, "")
            if recorded.isdigit():
                named[int(recorded)].append(f"{model.ref} {model.version}")
    return dict(named)


def _is_gone(lake: Lake, version: int, error: EngineError) -> bool:
    """Whether a version cannot be read because its log or its files are no longer there."""
    lake.version(LABELS_TABLE)  # raises where the lake itself is the trouble
    try:
        lake.open(LABELS_TABLE, version)
    except EngineError:
        return True
    return "not found" in error.message.lower() or "no such file" in error.message.lower()
