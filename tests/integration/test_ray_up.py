"""`ray up` over a real ssh server of this machine, a run submitted to it, and `ray down`.

The wheel is built and installed into an environment of its own; only third-party packages are
borrowed from the present one, which spares minutes of installing. The ssh server has a home
folder and a process namespace of its own: there the commands of cluster.yaml run as they stand,
and ``ray stop``, which ends every Ray it sees, sees no other. Only ports and Ray's folder for
temporary files are the test's.
"""

import csv
import json
import os
import secrets
import shutil
import signal
import site
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from closedloop.core.ports import free_port
from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Scenario

REPOSITORY = Path(__file__).parents[2]
MODEL = "voltio.intent.main"
_STEP_TIMEOUT_S = 300
_ENDING_S = 30
_APART = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")

pytestmark = [pytest.mark.ray, pytest.mark.spark]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What `ray up` meets: an ssh server, and a place to install into."""

    folder: Path
    environment: dict[str, str]
    config: Path
    dashboard_port: int
    api_port: int
    server_pid: int

    def run(self, *words: str, fails: bool = False) -> str:
        """Run a command of the new environment; returns what it printed."""
        try:
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
        except subprocess.TimeoutExpired as late:
            said = (late.output or b"").decode(errors="replace")
            pytest.fail(f"{words} did not end in {late.timeout} s; it said:\n{said[-6_000:]}")
        assert (ended.returncode != 0) == fails, ended.stdout[-6_000:]
        return ended.stdout


@pytest.fixture
def machine() -> Iterator[Machine]:
    for program in ("/usr/sbin/sshd", "ssh", "rsync", "ssh-keygen", "unshare"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if os.geteuid() != 0:
        pytest.skip("a private ssh server that runs commands needs root")
    if subprocess.run([*_APART, "true"], capture_output=True).returncode != 0:
        pytest.skip("a process namespace, which keeps `ray stop` off other Rays, is not allowed")
    folder = Path(tempfile.mkdtemp(prefix="cl-up-"))
    server = None
    try:
        ssh_port = free_port()
        server = _start_sshd(folder, ssh_port)
        yield _prepare(folder, ssh_port, server.pid)
    finally:
        if server is not None:
            server.kill()  # unshare ignores a polite end; whatever is left there ends with it
            server.wait()
        for state in Path("/tmp/ray").glob(f"cluster-{folder.name}.*"):  # where `ray up` keeps it
            state.unlink()
        shutil.rmtree(folder, ignore_errors=True)


def test_up_run_down(machine: Machine) -> None:
    ray = str(machine.folder / "home/closedloop/.venv/bin/ray")
    closedloop = str(machine.folder / "home/closedloop/.venv/bin/closedloop")
    dashboard = f"http://127.0.0.1:{machine.dashboard_port}"
    machine.run(ray, "up", "-y", "--no-config-cache", str(machine.config))

    logs = _write_logs(machine.folder / "chats 日志.csv")
    figures = machine.folder / "figures.json"
    said = machine.run(
        closedloop, "run", "cold-start", "--address", dashboard,
        "--logs", str(logs), "--map", "label=intent", "--model", MODEL,
        "--simulate-annotators", "--labels", "250", "--trials", "2", "--json", str(figures),
    )  # fmt: skip
    assert "8/8 held-out accuracy" in said  # the job's log was followed
    assert "simulated" in said
    [run] = json.loads(figures.read_text())["runs"]
    assert (run["state"], run["summary"]["version"]) == ("done", 1)

    key = machine.run(closedloop, "keys", "add", "bot", "--tenant", "voltio").split()[-1]
    assert _ask(machine, key)["version"] == 1
    # `closedloop env` told Ray how Serve takes requests.
    assert any("haproxy" in words for words in _commands_in(_space(machine.server_pid)))

    _kill_gcs(machine)
    assert _ask(machine, key)["version"] == 1
    address = machine.environment["CLOSEDLOOP_RAY_ADDRESS"]
    assert "/4.0 CPU" in machine.run(ray, "status", "--address", address)  # it knows the node

    wrong = replace(machine, environment=machine.environment | {"RAY_AUTH_TOKEN": "0" * 64})
    refused = wrong.run(
        closedloop, "run", "cold-start", "--address", dashboard,
        "--logs", str(logs), "--map", "label=intent", "--simulate-annotators", fails=True,
    )  # fmt: skip
    assert "does not take this token" in refused
    assert "Traceback" not in refused

    # Not in a `finally`: where the cluster is broken, the fixture ends it less politely.
    down = f"CLOSEDLOOP_RAY_ADDRESS={address} closedloop down"
    machine.run(ray, "exec", "--no-config-cache", str(machine.config), down)
    machine.run(ray, "down", "-y", str(machine.config))
    assert _left(machine.server_pid) == []


def _kill_gcs(machine: Machine) -> None:
    """Kill it with -9, and wait until its keeper has started another one."""
    (before,) = _gcs_of(machine)
    os.kill(before, signal.SIGKILL)
    pause = threading.Event()
    for _ in range(_ENDING_S * 10):
        if _gcs_of(machine) not in ([], [before]):
            return
        pause.wait(0.1)
    pytest.fail("no other GCS was started")


def _gcs_of(machine: Machine) -> list[int]:
    found = _processes_in(_space(machine.server_pid))
    return [process for process, words in found if "/gcs_server " in words]


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
        f"PasswordAuthentication no\nUsePAM no\nPidFile none\nSetEnv HOME={folder}/home\n"
    )
    return subprocess.Popen([*_APART, "/usr/sbin/sshd", "-D", "-f", folder / "sshd_config"])


def _prepare(folder: Path, ssh_port: int, server_pid: int) -> Machine:
    installed = folder / "home/closedloop"  # ~/closedloop of the machine
    _make_environment(installed / ".venv")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    shutil.copy(REPOSITORY / "constraints.txt", folder)
    (folder / "ray-token").write_text(secrets.token_hex(32))
    # The client's ssh and rsync take the private port; nothing else about them changes.
    tools = folder / "tools"
    tools.mkdir()
    _script(tools / "ssh", f'#!/bin/sh\nexec {shutil.which("ssh")} -p {ssh_port} "$@"\n')

    ports = {name: free_port() for name in ("gcs", "dashboard", "agent", "api", "app")}
    variables = {
        "CLOSEDLOOP_API_PORT": str(ports["api"]),
        "CLOSEDLOOP_APP_PORT": str(ports["app"]),
        "CLOSEDLOOP_RAY_STATE": str(folder / "gcs"),
    }
    (folder / "cluster.yaml").write_text(yaml.safe_dump(_configuration(folder, ports, variables)))
    environment = os.environ | variables
    environment |= {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "CLOSEDLOOP_HOME": str(installed / "home"),
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
        server_pid=server_pid,
    )


def _make_environment(place: Path) -> None:
    """Make the environment that the set-up commands find in place, third-party packages in it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(place)}))
    (packages / "borrowed.pth").write_text(site.getsitepackages()[0] + "\n")
    python, uv = place / "bin/python", Path(sys.executable).with_name("uv")
    _script(place / "bin/uv", f'#!/bin/sh\nexec {uv} --offline "$@"\n')
    _script(
        place / "bin/ray",
        f"#!{python}\nimport sys\nfrom ray.scripts.scripts import main\nsys.exit(main())\n",
    )


