"""Which way the app reaches the annotation queue: through its actor, or straight to the store.

Both are the same queue on the same tables. The actor is preferred, because workflows use it
too; where Ray does not run, annotators need not stop.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from closedloop.core.errors import ClosedLoopError, EngineError
from closedloop.core.settings import Settings
from closedloop.samples.annotation import AnnotationQueue

_RETRY_S = 15.0
_CONNECT_TIMEOUT_S = 1.0
_WATCH_EVERY_S = 5.0  # Ray ends a process that has missed its control store for 60 seconds
_ANSWER_TIMEOUT_S = 20.0  # an actor that restarts on a busy machine needs about ten


class QueueRoute:
    """Chooses the way for each call and remembers why.

    Parameters
    ----------
    settings : Settings
        Where Ray is: ``ray_address``, else the embedded cluster of ``home``.
    direct : AnnotationQueue
        The queue on the store, used while Ray is away.
    connect : callable, optional
        Returns the actor's client or raises `ClosedLoopError`; a seam for tests.
    """

    def __init__(
        self,
        settings: Settings,
        direct: AnnotationQueue,
        *,
        connect: Callable[[Settings], AnnotationQueue] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._direct = direct
        self._connect = connect or connect_to_actor
        self._clock = clock
        self._lock = threading.Lock()
        self._client: AnnotationQueue | None = None
        self._reason = "not tried yet"
        self._retry_at = float("-inf")

    def queue(self) -> AnnotationQueue:
        """Return the queue to call now."""
        with self._lock:
            if self._client is None and self._clock() >= self._retry_at:
                try:
                    self._client = self._connect(self._settings)
                    self._reason = ""
                except ClosedLoopError as error:
                    self._step_back(error)
            return self._client or self._direct

    def lost(self, error: ClosedLoopError) -> None:
        """Use the store for a while: the actor failed with ``error``."""
        with self._lock:
            self._step_back(error)

    @property
    def detour(self) -> str:
        """Why the actor is not used; empty where it is."""
        return self._reason

    def _step_back(self, error: ClosedLoopError) -> None:
        self._client = None
        self._reason = error.message
        self._retry_at = self._clock() + _RETRY_S


def connect_to_actor(settings: Settings) -> AnnotationQueue:
    """Connect this process to Ray, once, and return the queue actor's client.

    While connected, a thread watches whether Ray is still there and disconnects when it is not:
    Ray would otherwise end the app's process, and every annotator's session with it.

    Raises
    ------
    EngineError
        There is no Ray at the address, or the actor cannot be reached.
    """
    from closedloop.actors.annotation_queue import NAMESPACE, host_queue
    from closedloop.actors.cluster import prepare_ray, running_address

    address = settings.ray_address or running_address(settings)
    if not address:
        raise EngineError("No Ray cluster is running.", remedy="Start it by 'closedloop up'.")
    _knock(address)
    prepare_ray(settings)
    import ray

    if not ray.is_initialized():
        try:
            ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
        except Exception as error:  # Ray documents no common type for what can go wrong here
            raise EngineError(
                f"Ray at {address} refused the connection: {error}",
                remedy="See 'closedloop status'.",
            ) from error
        watch = threading.Thread(target=_leave_when_gone, args=(address,), daemon=True)
        watch.start()
    return host_queue(settings, answer_timeout_s=_ANSWER_TIMEOUT_S)


def _leave_when_gone(address: str) -> None:
    import ray

    never = threading.Event()
    while not never.wait(_WATCH_EVERY_S):
        try:
            _knock(address)
        except EngineError:
            ray.shutdown()
            return


def _knock(address: str) -> None:
    # ray.init waits for minutes where nobody listens; a page must not.
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        raise EngineError(
            f"Nothing answers at Ray's address {address}.", remedy="Start it by 'closedloop up'."
        ) from error
