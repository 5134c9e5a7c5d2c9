"""What models answered to the traffic of rules, read from the lake's predictions.

An event that a rule decided tells of models in one of three ways:

- in `predict`, by its own fields, or ``model_prediction`` where the rule gave another intent;
- where a version was on trial, by ``champion_prediction`` and ``trial_prediction``: what a version
  showed in shadow counts once it is the champion;
- in a turn, by ``shadow_prediction`` (`closedloop.serve.rule_shadow`).

The lake is as new as its last drain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from closedloop.core.errors import NotFound
from closedloop.data.lake import Lake
from closedloop.defence.rules.rule import Rule

_DAY = re.compile(r"date=(\d{4}-\d\d-\d\d)")
_SCHEMA = {
    "rule_id": pl.String,
    "model": pl.String,
    "version": pl.Int32,
    "text": pl.String,
    "answer": pl.String,
    "confidence": pl.Float64,
    "times": pl.Int64,
}


def rule_answers(lake: Lake, rules: Sequence[Rule], *, now: float, days: float) -> pl.DataFrame:
    """Return what each model's versions answered to each rule's texts.

    Parameters
    ----------
    now : float
        Unix seconds.
    days : float
        How far back; of a rule that was changed since, only what came after that.

    Returns
    -------
    DataFrame
        ``rule_id``, ``model``, ``version``, ``text``, ``answer``, ``confidence`` and how many
        ``times``; a row for each rule, model, version and text.

    Raises
    ------
    EngineError
        The lake cannot be read.
    """
    since = {rule.id: max(rule.changed_at, now - days * 86_400) for rule in rules}
    files = _files(lake, min(since.values(), default=now))
    if not files or not since:
        return pl.DataFrame(schema=_SCHEMA)
    begins = pl.LazyFrame(
        {
            "rule_id": list(since),
            "since": [datetime.fromtimestamp(at, UTC) for at in since.values()],
        },
        schema={"rule_id": pl.String, "since": pl.Datetime("us", "UTC")},
    )
    ruled = (
        pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore")
        .filter(pl.col("rule_id").is_not_null())
        .join(begins, on="rule_id")
        .filter(pl.col("ts") >= pl.col("since"), pl.col("text").is_not_null())
    )
    own = pl.col("model_version").cast(pl.Int32)
    on_trial = _attribute("trial_stage").is_not_null()
    said = [
        _said(
            ruled.filter(~on_trial),
            pl.col("model"),
            own,
            pl.coalesce(_attribute("model_prediction"), "prediction"),
            pl.coalesce(_number("model_confidence"), "confidence"),
        ),
        *(
            _said(
                ruled.filter(on_trial),
                pl.col("model"),
                _number(f"{side}_version").cast(pl.Int32),
                _attribute(f"{side}_prediction"),
                _number(f"{side}_confidence"),
            )
            for side in ("champion", "trial")
        ),
        _said(
            ruled,
            _attribute("shadow_model"),
            _number("shadow_version").cast(pl.Int32),
            _attribute("shadow_prediction"),
            _number("shadow_confidence"),
        ),
    ]
    answers = (
        pl.concat(said)
        .drop_nulls()
        .group_by("rule_id", "model", "version", "text")
        .agg(pl.col("answer").last(), pl.col("confidence").min(), pl.len().alias("times"))
    )
    columns = [pl.col(name).cast(kind) for name, kind in _SCHEMA.items()]
    return answers.select(columns).collect()


def labels(lake: Lake) -> pl.DataFrame:
    """Return what people said of texts: ``model``, ``text`` and ``label``."""
    frame = pl.from_arrow(lake.read("labels", columns=["model", "text", "label"]))
    assert isinstance(frame, pl.DataFrame)  # from_arrow makes a Series of an array
    return frame


def _files(lake: Lake, since: float) -> list[str]:
    """Return the files of the days from a time on."""
    try:
        files = lake.files("predictions")
    except NotFound:
        return []
    first = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d")
    return [f for f in files if (day := _DAY.search(f)) is None or day[1] >= first]


def _said(
    rows: pl.LazyFrame, model: pl.Expr, version: pl.Expr, answer: pl.Expr, confidence: pl.Expr
) -> pl.LazyFrame:
    return rows.select(
        "rule_id",
        model.alias("model"),
        version.alias("version"),
        "text",
        answer.alias("answer"),
        confidence.alias("confidence"),
    )


def _attribute(name: str) -> pl.Expr:
    return pl.col("attributes").map.get(name)


def _number(name: str) -> pl.Expr:
    return _attribute(name).cast(pl.Float64, strict=False)
