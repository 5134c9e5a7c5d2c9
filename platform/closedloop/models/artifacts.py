"""Where model files are kept: one folder a model, below it one a content hash.

Keeping the same content again changes nothing, and a file that is there is whole.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from closedloop.core.errors import InputError
from closedloop.core.files import written_whole
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

    def keep(self, ref: ModelRef, file: Path, sha256: str, *, name: str = MODEL_FILE) -> Path:
        """Copy a model file and return where the copy is.

        Parameters
        ----------
        sha256 : str
            What its content must hash to, 64 hexadecimal digits.
        name : str
            Of the copy.

        Raises
        ------
        InputError
            The file is missing or hashes to something else.
        EngineError
            The copy cannot be written.
        """
        try:
            with file.open("rb") as content:
                actual = hashlib.file_digest(content, "sha256").hexdigest()
            if actual != sha256:
                raise InputError(
                    f"The model file {file} hashes to {actual[:12]}…, not to {sha256[:12]}….",
                    remedy="It changed after it was saved; save the model again.",
                )
        except FileNotFoundError as error:
            raise InputError(
                f"The model file {file} does not exist.", remedy="Save the model first."
            ) from error
        target = self.folder / ref.tenant / ref.algorithm / ref.name / sha256 / name
        with written_whole(target, what="model file") as copy:
            shutil.copyfile(file, copy)
        return target
