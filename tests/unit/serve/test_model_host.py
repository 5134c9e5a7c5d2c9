import threading

import pytest

from closedloop.core.errors import InputError
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Champion
from closedloop.serve.catalog import Catalog
from closedloop.serve.model_host import ModelHost

NAME = "retail.intent.desk"


def champion(version, name=NAME):
    return Champion(
        ref=ModelRef.parse(name), version=version, path=f"/srv/models/{version}", sha256=""
    )


class Model:
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
    host.apply(Catalog.of([champion(1), champion(7, "bank.intent.desk")]))
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
    host.apply(Catalog.of([champion(1)]))
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
    host.apply(Catalog.of([champion(1)]))
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
    host.apply(catalog)
    assert host.get("a.intent.desk") is None
    assert host.get(NAME).model.version == 5
    host.apply(catalog)
    assert host.get("a.intent.desk").model.version == 2
    assert attempts == [2, 5, 2]  # what was held was not loaded again
    assert [state.problem for state in host.states()] == [None, None]
