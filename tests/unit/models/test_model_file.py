import hashlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import skops.io

from closedloop.core.errors import EngineError, InputError, NotFound
from closedloop.models.model_file import load, save
from closedloop.models.text_classifier import TextClassifier

TEXTS = ["where is my parcel", "parcel is late", "pay by card", "card was refused"]


@pytest.fixture(scope="module")
def model():
    return TextClassifier().fit(TEXTS, ["delivery", "delivery", "payment", "payment"])


def test_a_saved_model_answers_alike(model, tmp_path):
    path = tmp_path / "deep" / "model.skops"
    digest = save(model, path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    again = load(path, digest)
    np.testing.assert_allclose(again.probabilities(TEXTS), model.probabilities(TEXTS), atol=1e-6)
    assert [item.name for item in path.parent.iterdir()] == ["model.skops"]


def test_a_changed_file_is_refused_before_it_is_read(model, tmp_path):
    path = tmp_path / "model.skops"
    digest = save(model, path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="changed after training"):
        load(path, digest)


def _write(path, value):
    skops.io.dump(value, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Foreign:
    def __init__(self):
        self.x = 1


@pytest.mark.parametrize(
    "value", [{"format": Foreign()}, {"format": [np.random.RandomState(0)]}, {"f": print}]
)
def test_types_beyond_the_allow_list_are_refused(value, tmp_path):
    path = tmp_path / "model.skops"
    digest = _write(path, value)
    with pytest.raises(InputError, match="no use for"):
        load(path, digest)


def test_files_that_are_no_models_are_refused(tmp_path):
    path = tmp_path / "model.skops"
    path.write_bytes(b"not a zip")
    with pytest.raises(InputError, match="not a model file"):
        load(path, hashlib.sha256(b"not a zip").hexdigest())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.json", "{}")
    with pytest.raises(InputError, match="not a model file"):
        load(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_plain_data_of_another_shape_is_refused(tmp_path):
    path = tmp_path / "model.skops"
    with pytest.raises(InputError, match="format"):
        load(path, _write(path, {"format": 0}))
    with pytest.raises(InputError, match="format"):
        load(path, _write(path, [1, 2]))


def test_missing_file_and_unwritable_folder_have_their_errors(model, tmp_path):
    with pytest.raises(NotFound, match="no model file"):
        load(tmp_path / "absent.skops", "0" * 64)
    (tmp_path / "file").write_text("x")
    with pytest.raises(EngineError, match="cannot be written"):
        save(model, tmp_path / "file" / "model.skops")


def test_loading_imports_no_engine():
    code = (
        "import sys, closedloop.models.model_file; "
        "print({'ray', 'mlflow', 'pyspark', 'jieba'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
