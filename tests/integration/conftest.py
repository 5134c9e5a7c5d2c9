"""One Ray cluster for every integration test of the session: it takes seconds to start."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from closedloop.actors.cluster import NAMESPACE, prepare_ray
from closedloop.core.settings import Settings

# A raylet gives its agent 15 seconds to start, which no setting changes; a busy machine with
# few cores misses that now and then.
_ATTEMPTS = 3


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """Start Ray with four logical CPUs and return its address; it is gone afterwards."""
    before = dict(os.environ)
    # Not below pytest's folders: Ray's socket paths must stay under 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="cl-test-ray-"))
    try:
        prepare_ray(Settings(home=folder / "home"))
        yield _start(folder).address_info["address"]
    finally:
        _stop()
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.clear()
        os.environ.update(before)


def _start(folder: Path) -> Any:
    import ray

    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return ray.init(
                num_cpus=4,
                namespace=NAMESPACE,
                include_dashboard=False,
                log_to_driver=False,
                _temp_dir=str(folder),
            )
        except Exception:
            _stop()
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("there is at least one attempt")


def _stop() -> None:
    if "ray.serve" in sys.modules:
        sys.modules["ray.serve"].shutdown()
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()
