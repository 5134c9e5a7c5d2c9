"""Where model files are kept: one folder a model, below it one a content hash.

Keeping the same content again changes nothing, and a file that is there is whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from closedloop.core.errors import EngineError, InputError
from closedloop.models.reference import ModelRef

MODEL_FILE = "model.skops"
LEAN_FILE = "model.safetensors"


class Artifacts:
    """Model files below a folder; on a cluster one that every node mounts.

    Parameters
    ----------
    url : str
        A path or a ``file://`` URL.

    Raises
    ------
    InputError
        The URL is that of an object store, which serving does not read.
    """

    def __init__(self, url: str) -> None:
        scheme, separator, rest = url.partition("://")
        if separator and scheme != "file":
            raise InputError(
                f"Model files cannot be kept at {url!r}.",
                remedy="Set CLOSEDLOOP_ARTIFACTS to a folder; on a cluster, one that all nodes"
                " mount.",
            )
        self.folder = Path(rest if separator else url).expanduser().resolve()

    def keep(
        self, ref: ModelRef, file: Path, sha256: str, *, name: str = MODEL_FILE, beside: str = ""
    ) -> Path:
        """Copy a model file and return where the copy is.

        Parameters
        ----------
        sha256 : str
            What its content must hash to, 64 hexadecimal digits.
        name : str
            Of the copy.
        beside : str
            Hash of the model whose folder it goes to; its own where empty.

        Raises
        ------
        InputError
            The file is missing or hashes to something else.
        EngineError
            The copy cannot be written.
        """
        folder = self.folder / ref.tenant / ref.algorithm / ref.name / (beside or sha256)
        try:
            with file.open("rb") as content:
                actual = hashlib.file_digest(content, "sha256").hexdigest()
            if actual != sha256:
                raise InputError(
                    f"The model file {file} hashes to {actual[:12]}…, not to {sha256[:12]}….",
                    remedy="It changed after it was saved; save the model again.",
                )
            folder.mkdir(parents=True, exist_ok=True)
            return _copy(file, folder / name)
        except FileNotFoundError as error:
            raise InputError(
                f"The model file {file} does not exist.", remedy="Save the model first."
            ) from error
        except OSError as error:
            raise EngineError(
                f"The model file {file} could not be stored in {folder}: {error}",
                remedy="Check CLOSEDLOOP_ARTIFACTS, its permissions and free disk space.",
            ) from error


def _copy(file: Path, target: Path) -> Path:
    # A rename is atomic: a reader sees the whole file or none.
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as copy:
        try:
            with file.open("rb") as source:
                shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(copy.fileno())
            os.chmod(copy.name, 0o644)
            os.replace(copy.name, target)
        except BaseException:
            os.unlink(copy.name)
            raise
    return target
