"""kill -9 of what serves, while a paced client asks: how many requests fail, and for how long.

    python benchmarks/serving_chaos.py --json chaos.json [--quick]

The platform is the real one, with two replicas behind HAProxy. For each victim (a replica,
HAProxy, the keeper that starts it again, Serve's controller, Ray's GCS) requests go out at a fixed
rate for a while, whether earlier ones were answered or not, and after a third of it the victim is
killed. Half of the requests are sent once, by a bare HTTP client; half by
`closedloop.serve.client`, which comes back.

availability   share of the requests sent once that got an answer, by victim
with_retries   share of the client's calls that did
recovery_s     from the kill to the last request sent once that failed; 0 where none did
replaced_s     from the kill to the moment another process had the victim's place

The GCS keeps the cluster's state in a Redis of the benchmark's own where `redis-server` is
installed, else in a RocksDB; its ``replaced_s`` ends when an actor that is asked for at once has
answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
from serving_models import pipelines

from closedloop.actors.cluster import ray_cluster
from closedloop.core.errors import ClosedLoopError
from closedloop.core.identity import Identities
from closedloop.core.ports import free_port, port_is_free
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.models.artifacts import LEAN_FILE
from closedloop.models.lean.compiling import lean_of_pipeline
from closedloop.models.lean.file import save_lean
from closedloop.models.model_version import LeanFile
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Registry
from closedloop.serve.client import AsyncClient
from closedloop.serve.deployment import start, stop
from closedloop.serve.options import ServingOptions

# By a part of the process's command line, below this cluster's raylet.
VICTIMS = {
    "replica": "ray::ServeReplica",
    "haproxy": "/haproxy.cfg.",
    "keeper": "/ingress_keeper.py",
    "controller": "ray::ServeController",
    "gcs": "/gcs_server ",
}
_TEXT = "where is my parcel"
_TIMEOUT_S = 10.0
_WHOLE_S = 180.0


@dataclass(kw_only=True)
class Outcome:
    """What came of the requests of one way of asking."""

    answered: int = 0
    failed_at: list[float] = field(default_factory=list)  # when each was sent
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Answered ones among all."""
        return self.answered / max(1, self.answered + len(self.failed_at))

    async def note(self, ask: Callable[[], Awaitable[str]]) -> None:
        """Send one request; ``ask`` returns what went wrong, "" where nothing did."""
        sent_at = time.monotonic()
        reason = await ask()
        if reason:
            self.failed_at.append(sent_at)
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        else:
            self.answered += 1


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=30, help="of requests, for each victim")
    parser.add_argument("--rps", type=float, default=50, help="of either way of asking")
    parser.add_argument("--victims", nargs="+", choices=list(VICTIMS), default=list(VICTIMS))
    parser.add_argument("--quick", action="store_true", help="a third of the time")
    options = parser.parse_args()
    if options.quick:
        options.seconds /= 3
    figures = measure(options)
    figures |= {
        "seconds": options.seconds,
        "rps": options.rps,
        "gcs_state": "redis" if shutil.which("redis-server") else "rocksdb",
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": {name: version(name) for name in ("ray", "httpx")},
    }
    options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:14} {value}")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures, by victim."""
    figures: dict[str, Any] = {}
    with _served() as (url, key, model):
        for victim in options.victims:
            for name, value in asyncio.run(_attack(victim, url, key, model, options)).items():
                figures.setdefault(name, {})[victim] = value
    return figures


async def _attack(
    victim: str, url: str, key: str, model: str, options: argparse.Namespace
) -> dict[str, Any]:
    path, body = f"/v1/models/{model}:predict", {"text": _TEXT}
    headers = {"authorization": f"Bearer {key}"}
    once, retried = Outcome(), Outcome()
    async with (
        httpx.AsyncClient(
            base_url=url, headers=headers, trust_env=False, timeout=_TIMEOUT_S
        ) as bare,
        AsyncClient(url, key) as client,
    ):

        async def ask_once() -> str:
            try:
                status = (await bare.post(path, json=body)).status_code
            except httpx.TransportError as fault:
                return type(fault).__name__
            return "" if status == 200 else str(status)

        async def ask_again() -> str:
            try:
                await client.predict(model, [_TEXT])
            except ClosedLoopError as error:
                return type(error).__name__
            return ""

        await _until_whole(ask_once)
        before = set(processes(VICTIMS[victim]))
        begun = time.monotonic()
        killing = asyncio.create_task(_kill(victim, before, begun + options.seconds / 3))
        async with asyncio.TaskGroup() as asking:
            for number in range(int(options.seconds * options.rps)):
                await asyncio.sleep(begun + number / options.rps - time.monotonic())
                asking.create_task(once.note(ask_once))
                asking.create_task(retried.note(ask_again))
        killed_at, replaced_at = await killing
        await _until_whole(ask_once)
    return {
        "availability": round(once.share, 5),
        "with_retries": round(retried.share, 5),
        "recovery_s": round(max([0.0, *(at - killed_at for at in once.failed_at)]), 2),
        "replaced_s": round(replaced_at - killed_at, 2),
        "failures": once.reasons | {f"client: {r}": n for r, n in retried.reasons.items()},
    }


