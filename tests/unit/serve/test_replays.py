import asyncio

import pytest

from closedloop.serve.http.replays import Recorded, Replays
from closedloop.serve.stamp import IdempotencyMismatch

NAME = ("1", "a-key")


def recorded(body=b"{}", status=200):
    return Recorded(start={"type": "http.response.start", "status": status}, body=body)


class Work:
    """Answers when it is let; counts how often it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0
        self.go = asyncio.Event()

    async def __call__(self):
        self.asked += 1
        await self.go.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def test_a_repeated_call_gets_the_first_answer():
    async def run():
        replays, work = Replays(), Work(recorded(b"1"), recorded(b"2"))
        work.go.set()
        first, again = [await replays.once(NAME, "d", work) for _ in range(2)]
        other = await replays.once(("2", "a-key"), "d", work)
        return first, again, other, work.asked

    first, again, other, asked = asyncio.run(run())
    assert first is again
    assert (other.body, asked) == (b"2", 2)


def test_a_call_waits_for_its_first_attempt():
    async def run():
        replays, work = Replays(), Work(recorded())
        calls = [asyncio.create_task(replays.once(NAME, "d", work)) for _ in range(3)]
        await asyncio.sleep(0)
        work.go.set()
        return await asyncio.gather(*calls), work.asked

    answers, asked = asyncio.run(run())
    assert asked == 1
    assert answers[0] is answers[1] is answers[2]


@pytest.mark.parametrize("failure", [RuntimeError("broken"), asyncio.CancelledError(), 503])
def test_who_waited_for_an_attempt_that_failed_tries(failure):
    async def run():
        first = recorded(status=failure) if isinstance(failure, int) else failure
        replays, work = Replays(), Work(first, recorded(b"second"))
        calls = [asyncio.create_task(replays.once(NAME, "d", work)) for _ in range(3)]
        await asyncio.sleep(0)
        work.go.set()
        return await asyncio.gather(*calls, return_exceptions=True), work.asked

    (_, second, third), asked = asyncio.run(run())
    assert second is third
    assert (second.body, asked) == (b"second", 2)


def test_another_request_under_the_same_key_is_refused_also_while_the_first_runs():
    async def run():
        replays, work = Replays(), Work(recorded())
        first = asyncio.create_task(replays.once(NAME, "d", work))
        await asyncio.sleep(0)
        with pytest.raises(IdempotencyMismatch):
            await replays.once(NAME, "other", work)
        work.go.set()
        await first
        with pytest.raises(IdempotencyMismatch):
            await replays.once(NAME, "other", work)

    asyncio.run(run())


def test_answers_go_by_age_and_by_bytes():
    now = [0.0]

    async def run():
        replays = Replays(max_bytes=10_000, keep_s=60, clock=lambda: now[0])
        for index in range(10):
            work = Work(recorded(b"x" * 3_000))
            work.go.set()
            await replays.once(("1", str(index)), "d", work)
        kept = len(replays)
        now[0] = 61.0
        work = Work(recorded())
        work.go.set()
        await replays.once(NAME, "d", work)
        return kept, len(replays)

    kept, left = asyncio.run(run())
    assert 2 <= kept <= 4
    assert left == 1
