import asyncio
import threading

import pytest

from closedloop.core.errors import InputError
from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.serve.catalog import Catalog
from closedloop.serve.model_host import ModelHost

NAME = "retail.intent.desk"


def champion(version, name=NAME):
    return Champion(
        ref=ModelRef.parse(name), version=version, path=f"/srv/models/{version}", sha256=""
    )


class Model:
    size_bytes = 100

    def __init__(self, champion, *, broken=False):
        self.version = champion.version
        self.broken = broken

    def predict_many(self, texts):
        if self.broken:
            raise ZeroDivisionError("poisonous")
        return [self.version] * len(texts)


def test_a_host_holds_what_the_catalog_names():
    host = ModelHost(Model)
    assert not host.ready
    host.apply(Catalog.of([champion(1), champion(7, "bank.intent.desk")])).result(10)
    assert host.ready
    assert host.get(NAME).model.version == 1
    assert [s.serving for s in host.states()] == [7, 1]
    host.apply(Catalog.of([champion(2)]))
    assert host.get(NAME).model.version == 2
    assert host.get("bank.intent.desk") is None


def test_the_old_version_answers_while_the_new_one_loads():
    loading, may_finish = threading.Event(), threading.Event()

    def load(champion):
        if champion.version == 2:
            loading.set()
            assert may_finish.wait(10)
        return Model(champion)

    host = ModelHost(load)
    host.apply(Catalog.of([champion(1)])).result(10)
    swap = threading.Thread(target=host.apply, args=(Catalog.of([champion(2)]),))
    swap.start()
    assert loading.wait(10)
    in_flight = host.get(NAME)
    assert in_flight.champion.version == 1
    may_finish.set()
    swap.join(10)
    assert host.get(NAME).champion.version == 2
    assert in_flight.model.predict_many(["x"]) == [1]  # and ends with what it began with


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (InputError("/srv/models/2 hashes to abc.", remedy="Train again."), "model.skops hashes"),
        (MemoryError("too big"), "MemoryError: too big"),
        (None, "ZeroDivisionError"),  # it loads and cannot answer
    ],
)
def test_a_champion_that_fails_leaves_the_old_one_and_is_reported(fault, told):
    def load(champion):
        if champion.version == 2 and fault is not None:
            raise fault
        return Model(champion, broken=champion.version == 2)

    host = ModelHost(load)
    host.apply(Catalog.of([champion(1)])).result(10)
    host.apply(Catalog.of([champion(2)]))
    assert host.get(NAME).model.version == 1
    (state,) = host.states()
    assert (state.champion.version, state.serving) == (2, 1)
    assert told in state.problem
    assert "/srv" not in state.problem


def test_a_failed_champion_is_tried_again_and_others_are_not_held_up():
    attempts = []

    def load(champion):
        attempts.append(champion.version)
        if champion.version == 2 and attempts.count(2) == 1:
            raise OSError("the disk was away")
        return Model(champion)

    host = ModelHost(load)
    catalog = Catalog.of([champion(2, "a.intent.desk"), champion(5)])
    host.apply(catalog).result(10)
    assert host.get("a.intent.desk") is None
    assert host.get(NAME).model.version == 5
    host.apply(catalog).result(10)
    assert host.get("a.intent.desk").model.version == 2
    assert attempts == [2, 5, 2]  # what was held was not loaded again
    assert [state.problem for state in host.states()] == [None, None]


def many(count, version=1):
    return Catalog.of([champion(version, f"t{i:03}.intent.desk") for i in range(count)])


def fetch(host, name):
    return asyncio.run(host.fetch(name))


def test_models_are_held_ahead_of_use_until_memory_is_full():
    host = ModelHost(Model, memory_bytes=350, size_of=lambda _: 100)
    host.apply(many(10)).result(10)
    assert host.held_bytes == 300
    assert [state.in_memory for state in host.states()] == [True] * 3 + [False] * 7
    assert {state.serving for state in host.states()} == {1}


def test_what_was_asked_for_longest_ago_goes_first():
    now = iter(range(1_000))
    host = ModelHost(Model, memory_bytes=300, size_of=lambda _: 100, clock=lambda: next(now))
    host.apply(many(5)).result(10)
    assert host.get("t000.intent.desk")
    assert fetch(host, "t004.intent.desk").champion.ref.tenant == "t004"
    held = [s.champion.ref.tenant for s in host.states() if s.in_memory]
    assert held == ["t000", "t002", "t004"]
    assert host.held_bytes == 300


def test_a_pinned_model_is_never_let_go():
    host = ModelHost(Model, memory_bytes=200, size_of=lambda _: 100, pinned=["t004.*"])
    host.apply(many(5)).result(10)
    for tenant in range(4):
        assert fetch(host, f"t{tenant:03}.intent.desk")
    assert host.get("t004.intent.desk")


