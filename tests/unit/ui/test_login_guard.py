import pytest

from closedloop.core.errors import NotAllowed
from closedloop.ui.app.login_guard import (
    FIRST_WAIT_S,
    FREE_ATTEMPTS,
    LONGEST_WAIT_S,
    LoginGuard,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> LoginGuard:
    return LoginGuard(clock=clock)


def fail(guard: LoginGuard, times: int, name: str = "ann") -> None:
    for _ in range(times):
        guard.failed(name)


def test_a_few_mistakes_cost_nothing(guard: LoginGuard) -> None:
    fail(guard, FREE_ATTEMPTS - 1)
    guard.check("ann")


def test_then_the_name_waits_whoever_else_logs_in(guard: LoginGuard, clock: Clock) -> None:
    fail(guard, FREE_ATTEMPTS)
    with pytest.raises(NotAllowed, match="Wait 30 seconds"):
        guard.check("ann")
    guard.check("bob")
    clock.now += FIRST_WAIT_S
    guard.check("ann")


def test_spelling_does_not_get_around_it(guard: LoginGuard) -> None:
    fail(guard, FREE_ATTEMPTS, "Ann ")
    with pytest.raises(NotAllowed):
        guard.check("ann")


def test_each_further_failure_doubles_the_wait_up_to_a_limit(
    guard: LoginGuard, clock: Clock
) -> None:
    fail(guard, FREE_ATTEMPTS + 1)
    clock.now += 2 * FIRST_WAIT_S - 1
    with pytest.raises(NotAllowed, match="Wait 1 seconds"):
        guard.check("ann")
    fail(guard, 20)
    clock.now += LONGEST_WAIT_S
    guard.check("ann")


def test_success_and_a_quiet_hour_forget(guard: LoginGuard, clock: Clock) -> None:
    fail(guard, FREE_ATTEMPTS - 1)
    guard.succeeded("ann")
    fail(guard, 1)
    guard.check("ann")
    fail(guard, FREE_ATTEMPTS - 2)
    clock.now += 3601
    fail(guard, 1)
    guard.check("ann")


def test_varying_the_name_does_not_fill_the_memory(guard: LoginGuard) -> None:
    for number in range(10_050):
        guard.failed(f"name {number}")
    assert len(guard._failures) == 10_000
