"""`ray up` over a real ssh server of this machine, a run submitted to it, and `ray down`.

The wheel is built and installed into an environment of its own; only third-party packages are
borrowed from the present one, which spares minutes of installing. Two things differ from a
cluster on machines of its own, because other Rays run here: ports and folders are the test's,
and ``ray stop`` ends only the processes of this cluster.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import site
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from closedloop.core.ports import free_port
from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Scenario

REPOSITORY = Path(__file__).parents[2]
MODEL = "voltio.intent.main"
_STEP_TIMEOUT_S = 420

pytestmark = [pytest.mark.ray, pytest.mark.spark]

_RAY = """\
#!{python}
import os, signal, sys
if sys.argv[1:2] == ["stop"]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{{pid}}/cmdline").read()
            if {folder!r} in words and int(pid) != os.getpid() and "raylet" in words:
                os.kill(int(pid), signal.SIGTERM)
        except OSError:
            pass
    sys.exit()
from ray.scripts.scripts import main
sys.exit(main())
"""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What `ray up` meets: an ssh server, and a place to install into."""

    folder: Path
    environment: dict[str, str]
    config: Path
    dashboard_port: int
    api_port: int

    def run(self, *words: str, fails: bool = False) -> str:
        """Run a command of the new environment; returns what it printed."""
        ended = subprocess.run(
            words,
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_STEP_TIMEOUT_S,
        )
        assert (ended.returncode != 0) == fails, ended.stdout[-6_000:]
        return ended.stdout


@pytest.fixture
def machine() -> Iterator[Machine]:
    for program in ("/usr/sbin/sshd", "ssh", "rsync", "ssh-keygen"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if os.geteuid() != 0:
        pytest.skip("a private ssh server that runs commands needs root")
    folder = Path(tempfile.mkdtemp(prefix="cl-up-"))
    kept = Path.home() / "ray_bootstrap_config.yaml"
    before = kept.read_bytes() if kept.exists() else None
    server = None
    try:
        ssh_port = free_port()
        server = _start_sshd(folder, ssh_port)
        yield _prepare(folder, ssh_port)
    finally:
        _end_everything(folder)
        if server is not None:
            server.terminate()
            server.wait()
        if before is None:
            kept.unlink(missing_ok=True)
        (Path.home() / "ray_bootstrap_key.pem").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def test_up_run_down(machine: Machine) -> None:
    ray = str(machine.folder / "venv/bin/ray")
    closedloop = str(machine.folder / "venv/bin/closedloop")
    machine.run(ray, "up", "-y", "--no-config-cache", str(machine.config))
    try:
        logs = _write_logs(machine.folder / "chats 日志.csv")
        figures = machine.folder / "figures.json"
        said = machine.run(
            closedloop, "run", "cold-start",
            "--address", f"http://127.0.0.1:{machine.dashboard_port}",
            "--logs", str(logs), "--map", "label=intent", "--model", MODEL,
            "--simulate-annotators", "--labels", "250", "--trials", "2",
            "--json", str(figures),
        )  # fmt: skip
        assert "8/8 held-out accuracy" in said  # the job's log was followed
        [run] = json.loads(figures.read_text())["runs"]
        assert (run["state"], run["summary"]["version"]) == ("done", 1)
        assert "simulated" in said

        key = machine.run(closedloop, "keys", "add", "bot", "--tenant", "voltio").split()[-1]
        answers = _ask(machine, key)
        assert answers["version"] == 1

        wrong = machine.environment | {"RAY_AUTH_TOKEN": "0" * 64}
        refused = Machine(**{**machine.__dict__, "environment": wrong}).run(
            closedloop, "run", "cold-start", "--logs", str(logs), "--map", "label=intent",
            "--simulate-annotators", "--address", f"http://127.0.0.1:{machine.dashboard_port}",
            fails=True,
        )  # fmt: skip
        assert "does not take this token" in refused
        assert "Traceback" not in refused
    finally:
        machine.run(closedloop, "down")
        machine.run(ray, "down", "-y", str(machine.config))


def _ask(machine: Machine, key: str) -> dict[str, object]:
    import httpx

    answered = httpx.post(
        f"http://127.0.0.1:{machine.api_port}/v1/models/{MODEL}:predict",
        json={"text": "where is my parcel"},
        headers={"authorization": f"Bearer {key}"},
        timeout=30,
        trust_env=False,
    )
    assert answered.status_code == 200, answered.text
    found: dict[str, object] = answered.json()
    return found


def _write_logs(path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "intent"))
        turns = simulate_turns(Scenario(turns=600, tenants=("voltio",)))
        writer.writerows((turn.text, turn.intent) for turn in turns)
    return path


