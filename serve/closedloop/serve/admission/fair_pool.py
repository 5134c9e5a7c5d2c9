"""A few threads that tenants take in turns.

What waits is served tenant by tenant, not in the order it came, and no tenant has all threads at
a time: a thousand jobs of one cost another the wait for one job. A job that never ends costs its
tenant one of its threads; the others get a new one.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True, slots=True, eq=False)
class Job:
    """Work that waits or is under way."""

    tenant: str
    work: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)
    began_at: float | None = None  # of the pool's clock
    thread: threading.Thread | None = None  # that does it
    lost: bool = False


class FairPool:
    """Threads shared by tenants, round robin.

    The threads are daemons, begun when there is work: one that hangs does not keep the process
    from ending.

    Parameters
    ----------
    threads : int
        Jobs at a time.
    per_tenant : int
        Jobs of one tenant at a time; fewer than ``threads`` keep one for the others.

    Examples
    --------
    >>> pool = FairPool(threads=2, per_tenant=1, name="answer")
    >>> pool.submit("shop", lambda: 6 * 7).future.result()
    42
    >>> pool.close()
    """

    def __init__(
        self,
        *,
        threads: int,
        per_tenant: int,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = threads
        self._per_tenant = per_tenant
        self._name = name
        self._clock = clock
        self._changed = threading.Condition()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._jobs_waiting = 0
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()  # the next tenant first
        self._running: Counter[str] = Counter()
        self._closed = False

    def submit(self, tenant: str, work: Callable[[], Any]) -> Job:
        """Have work done for a tenant; its future has the result.

        Raises
        ------
        RuntimeError
            The pool is closed.
        """
        job = Job(tenant=tenant, work=work)
        with self._changed:
            if self._closed:
                raise RuntimeError(f"the {self._name} pool is closed")
            self._waiting.setdefault(tenant, deque()).append(job)
            self._jobs_waiting += 1
            if self._jobs_waiting > self._idle and len(self._threads) < self._most:
                self._begin_thread()
            self._changed.notify()
        return job

    def running_s(self, job: Job) -> float:
        """Return for how long a job has been under way; 0 while it waits."""
        return 0.0 if job.began_at is None else self._clock() - job.began_at

    def write_off(self, job: Job) -> None:
        """Count a job that hangs, and its thread, as lost; the thread ends when the job does.

        Its tenant has a thread less until then, the pool does not.
        """
        with self._changed:
            if job.thread is None or job.lost or job.future.done():
                return
            job.lost = True
            self._threads.discard(job.thread)
            self._begin_thread()

    def close(self, *, wait: bool = True) -> None:
        """Cancel what waits and end the threads; ``wait`` for those that have not been lost."""
        with self._changed:
            self._closed = True
            for jobs in self._waiting.values():
                for job in jobs:
                    job.future.cancel()
            self._waiting.clear()
            self._changed.notify_all()
            threads = list(self._threads)
        for thread in threads if wait else ():
            thread.join()

    def _begin_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        while (job := self._take()) is not None:
            self._do(job)
            with self._changed:
                self._running[job.tenant] -= 1
                if not self._running[job.tenant]:
                    del self._running[job.tenant]
                self._changed.notify()
                if job.lost:
                    return

    def _take(self) -> Job | None:
        """Wait for the next job; None when the pool is closed."""
        with self._changed:
            while True:
                job = self._next()
                if job is not None:
                    self._jobs_waiting -= 1
                    self._running[job.tenant] += 1
                    job.began_at, job.thread = self._clock(), threading.current_thread()
                    return job
                if self._closed:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1

    def _next(self) -> Job | None:
        for tenant, jobs in self._waiting.items():
            if self._running[tenant] >= self._per_tenant:
                continue
            job = jobs.popleft()
            if jobs:
                self._waiting.move_to_end(tenant)  # the others come first now
            else:
                del self._waiting[tenant]
            return job
        return None

    @staticmethod
    def _do(job: Job) -> None:
        if not job.future.set_running_or_notify_cancel():
            return
        try:
            result = job.work()
        except BaseException as error:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)
