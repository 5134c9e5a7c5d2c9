"""Where Ray's GCS keeps what the cluster is, so that one which died can be started again.

``Settings.ray_state`` says it: nothing (its memory; the cluster dies with it), ``redis://HOST:PORT``
or a folder, where Ray 2.60 has a RocksDB (alpha). `gcs_keeper` is who starts it again.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from closedloop.actors import gcs_keeper
from closedloop.core.errors import EngineError, InputError

_REDIS = ("redis", "rediss")
_REACHED_S = 5.0
_KEEPER_END_S = 20.0


def state_environment(state: str, cluster: str) -> dict[str, str]:
    """Return what Ray must inherit to keep the state of a cluster there.

    Raises
    ------
    InputError
        The place is neither a Redis nor a folder.

    Examples
    --------
    >>> state_environment("redis://10.0.0.5:6379", "chat")["RAY_external_storage_namespace"]
    'chat'
    >>> state_environment("/srv/gcs", "chat")["RAY_gcs_storage_path"]
    '/srv/gcs/chat'
    """
    if not state:
        return {}
    url = urlsplit(state)
    if url.scheme in _REDIS:
        host, port = _host_and_port(state)
        return {
            "RAY_REDIS_ADDRESS": f"{url.scheme}://{host}:{port}",
            "RAY_external_storage_namespace": cluster,
        }
    if url.scheme:
        raise InputError(
            f"Ray cannot keep its state in {url.scheme}://…",
            remedy="Set CLOSEDLOOP_RAY_STATE to redis://HOST:PORT or to a folder.",
        )
    return {
        "RAY_gcs_storage": "rocksdb",
        "RAY_gcs_storage_path": str(Path(state).expanduser().resolve() / cluster),
    }


@contextmanager
def lasting_state(state: str, cluster: str) -> Iterator[None]:
    """Let the Ray that starts meanwhile keep its state there; it is forgotten afterwards.

    Raises
    ------
    InputError
        The place is neither a Redis nor a folder.
    EngineError
        The Redis does not answer.
    """
    variables = state_environment(state, cluster)
    if "RAY_REDIS_ADDRESS" in variables:
        _reach(state)
    os.environ.update(variables)
    try:
        yield
    finally:
        with suppress(Exception):  # what is left there is in nobody's way
            _forget(state, variables)
        for name in variables:
            os.environ.pop(name, None)


@contextmanager
def kept_gcs() -> Iterator[None]:
    """Have the joined Ray's GCS started again when it dies; the block ends that Ray."""
    keeper = start_keeper()
    try:
        yield
    finally:
        try:
            keeper.wait(_KEEPER_END_S)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()


def start_keeper() -> subprocess.Popen[bytes]:
    """Start a keeper of the joined Ray's GCS on the head; it ends with the head's raylet."""
    import ray

    port = ray.get_runtime_context().gcs_address.rpartition(":")[2]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", gcs_keeper.__file__, port],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is not meant for it
    )


def _host_and_port(state: str) -> tuple[str, int]:
    url = urlsplit(state)
    if url.username or url.password:
        raise InputError(
            "A name or password in CLOSEDLOOP_RAY_STATE would show in the GCS's command line.",
            remedy="Give a Redis without one, which only the head can reach.",
        )
    try:
        port = url.port or 6379
    except ValueError:
        port = 0
    if not url.hostname or not port or url.path.strip("/"):
        raise InputError(
            f"{state!r} is no address of a Redis.",
            remedy="Set CLOSEDLOOP_RAY_STATE to redis://HOST:PORT.",
        )
    return url.hostname, port


def _reach(state: str) -> None:
    """Ask for a connection: Ray itself would try for minutes, then end without a word."""
    host, port = _host_and_port(state)
    try:
        socket.create_connection((host, port), _REACHED_S).close()
    except OSError as error:
        raise EngineError(
            f"The Redis at {host}:{port} does not answer: {error}.",
            remedy="Start it, or unset CLOSEDLOOP_RAY_STATE.",
        ) from error


def _forget(state: str, variables: Mapping[str, str]) -> None:
    if "RAY_gcs_storage_path" in variables:
        shutil.rmtree(variables["RAY_gcs_storage_path"], ignore_errors=True)
    if "RAY_REDIS_ADDRESS" in variables:
        from ray._private.gcs_utils import cleanup_redis_storage

        host, port = _host_and_port(state)
        cluster = variables["RAY_external_storage_namespace"]
        cleanup_redis_storage(host, port, "", urlsplit(state).scheme == "rediss", cluster)
