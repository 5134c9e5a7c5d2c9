from pathlib import Path
from typing import Any

import pytest

from closedloop.core.errors import EngineError
from closedloop.core.settings import Settings
from closedloop.ui.app.queue_route import QueueRoute, connect_to_actor


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Ray:
    """Stands for the cluster: up or down."""

    def __init__(self) -> None:
        self.up = False
        self.asked = 0

    def connect(self, _: Settings) -> Any:
        self.asked += 1
        if not self.up:
            raise EngineError("Ray is down.")
        return "through the actor"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ray() -> Ray:
    return Ray()


@pytest.fixture
def route(clock: Clock, ray: Ray) -> QueueRoute:
    direct: Any = "straight to the store"
    return QueueRoute(Settings(), direct, connect=ray.connect, clock=clock)


def test_without_ray_the_store_serves_and_the_reason_is_told(route: QueueRoute) -> None:
    assert route.queue() == "straight to the store"
    assert route.detour == "Ray is down."


def test_the_actor_is_preferred(route: QueueRoute, ray: Ray) -> None:
    ray.up = True
    assert route.queue() == "through the actor"
    assert route.detour == ""


def test_it_looks_again_but_not_with_every_click(route: QueueRoute, ray: Ray, clock: Clock) -> None:
    for _ in range(5):
        route.queue()
    assert ray.asked == 1
    ray.up = True
    clock.now += 20
    assert route.queue() == "through the actor"


def test_a_lost_actor_is_left_for_a_while(route: QueueRoute, ray: Ray, clock: Clock) -> None:
    ray.up = True
    route.queue()
    route.lost(EngineError("The actor did not answer."))
    assert route.queue() == "straight to the store"
    assert route.detour == "The actor did not answer."
    clock.now += 20
    assert route.queue() == "through the actor"


def test_no_cluster_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="No Ray cluster is running"):
        connect_to_actor(Settings(home=tmp_path, ray_address=""))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no port"])
def test_an_address_where_nobody_listens_is_named(tmp_path: Path, address: str) -> None:
    with pytest.raises(EngineError, match=f"Nothing answers at Ray's address {address}"):
        connect_to_actor(Settings(home=tmp_path, ray_address=address))
