"""Lean models written and mapped again."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from closedloop.core.errors import InputError, NotFound
from closedloop.models.lean.compiling import lean_of_classifier, lean_of_pipeline
from closedloop.models.lean.file import load_lean, save_lean
from closedloop.models.text_classifier import TextClassifier

TEXTS = ["where is my parcel", "parcel is late", "pay by card", "card was refused 退款"]
LABELS = ["delivery", "delivery", "payment", "payment"]


def pipeline_model():
    vectoriser = TfidfVectorizer(stop_words=["my"], ngram_range=(1, 2))
    return lean_of_pipeline(make_pipeline(vectoriser, LogisticRegression()).fit(TEXTS, LABELS))


@pytest.mark.parametrize(
    "make",
    [pipeline_model, lambda: lean_of_classifier(TextClassifier().fit(TEXTS, LABELS))],
    ids=["pipeline", "classifier"],
)
def test_a_mapped_model_answers_bit_for_bit(make, tmp_path):
    model = make()
    path = tmp_path / "a model" / "模型.safetensors"
    again = load_lean(path, save_lean(model, path))
    assert np.array_equal(again.probabilities(TEXTS), model.probabilities(TEXTS))
    assert again.classes == model.classes
    assert again.size_bytes == model.size_bytes


def test_another_file_than_the_recorded_one_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    digest = save_lean(pipeline_model(), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="registry recorded"):
        load_lean(path, digest)


def test_what_is_no_model_is_refused(tmp_path):
    from hashlib import sha256

    path = tmp_path / "model.safetensors"
    whole = tmp_path / "whole.safetensors"
    save_lean(pipeline_model(), whole)
    for content in (b"x", b"\xff" * 100, whole.read_bytes()[:-8], b"\2" + bytes(7) + b"{}"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be used"):
            load_lean(path, sha256(content).hexdigest())
    path.write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        load_lean(path, "")
    with pytest.raises(NotFound):
        load_lean(tmp_path / "none", "")


def test_serving_one_needs_no_training_code():
    script = (
        "import sys, closedloop.models.lean.file; "
        "print([m for m in ('sklearn', 'mlflow', 'pyspark', 'ray', 'skops') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
