"""Runs on a cluster: submit through Ray Jobs, follow the log, bring the figures back.

The files of the request travel as the job's working directory; everything else (lake, store,
registry) is the cluster's own. The dashboard listens on the head's loopback, so that from
another machine the address is the near end of a tunnel (``ssh -L 8265:127.0.0.1:8265 HEAD``).
"""

from __future__ import annotations

import asyncio
import base64
import json
import shlex
import shutil
import tempfile
import threading
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closedloop.core.errors import (
    ClosedLoopError,
    Conflict,
    EngineError,
    InputError,
    NotAllowed,
    NotFound,
    Overloaded,
    ReleaseRefused,
    first_line,
)
from closedloop.core.settings import Settings
from closedloop.ui.console import console, write_json
from closedloop.ui.loop_runs import LoopRequest, check

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

MAX_UPLOAD_BYTES = 100 << 20  # Ray keeps a working directory in its control store
_ATTEMPTS, _PAUSE_S = 8, 2.0  # Ray itself waits some ten seconds in each
_FIGURES = "closedloop-figures "  # marks the line of the log that carries them
_FILES = ("logs", "replay", "heldout")
_FLAGS = {"simulate_annotators"}
_NOT_OPTIONS = {"workflow", "mapping", "heldout_mapping", *_FILES}
_ONLY_COLD_START = {"labels", "clusters"}
_ONLY_REPAIR = {"repair_labels"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """What is sent: the command line and the files it names, all in one folder."""

    entrypoint: str
    files: dict[str, Path]  # name in the working directory → file here


def submit(request: LoopRequest, *, address: str, json_file: Path | None) -> None:
    """Run a request on the cluster whose dashboard is at ``address``.

    Raises
    ------
    InputError
        The request or its files are wrong, or too large to upload.
    NotAllowed
        The cluster's token is missing or wrong.
    EngineError
        The dashboard does not answer, or an engine failed there.
    ClosedLoopError
        The run failed there; its exit code is the job's.
    """
    check(request)
    parcel = pack(request)
    client = _connect(address)
    from ray.job_submission import JobStatus

    with tempfile.TemporaryDirectory(prefix="closedloop-job-") as folder:
        for name, file in parcel.files.items():
            shutil.copyfile(file, Path(folder, name))
        job = _submit(client, parcel, folder)
    console.print(f"[dim]job {job} on {address} …")
    try:
        figures = asyncio.run(_follow(client, job))
        ended = client.get_job_info(job)
    except KeyboardInterrupt:
        client.stop_job(job)
        console.print(f"Job {job} was told to stop; what it had committed stays.")
        raise
    except Exception as error:  # Ray raises whatever its HTTP library raises
        raise _lost_sight(job, first_line(error)) from error
    if not ended.status.is_terminal():
        raise _lost_sight(job, "its log broke off")
    if ended.status != JobStatus.SUCCEEDED:
        raise failure(ended.driver_exit_code)(
            f"The run ended on the cluster as {ended.status.value}.",
            remedy=f"The reason stands above; the whole log: ray job logs {job}.",
        )
    if json_file is not None:
        write_json(json_file, figures)


def pack(request: LoopRequest) -> Parcel:
    """Return the command line for the cluster and the files to send along."""
    words = ["python", "-m", "closedloop.ui.cli.main", "run", request.workflow]
    files: dict[str, Path] = {}
    for option in _FILES:
        path: Path | None = getattr(request, option)
        if path is not None:
            name = f"{option}{path.suffix}"
            files[name] = path
            words += [f"--{option}", name]
    size_bytes = sum(path.stat().st_size for path in files.values())
    if size_bytes > MAX_UPLOAD_BYTES:
        raise InputError(
            f"The files have {size_bytes >> 20:,} MiB; a run can carry {MAX_UPLOAD_BYTES >> 20}.",
            remedy="Copy them to the head node and start the run there.",
        )
    for entry in request.mapping:
        words += ["--map", entry]
    foreign = _ONLY_REPAIR if request.workflow == "cold-start" else _ONLY_COLD_START
    for item in fields(request):
        value = getattr(request, item.name)
        if item.name in _NOT_OPTIONS | foreign or value is None:
            continue
        flag = f"--{item.name.replace('_', '-')}"
        if item.name in _FLAGS:
            words += [flag] if value else []
        else:
            words += [flag, str(value)]
    run = shlex.join([*words, "--json", "figures.json"])
    tell = f'[ ! -f figures.json ] || echo "{_FIGURES}$(base64 < figures.json | tr -d "\\n")"'
    return Parcel(entrypoint=f"{run}; ended=$?; {tell}; exit $ended", files=files)


def figures_in(line: str) -> dict[str, Any] | None:
    """Return the figures that a line of the job's log carries, None for any other line."""
    if not line.startswith(_FIGURES):
        return None
    figures: dict[str, Any] = json.loads(base64.b64decode(line.removeprefix(_FIGURES)))
    return figures


def failure(exit_code: int | None) -> type[ClosedLoopError]:
    """Return the error that the command ends with this exit code for; else `EngineError`.

    Examples
    --------
    >>> failure(6).__name__
    'ReleaseRefused'
    >>> failure(None).__name__
    'EngineError'
    """
    kinds = (InputError, NotFound, NotAllowed, Conflict, ReleaseRefused, Overloaded)
    return {kind.exit_code: kind for kind in kinds}.get(exit_code or 0, EngineError)


def _submit(client: JobSubmissionClient, parcel: Parcel, folder: str) -> str:
    """Submit a job; a head that has only just started needs a moment for its job agent."""
    pause = threading.Event()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return client.submit_job(
                entrypoint=parcel.entrypoint,
                runtime_env={
                    "working_dir": folder,
                    "env_vars": {"CLOSEDLOOP_RAY_ADDRESS": "auto"},
                },
            )
        except RuntimeError as error:
            if "No available agent" not in str(error) or attempt == _ATTEMPTS:
                raise EngineError(
                    f"The cluster did not take the job: {first_line(error)}.",
                    remedy="Submit again in a minute; the head's dashboard_agent.log tells more.",
                ) from error
            pause.wait(_PAUSE_S)
    raise AssertionError("the last attempt returns or raises")


async def _follow(client: JobSubmissionClient, job: str) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    waiting = ""
    async for text in client.tail_job_logs(job):
        *lines, waiting = (waiting + text).split("\n")
        for line in lines:
            found = figures_in(line)
            if found is None:
                console.print(line, markup=False, soft_wrap=True)
            else:
                figures = found
    return figures


def _connect(address: str) -> JobSubmissionClient:
    from closedloop.actors.cluster import prepare_ray

    prepare_ray(Settings())
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    url = address if "://" in address else f"http://{address}"
    try:
        client = JobSubmissionClient(url)
        client.get_version()
    except AuthenticationError as error:
        raise NotAllowed(
            f"The cluster at {url} does not take this token.",
            remedy="Put the cluster's token in a file and name it in RAY_AUTH_TOKEN_PATH.",
        ) from error
    except Exception as error:  # Ray raises whatever its HTTP library raises
        raise EngineError(
            f"No Ray dashboard answers at {url}: {first_line(error)}.",
            remedy="Check --address; from another machine: ssh -L 8265:127.0.0.1:8265 HEAD.",
        ) from error
    return client


def _lost_sight(job: str, said: str) -> EngineError:
    return EngineError(
        f"The job {job} is out of sight: {said}.",
        remedy=f"It may still run: ray job logs --follow {job}, or ray job stop {job}.",
    )