async def _kill(victim: str, before: set[int], at: float) -> tuple[float, float]:
    """Kill one of a victim's processes; return when, and when another one had its place."""
    await asyncio.sleep(at - time.monotonic())
    os.kill(max(before), signal.SIGKILL)
    killed_at = time.monotonic()
    while time.monotonic() - killed_at < _WHOLE_S:
        await asyncio.sleep(0.1)
        now = set(await asyncio.to_thread(processes, VICTIMS[victim]))
        if len(now) >= len(before) and now != before:
            if victim == "gcs":
                await asyncio.to_thread(_new_actor)
            return killed_at, time.monotonic()
    sys.exit(f"Nothing took the place of the killed {victim} within {_WHOLE_S:g} s.")


def _new_actor() -> None:
    import ray

    @ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
    class Answering:
        def answer(self) -> bool:
            return True

    ray.get(Answering.remote().answer.remote(), timeout=_WHOLE_S)


async def _until_whole(ask: Callable[[], Awaitable[str]]) -> None:
    """Wait until a hundred requests in a row are answered."""
    answered, ends_at = 0, time.monotonic() + _WHOLE_S
    while answered < 100:
        if time.monotonic() > ends_at:
            sys.exit(f"Serving did not answer again within {_WHOLE_S:g} s.")
        reason = await ask()
        answered = 0 if reason else answered + 1
        await asyncio.sleep(0.02)


def processes(named: str) -> list[int]:
    """Return this cluster's processes whose command line has a part of that name."""
    import ray

    session = ray._private.worker._global_node.get_session_dir_path()
    parents: dict[int, int] = {}
    lines: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            process = int(folder.name)
            lines[process] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parents[process] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])

    def is_ours(process: int) -> bool:
        while (process := parents.get(process, 0)) > 1:
            if "/raylet " in lines[process] and session in lines[process]:
                return True
        return False

    return [
        each
        for each, line in lines.items()
        if named in line and (is_ours(each) or f"--session-dir={session} " in line)
    ]


@contextmanager
def _gcs_state(folder: Path) -> Iterator[str]:
    """Give the GCS a place for its state."""
    program = shutil.which("redis-server")
    if program is None:
        yield str(folder / "gcs")
        return
    port = free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    command += ["--appendonly", "yes", "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as redis:
        try:
            while port_is_free(port):
                time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}"
        finally:
            redis.terminate()


@contextmanager
def _served() -> Iterator[tuple[str, str, str]]:
    """Serve a model from two replicas; gives the address, a key and the model's name."""
    ((name, pipeline),) = pipelines(1, seed=5).items()
    with (
        tempfile.TemporaryDirectory(prefix="cl-chaos-") as folder,
        _gcs_state(Path(folder)) as ray_state,
    ):
        settings = Settings(
            home=Path(folder) / "home",
            api_port=free_port(),
            dashboard_port=free_port(),
            ray_state=ray_state,
        )
        with ray_cluster(settings):
            registry = Registry(settings.registry_url, settings.artifacts_url)
            file = Path(folder) / LEAN_FILE
            sha256 = save_lean(lean_of_pipeline(pipeline), file)
            ref = ModelRef.parse(name)
            made = registry.register(ref, file, sha256, {}, lean=LeanFile(file, sha256))
            registry.promote(ref, made)
            store = Store.open(settings.store_url)
            _, key = Identities(store).add_key("chaos")
            store.close()
            url = start(settings, ServingOptions(min_replicas=2, max_replicas=2))
            try:
                yield url, key, name
            finally:
                stop()


if __name__ == "__main__":
    main()
