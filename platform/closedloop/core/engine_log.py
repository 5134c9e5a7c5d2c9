"""Keeps what engines print out of the user's terminal, in a file where it can be read later.

Ray, Spark and their JVMs write to file descriptors 1 and 2 from many processes and threads;
turning ``sys.stderr`` over would not reach them. What a person should see is printed to
`terminal`, which keeps its way to the screen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


def terminal() -> TextIO:
    """Return standard error as it is now, not touched by `engine_log`."""
    try:
        return os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    except OSError:  # started with standard error closed
        return sys.stderr


@contextmanager
def engine_log(path: Path) -> Iterator[None]:
    """Send everything that this process and its children print to a file, in this block.

    A child that outlives the block goes on writing to the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    kept = [os.dup(1), os.dup(2)]
    with path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        _flush()
        for number, original in enumerate(kept, start=1):
            os.dup2(original, number)
            os.close(original)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
