"""Functions that are compiled once and then read from the disk.

Numba keeps what it compiled beside the source and compiles anew when that one file changes. What
the file takes from others, constants and functions, is compiled in but not watched: a change there
would be ignored. So the sources' digest is part of the name that compiled code is kept by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])


def sources_digest(folder: Path) -> str:
    """Return a name for the state of all modules in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


_DIGEST = sources_digest(Path(__file__).parent)


def compiled(function: _Function) -> _Function:
    """Compile a function of this package at its first call."""
    function.__qualname__ += f"_{_DIGEST}"
    return cast(_Function, njit(cache=True)(function))
