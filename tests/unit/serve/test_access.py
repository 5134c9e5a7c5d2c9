import asyncio
import time
from dataclasses import replace

import pytest

from closedloop.core.errors import EngineError, NotAllowed
from closedloop.core.identity import ApiKey
from closedloop.serve.admission.access import KeyRing, RateLimit


class Store:
    """Knows the keys it is given and counts who asks."""

    def __init__(self, **clients):
        self.clients = clients
        self.asked = []

    def check(self, presented):
        self.asked.append(presented)
        if presented not in self.clients:
            raise NotAllowed("The API key is not valid.", remedy="Get one.")
        return ApiKey(id=presented, client=self.clients[presented], tenant="*", created_at=0.0)


def verify(ring, header):
    return asyncio.run(ring.verify(header))


def test_a_valid_key_is_asked_for_once_while_it_is_kept():
    now = [0.0]
    store = Store(cl_a="shop")
    ring = KeyRing(store.check, keep_s=10, clock=lambda: now[0])
    for now[0] in (0.0, 9.9, 10.1):
        assert verify(ring, "Bearer cl_a").client == "shop"
    assert len(store.asked) == 2


def test_a_revoked_key_is_refused_after_the_time_it_is_kept():
    now = [0.0]
    store = Store(cl_a="shop")
    ring = KeyRing(store.check, keep_s=10, clock=lambda: now[0])
    verify(ring, "Bearer cl_a")
    store.clients.clear()
    now[0] = 10.1
    with pytest.raises(NotAllowed):
        verify(ring, "Bearer cl_a")


def test_a_refusal_is_kept_for_a_moment_only():
    now = [0.0]
    store = Store()
    ring = KeyRing(store.check, keep_s=10, clock=lambda: now[0])
    for now[0] in (0.0, 0.5):
        with pytest.raises(NotAllowed, match="not valid"):
            verify(ring, "Bearer cl_new")
    assert len(store.asked) == 1
    store.clients["cl_new"] = "made meanwhile"
    now[0] = 1.5
    assert verify(ring, "bearer  cl_new ").client == "made meanwhile"


@pytest.mark.parametrize("header", ["", "cl_a", "Basic cl_a", "Bearer", "Bearer " + "cl_a" * 100])
def test_anything_but_a_bearer_token_presents_no_key(header):
    store = Store(cl_a="shop")
    with pytest.raises(NotAllowed):
        verify(KeyRing(store.check), header)
    assert store.asked == [""]


def test_a_store_that_is_away_refuses_nobody_for_longer():
    faults = [EngineError("away", remedy="wait")]

    def check(presented):
        if faults:
            raise faults.pop()
        return ApiKey(id="a", client="shop", tenant="*", created_at=0.0)

    ring = KeyRing(check)
    with pytest.raises(EngineError):
        verify(ring, "Bearer cl_a")
    assert verify(ring, "Bearer cl_a").client == "shop"


def test_the_memory_holds_no_key():
    ring = KeyRing(Store(cl_secret="shop").check)
    verify(ring, "Bearer cl_secret")
    assert b"cl_secret" not in b"".join(ring._known)


def test_a_bucket_refills_with_time_up_to_its_burst():
    now = [0.0]
    limit = RateLimit(rate_per_s=2, burst=3, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.take("b") == 0  # another key has its own
    now[0] = 0.5
    assert limit.take("a") == 0
    now[0] = 100.0
    assert [limit.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_buckets_that_are_full_again_do_not_pile_up():
    now = [0.0]
    limit = RateLimit(rate_per_s=1, burst=2, clock=lambda: now[0])
    for number in range(20_000):
        now[0] += 0.01
        limit.take(f"key {number}")
        limit.take("busy")
    assert len(limit) <= 1_001
    assert limit.take("busy") > 0  # what is in use is not forgotten


def test_an_expired_key_is_kept_no_longer_than_it_lives():
    store = Store(cl_a="shop")
    real = store.check
    soon = time.time() + 3
    ring = KeyRing(
        lambda text: replace(real(text), expires_at=soon), keep_s=10, clock=lambda: at[0]
    )
    at = [0.0]
    for at[0] in (0.0, 3.1):
        verify(ring, "Bearer cl_a")
    assert len(store.asked) == 2
