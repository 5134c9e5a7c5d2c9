"""The annotation queue as a Ray actor: one host for every annotator, workflow and page.

The actor holds nothing. Each call is one transaction on the metadata store, so a killed
process loses nothing; Ray starts it again (``max_restarts=-1``) and repeats the call that was
under way (``max_task_retries=-1``). A repeated call must therefore change nothing twice:

========================  ===============================================================
call                      why repeating it is harmless
========================  ===============================================================
enqueue                   known samples are left as they are (the count then says 0 new)
lease                     leases already held are returned first
submit, skip              the lease's token is the key of the vote
undo                      the new lease's token follows from the old one
release, renew            deleting or moving the same row again is the same state
========================  ===============================================================

`QueueClient` offers what `AnnotationQueue` offers and is one to its callers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from closedloop.core.errors import ClosedLoopError, EngineError
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.samples.annotation import AnnotationQueue

ACTOR_NAME = "annotation-queue"
NAMESPACE = "closedloop"
ANSWER_TIMEOUT_S = 120.0

_P = ParamSpec("_P")
_T = TypeVar("_T")


class HostedQueue(AnnotationQueue):
    """What runs inside the actor: the queue, opened on the node that hosts it."""

    def __init__(self, store_url: str) -> None:
        super().__init__(Store.open(store_url))
        self._store_url = store_url

    def host(self) -> tuple[str, int]:
        """Return the store's URL and this process's id, for health pages and tests."""
        import os

        return self._store_url, os.getpid()


def _forwarded(
    method: Callable[Concatenate[AnnotationQueue, _P], _T],
) -> Callable[Concatenate[AnnotationQueue, _P], _T]:
    """Turn a method of the queue into a call of the actor's method of that name."""

    @wraps(method)
    def forward(self: AnnotationQueue, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        assert isinstance(self, QueueClient)
        return self.call(method.__name__, *args, **kwargs)

    return forward


class QueueClient(AnnotationQueue):
    """The annotation queue, reached through its actor.

    Errors arrive as the types of `closedloop.core.errors`, as if the call were local.

    Parameters
    ----------
    actor : ray.actor.ActorHandle
        From `host_queue` or `find_queue`.
    answer_timeout_s : float
        How long a call waits, restarts of the actor included.

    Examples
    --------
    >>> queue = host_queue(settings)                          # doctest: +SKIP
    >>> [task] = queue.lease("ann", queue="demo.svm.intent")  # doctest: +SKIP
    >>> queue.submit([(task.token, "refund")])                # doctest: +SKIP
    1
    """

    def __init__(self, actor: Any, *, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._actor = actor
        self._answer_timeout_s = answer_timeout_s

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call the actor and wait for its answer.

        Raises
        ------
        ClosedLoopError
            What the queue itself raised.
        EngineError
            The actor or Ray did not answer.
        """
        import ray

        try:
            answer = getattr(self._actor, method).remote(*args, **kwargs)
            return ray.get(answer, timeout=self._answer_timeout_s)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, ClosedLoopError):
                raise cause from None
            raise EngineError(
                f"The annotation queue failed in '{method}': {cause}",
                remedy="Check the metadata store, then try again.",
            ) from error
        except ray.exceptions.RayError as error:
            raise EngineError(
                f"The annotation queue's actor did not answer '{method}': "
                f"{str(error).splitlines()[0]}",
                remedy="See 'closedloop status'; 'closedloop up' starts it again.",
            ) from error

    def host(self) -> tuple[str, int]:
        """Return the store's URL and the id of the actor's process."""
        url, process_id = self.call("host")
        return url, process_id

    enqueue = _forwarded(AnnotationQueue.enqueue)
    lease = _forwarded(AnnotationQueue.lease)
    renew = _forwarded(AnnotationQueue.renew)
    submit = _forwarded(AnnotationQueue.submit)
    skip = _forwarded(AnnotationQueue.skip)
    release = _forwarded(AnnotationQueue.release)
    undo = _forwarded(AnnotationQueue.undo)
    counts = _forwarded(AnnotationQueue.counts)
    queues = _forwarded(AnnotationQueue.queues)
    labelled = _forwarded(AnnotationQueue.labelled)
    label_names = _forwarded(AnnotationQueue.label_names)
    texts = _forwarded(AnnotationQueue.texts)
    history = _forwarded(AnnotationQueue.history)


def host_queue(settings: Settings, *, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> QueueClient:
    """Return the queue's actor, starting it where it does not run yet.

    It is detached: it outlives the driver that started it, until `retire_queue` or the end of
    the Ray cluster. Ray must be connected already.

    Raises
    ------
    EngineError
        The actor cannot start, or another installation's queue has its name in this cluster.
    """
    import ray

    options: dict[str, Any] = {
        "name": ACTOR_NAME,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        "max_task_retries": -1,
        "num_cpus": 0,  # it waits for the store; it must never wait for a processor
    }
    if settings.store_url.startswith("sqlite"):
        # The file is on this machine: a restart elsewhere would open an empty one.
        here = ray.get_runtime_context().get_node_id()
        options["scheduling_strategy"] = (
            ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node_id=here, soft=False)
        )
    actor = ray.remote(HostedQueue).options(**options).remote(settings.store_url)
    return _checked(QueueClient(actor, answer_timeout_s=answer_timeout_s), settings)


def find_queue(settings: Settings) -> QueueClient | None:
    """Return the queue's running actor, or None where nobody has started it.

    Raises
    ------
    EngineError
        It does not answer, or belongs to another installation.
    """
    import ray

    try:
        actor = ray.get_actor(ACTOR_NAME, namespace=NAMESPACE)
    except ValueError:
        return None
    return _checked(QueueClient(actor), settings)


def retire_queue() -> None:
    """End the actor for good; the tasks stay in the store."""
    import ray

    try:
        ray.kill(ray.get_actor(ACTOR_NAME, namespace=NAMESPACE), no_restart=True)
    except ValueError:
        return


def _checked(client: QueueClient, settings: Settings) -> QueueClient:
    url, _ = client.host()
    if url != settings.store_url:
        raise EngineError(
            "The annotation queue of this Ray cluster works on another metadata store.",
            remedy="Give both the same CLOSEDLOOP_STORE, or use another Ray cluster.",
        )
    return client
