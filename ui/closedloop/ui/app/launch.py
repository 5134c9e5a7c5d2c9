"""How the app's process is started: command line and environment, without starting it.

``config.toml`` beside this file is the one place of Streamlit settings; they are passed as
flags, so that neither the working directory nor a user's own Streamlit configuration
changes how the app behaves.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from closedloop.core.settings import Settings

_HERE = Path(__file__).parent


def app_command(settings: Settings, *, address: str = "127.0.0.1") -> list[str]:
    """Return the command that serves the app on ``settings.app_port``.

    Parameters
    ----------
    address : str
        Interface to listen on. The app has log-in but no TLS: before it leaves this machine
        it belongs behind a proxy that adds it.

    Examples
    --------
    >>> app_command(Settings(app_port=9000))[1:4]
    ['-m', 'streamlit', 'run']
    """
    config = tomllib.loads((_HERE / "config.toml").read_text(encoding="utf-8"))
    return [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(_HERE / "main.py"),
        f"--server.port={settings.app_port}",
        f"--server.address={address}",
        *_flags(config),
    ]


def app_environment(
    settings: Settings, *, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment for `app_command`: the caller's, and these settings."""
    return {**environ, **settings.environment()}


def _flags(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flags(value, f"{prefix}{name}.")
        else:
            # Everything but plain text is written as JSON: true, 15, ["1rem", "2rem"].
            yield f"--{prefix}{name}={value if isinstance(value, str) else json.dumps(value)}"