def test_a_model_larger_than_memory_is_held_all_the_same():
    host = ModelHost(Model, memory_bytes=10, size_of=lambda _: 100)
    host.apply(many(2)).result(10)
    assert fetch(host, "t001.intent.desk")
    assert fetch(host, "t000.intent.desk")
    assert host.held_bytes == 100


def test_a_storm_of_requests_loads_once_and_blocks_no_other_model():
    loads, begun, go = [], threading.Event(), threading.Event()

    def load(champion):
        loads.append(champion.ref.tenant)
        if champion.ref.tenant == "t001":
            begun.set()
            assert go.wait(10)
        return Model(champion)

    host = ModelHost(load, memory_bytes=100, size_of=lambda _: 100)
    host.apply(many(2)).result(10)

    async def run():
        storm = [asyncio.create_task(host.fetch("t001.intent.desk")) for _ in range(50)]
        await asyncio.to_thread(begun.wait, 10)
        storm[0].cancel()  # one client goes away, the others still wait
        other = host.get("t000.intent.desk")
        go.set()
        return other, await asyncio.gather(*storm[1:])

    other, served = asyncio.run(run())
    assert other.model.version == 1
    assert all(each.champion.ref.tenant == "t001" for each in served)
    assert loads == ["t000", "t001"]


def test_a_champion_that_moves_while_it_is_first_loaded_is_not_answered_by_the_old_one():
    begun, go = threading.Event(), threading.Event()

    def load(champion):
        if champion.version == 1 and champion.ref.tenant == "t001":
            begun.set()
            assert go.wait(10)
        return Model(champion)

    host = ModelHost(load, memory_bytes=100, size_of=lambda _: 100)
    host.apply(many(2)).result(10)

    async def run():
        asked = asyncio.create_task(host.fetch("t001.intent.desk"))
        await asyncio.to_thread(begun.wait, 10)
        await asyncio.to_thread(host.apply, many(2, version=2))
        go.set()
        return await asked

    assert asyncio.run(run()).champion.version == 2


def test_a_model_that_fails_is_not_loaded_for_every_request():
    loads = []

    def load(champion):
        loads.append(1)
        raise OSError("the disk is away")

    host = ModelHost(load)
    host.apply(many(1)).result(10)
    assert fetch(host, "t000.intent.desk") is None
    assert fetch(host, "t000.intent.desk") is None
    assert loads == [1]
    assert "the disk is away" in host.problem("t000.intent.desk")
    assert fetch(host, "t009.intent.desk") is None
    assert not host.names("t009.intent.desk")


def test_a_release_is_loaded_before_anybody_asks_even_where_memory_is_full():
    host = ModelHost(Model, memory_bytes=100, size_of=lambda _: 100)
    host.apply(many(2)).result(10)
    host.apply(Catalog.of([champion(1, "t000.intent.desk"), champion(9, "t001.intent.desk")]))
    assert host.get("t001.intent.desk").champion.version == 9


def test_cold_loads_of_one_tenant_do_not_hold_up_those_of_another():
    begun, go = threading.Semaphore(0), threading.Event()

    def load(champion):
        if champion.ref.tenant == "storm":
            begun.release()
            assert go.wait(10)
        return Model(champion)

    host = ModelHost(load, memory_bytes=10**6, size_of=lambda _: 10**7)  # nothing ahead of use
    names = [f"storm.intent.m{i:02}" for i in range(20)]
    host.apply(Catalog.of([champion(1, name) for name in [*names, NAME]])).result(10)

    async def run():
        storm = [asyncio.create_task(host.fetch(name)) for name in names]
        await asyncio.to_thread(begun.acquire, timeout=10)
        other = await asyncio.wait_for(host.fetch(NAME), 10)
        waiting = sum(not task.done() for task in storm)
        go.set()
        await asyncio.gather(*storm)
        return other, waiting

    other, waiting = asyncio.run(run())
    assert other.model.version == 1
    assert waiting == 20


def test_a_release_that_takes_for_ever_does_not_hold_up_those_of_others(monkeypatch):
    monkeypatch.setattr("closedloop.serve.model_host._RELEASE_LOAD_S", 0.2)
    go = threading.Event()

    def load(champion):
        if champion.version == 2 and champion.ref.tenant == "t000":
            assert go.wait(10)
        return Model(champion)

    host = ModelHost(load)
    host.apply(many(3)).result(10)
    host.apply(many(3, version=2))
    held = [state.serving for state in host.states()]
    assert held == [1, 2, 2]
    go.set()
    host.close()
    assert host.get("t000.intent.desk").model.version == 2
