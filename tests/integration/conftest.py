"""One Ray cluster for every integration test of the session: it takes seconds to start."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from closedloop.core.java import prepare_environment

# Before any test module imports Ray, which reads its authentication mode while it is imported.
prepare_environment()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """Start Ray with four logical CPUs and return its address; it is gone afterwards."""
    import ray

    # Not below pytest's folders: Ray's socket paths must stay under 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="cl-ray-"))
    context = ray.init(
        num_cpus=4,
        namespace="closedloop",
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=str(folder),
    )
    try:
        yield context.address_info["address"]
    finally:
        if "ray.serve" in sys.modules:
            sys.modules["ray.serve"].shutdown()
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
