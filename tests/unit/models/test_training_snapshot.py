"""A training set is made again from the lake version that the registry names, and checked."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from closedloop.core.errors import EngineError, NotFound
from closedloop.data.lake import LABEL_SCHEMA, Lake
from closedloop.data.lake_maintenance import compact, retain
from closedloop.models.model_version import ModelVersion
from closedloop.models.reference import ModelRef
from closedloop.models.training_snapshot import (
    LABELS_VERSION_TAG,
    SHA256_TAG,
    content_hash,
    rebuild,
    training_rows,
    training_set_at,
)

REF = ModelRef.parse("shop.intent.main")
DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def label(lake, *rows, model=str(REF), days=0):
    table = pa.Table.from_pylist(
        [
            {
                "sample_id": name,
                "ts": DAY + timedelta(days=days),
                "model": model,
                "text": text,
                "label": intent,
                "votes": 1,
                "agreement": 1.0,
                "simulated": False,
                "split": "gold" if name.startswith("g") else "train",
                "run_id": "r",
            }
            for name, text, intent in rows
        ],
        schema=LABEL_SCHEMA,
    )
    return lake.append("labels", table)


def registered(version, training_set=None, **tags):
    if training_set is not None:
        tags[SHA256_TAG] = content_hash(training_set)
    return ModelVersion(
        ref=REF,
        version=3,
        path="model.skops",
        sha256="0" * 64,
        created_at=0.0,
        tags={LABELS_VERSION_TAG: str(version), **tags},
    )


@pytest.fixture
def version(lake):
    label(lake, ("2", "退款 🙏", "refund"), ("g1", "hello", "greet"))
    label(lake, ("1", "hi", "greet"), ("3", "bye", "leave"), days=1)
    return label(lake, ("9", "elsewhere", "other"), model="other.intent.main")


def test_the_same_version_gives_the_same_bytes_whatever_came_since(lake, version):
    made = training_set_at(lake, REF, version)
    assert [row.row_id for row in made.train] == ["2", "1", "3"]
    assert [row.row_id for row in made.gold] == ["g1"]
    label(lake, ("4", "hi", "leave"), days=2)
    compact(lake, "labels")
    lake.open("labels").create_checkpoint()
    label(lake, ("5", "again", "leave"), days=2)
    found = rebuild(lake, registered(version, made))
    assert found.verified
    assert training_rows(found.training_set).equals(training_rows(made))
    assert training_set_at(lake, REF, lake.version("labels")) != made


def test_a_set_that_hashes_to_something_else_is_refused(lake, version):
    with pytest.raises(EngineError, match="hashes to"):
        rebuild(lake, registered(version, **{SHA256_TAG: "0" * 64}))


def test_a_version_without_a_recorded_hash_is_made_but_not_vouched_for(lake, version):
    found = rebuild(lake, registered(version))
    assert not found.verified
    assert len(found.training_set.train) == 3


def test_a_model_that_names_no_version_is_said(lake):
    with pytest.raises(NotFound, match="which lake version"):
        rebuild(lake, registered(""))


def test_a_version_whose_log_is_gone_is_said(lake, version):
    with pytest.raises(NotFound, match="no longer holds version 77"):
        rebuild(lake, registered(77))


def test_a_version_that_retention_removed_is_said(lake, version):
    made = training_set_at(lake, REF, version)
    retain(
        lake,
        "labels",
        older_than=timedelta(days=1),
        named={version: ["shop.intent.main 3"]},
        now=DAY + timedelta(days=400),
        grace=timedelta(0),
        force=True,
    )
    with pytest.raises(NotFound, match="retention has removed"):
        rebuild(lake, registered(version, made))


def test_every_row_and_every_split_is_in_the_hash(lake, version):
    made = training_set_at(lake, REF, version)
    others = [
        training_set_at(lake, REF, label(lake, ("6", "more", "leave"), days=3)),
        type(made)(train=made.train, gold=()),
        type(made)(train=made.train[::-1], gold=made.gold),
        type(made)(train=made.train + made.gold, gold=()),
    ]
    assert len({content_hash(each) for each in [made, *others]}) == 5