def _configuration(
    folder: Path, ports: dict[str, int], variables: dict[str, str]
) -> dict[str, Any]:
    """Return cluster.yaml, edited as its reader would, with the test's ports."""
    text = (REPOSITORY / "cluster.yaml").read_text(encoding="utf-8")
    for port, name in (("8265", "dashboard"), ("6379", "gcs")):
        text = text.replace(port, str(ports[name]))
    config: dict[str, Any] = yaml.safe_load(text)
    config["cluster_name"] = folder.name
    config["provider"]["head_ip"] = "127.0.0.1"
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(folder / "client")}
    # What these two would install is borrowed.
    config["setup_commands"] = [
        command for command in config["setup_commands"] if "constraints.txt" not in command
    ]
    given = " ".join(f"{name}={value}" for name, value in variables.items())
    # The agent takes jobs on a fixed port, which the Ray of other tests may hold already.
    options = f"--temp-dir={folder}/r --num-cpus=4 --dashboard-agent-listen-port={ports['agent']}"
    config["head_start_ray_commands"] = [
        f"export {given}; " + command.replace("ray start", f"ray start {options}")
        for command in config["head_start_ray_commands"]
    ]
    return config


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _left(server_pid: int) -> list[str]:
    """Return what runs on the machine beside its ssh server, once that has had time to end."""
    space = _space(server_pid)
    pause = threading.Event()
    for _ in range(_ENDING_S):
        left = [words for words in _commands_in(space) if "sshd" not in words]
        if not left:
            break
        pause.wait(1)
    return left


def _space(server_pid: int) -> str:
    """Return the machine's space of process ids."""
    children = Path(f"/proc/{server_pid}/task/{server_pid}/children").read_text().split()
    return os.readlink(f"/proc/{children[0]}/ns/pid")


def _commands_in(space: str) -> Iterator[str]:
    return (words for _, words in _processes_in(space))


def _processes_in(space: str) -> Iterator[tuple[int, str]]:
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(place / "ns/pid") == space:
                words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                if words:  # a process that has ended and waits to be collected has none
                    yield int(place.name), words
        except OSError:  # it has ended meanwhile
            continue
