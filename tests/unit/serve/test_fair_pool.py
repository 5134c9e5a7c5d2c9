import threading

import pytest

from closedloop.serve.admission.fair_pool import FairPool

WAIT_S = 30


@pytest.fixture
def make_pool():
    made = []

    def make(threads, per_tenant):
        made.append(FairPool(threads=threads, per_tenant=per_tenant, name="test"))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


class Held:
    """Jobs that wait until they are let go."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self):
        self.begun.release()
        assert self.go.wait(WAIT_S)
        return "done"


def test_tenants_take_turns_whatever_one_of_them_has_waiting(make_pool):
    pool, order, first = make_pool(1, 1), [], Held()
    pool.submit("storm", first)
    assert first.begun.acquire(timeout=WAIT_S)
    jobs = [
        pool.submit(tenant, lambda tenant=tenant: order.append(tenant))
        for tenant in ["storm"] * 50 + ["calm"] * 2
    ]
    first.go.set()
    for job in jobs:
        job.future.result(WAIT_S)
    assert order[:4] == ["storm", "calm", "storm", "calm"]


def test_a_tenant_never_has_all_threads(make_pool):
    pool, storm = make_pool(3, 2), Held()
    jobs = [pool.submit("storm", storm) for _ in range(5)]
    assert storm.begun.acquire(timeout=WAIT_S)
    assert storm.begun.acquire(timeout=WAIT_S)
    assert pool.submit("calm", lambda: "answered").future.result(WAIT_S) == "answered"
    assert sum(job.began_at is not None for job in jobs) == 2
    storm.go.set()
    assert [job.future.result(WAIT_S) for job in jobs] == ["done"] * 5


def test_a_job_that_hangs_costs_its_own_tenant_a_thread_and_the_others_none(make_pool):
    pool, poison, others = make_pool(2, 1), Held(), Held()
    hanging = pool.submit("poison", poison)
    assert poison.begun.acquire(timeout=WAIT_S)
    pool.write_off(hanging)
    pool.write_off(hanging)  # once is enough
    waiting = pool.submit("poison", lambda: "next")
    busy = [pool.submit(tenant, others) for tenant in ("a", "b")]
    for _ in busy:
        assert others.begun.acquire(timeout=WAIT_S)
    others.go.set()
    assert [job.future.result(WAIT_S) for job in busy] == ["done"] * 2
    assert waiting.began_at is None
    poison.go.set()
    assert waiting.future.result(WAIT_S) == "next"
    assert hanging.future.result(WAIT_S) == "done"


def test_what_a_job_raises_is_its_futures(make_pool):
    job = make_pool(1, 1).submit("shop", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        job.future.result(WAIT_S)


def test_a_job_that_nobody_waits_for_is_not_begun(make_pool):
    pool, first, ran = make_pool(1, 1), Held(), []
    pool.submit("shop", first)
    assert first.begun.acquire(timeout=WAIT_S)
    dropped = pool.submit("shop", lambda: ran.append("dropped"))
    last = pool.submit("shop", lambda: ran.append("last"))
    dropped.future.cancel()
    first.go.set()
    last.future.result(WAIT_S)
    assert ran == ["last"]


def test_closing_cancels_what_waits_and_ends_what_runs():
    pool, first = FairPool(threads=1, per_tenant=1, name="test"), Held()
    running = pool.submit("shop", first)
    assert first.begun.acquire(timeout=WAIT_S)
    waiting = pool.submit("shop", lambda: None)
    pool.close(wait=False)
    assert waiting.future.cancelled()
    first.go.set()
    pool.close()
    assert running.future.result(0) == "done"
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit("shop", lambda: None)
