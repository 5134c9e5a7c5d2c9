"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from closedloop.core.errors import EngineError


@contextmanager
def written_whole(path: Path, *, what: str, durable: bool = True) -> Iterator[Path]:
    """Yield a file to write beside ``path``, and put it in its place on leaving.

    A rename is atomic: a reader sees the file before or the whole one after, also where the
    machine goes down meanwhile. An exception leaves the file before.

    Parameters
    ----------
    what : str
        What is written, in a person's word.
    durable : bool
        False for what can be done without: where the machine goes down, the file may be empty.

    Raises
    ------
    EngineError
        The folder or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
        os.close(handle)
        try:
            yield Path(name)
            if durable:
                with open(name, "rb") as written:
                    os.fsync(written.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise EngineError(
            f"The {what} cannot be written to {path}: {error}.",
            remedy="Check that the folder is writable and the disk has space.",
        ) from error