def _start_sshd(folder: Path, port: int) -> subprocess.Popen[bytes]:
    for name in ("host", "client"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True
        )
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
        f"AuthorizedKeysFile {folder}/client.pub\nStrictModes no\nPermitRootLogin yes\n"
        f"PasswordAuthentication no\nUsePAM no\nPidFile {folder}/sshd.pid\n"
    )
    return subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", folder / "sshd_config"])


def _prepare(folder: Path, ssh_port: int) -> Machine:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    # The client's ssh and rsync take the private port; nothing else about them changes.
    tools = folder / "tools"
    tools.mkdir()
    (tools / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -p {ssh_port} "$@"\n')
    (tools / "ssh").chmod(0o755)
    (folder / "ray-token").write_text("c0ffee" * 10 + "f00d")
    python = folder / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    (packages / "borrowed.pth").write_text(site.getsitepackages()[0] + "\n")
    (folder / "venv/bin/ray").write_text(_RAY.format(python=python, folder=str(folder)))
    (folder / "venv/bin/ray").chmod(0o755)

    ports = {name: free_port() for name in ("gcs", "dashboard", "api", "app")}
    text = (REPOSITORY / "cluster.yaml").read_text().replace("~/closedloop", str(folder))
    text = text.replace("8265", str(ports["dashboard"])).replace("6379", str(ports["gcs"]))
    config = yaml.safe_load(text)
    config["provider"]["head_ip"] = "127.0.0.1"
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(folder / "client")}
    config["file_mounts"] = {}  # the files are in place: this machine is the head
    uv = Path(sys.executable).with_name("uv")
    config["setup_commands"] = [
        f"{uv} pip install -q --offline --python {python} --no-deps {folder}/dist/*.whl"
    ]
    variables = f"CLOSEDLOOP_API_PORT={ports['api']} CLOSEDLOOP_APP_PORT={ports['app']}"
    config["head_start_ray_commands"] = [
        f"export {variables}; "
        + command.replace(f"{folder}/.venv", f"{folder}/venv").replace(
            "ray start", f"ray start --temp-dir={folder}/r --num-cpus=4"
        )
        for command in config["head_start_ray_commands"]
    ]
    (folder / "cluster.yaml").write_text(yaml.safe_dump(config))
    environment = os.environ | {
        "PATH": f"{tools}:{folder}/venv/bin:{os.environ['PATH']}",
        "CLOSEDLOOP_HOME": str(folder / "home"),
        "CLOSEDLOOP_API_PORT": str(ports["api"]),
        "CLOSEDLOOP_APP_PORT": str(ports["app"]),
        "RAY_AUTH_TOKEN_PATH": str(folder / "ray-token"),
        "RAY_AUTH_MODE": "token",
        "CLOSEDLOOP_RAY_ADDRESS": f"127.0.0.1:{ports['gcs']}",
    }
    environment.pop("RAY_AUTH_TOKEN", None)
    return Machine(
        folder=folder,
        environment=environment,
        config=folder / "cluster.yaml",
        dashboard_port=ports["dashboard"],
        api_port=ports["api"],
    )


def _end_everything(folder: Path) -> None:
    """End what `ray down` leaves (it is known to leave gcs_server and raylet)."""
    pause = threading.Event()
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        left = _of(folder)
        if not left:
            return
        for pid in left:
            with_pid = Path(f"/proc/{pid}")
            if with_pid.exists():
                os.kill(pid, number)
        pause.wait(2)
    assert _of(folder) == []


def _of(folder: Path) -> list[int]:
    """Return the processes that name the folder in their command line or environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
        except OSError:
            continue
        pid = int(place.name)
        if str(folder).encode() in words and b"sshd_config" not in words and pid != os.getpid():
            found.append(pid)
    return found
