import asyncio

import pytest

from closedloop.serve.admission.deadline import Deadline, TimedOut


def test_what_takes_too_long_is_given_up():
    async def run():
        async with Deadline(0.01):
            await asyncio.Event().wait()

    with pytest.raises(TimedOut, match=r"0\.01 s"):
        asyncio.run(run())


def test_a_timeout_of_something_inside_is_not_the_requests():
    async def run():
        async with Deadline(60):
            raise TimeoutError("the store's own")

    with pytest.raises(TimeoutError, match="the store's own"):
        asyncio.run(run())


@pytest.mark.parametrize("seconds", [None, 60])
def test_what_ends_in_time_ends_as_it_does(seconds):
    async def run():
        async with Deadline(seconds):
            await asyncio.sleep(0)
            return "answer"

    assert asyncio.run(run()) == "answer"


def test_a_request_that_is_cancelled_from_outside_is_cancelled():
    async def run():
        begun = asyncio.Event()

        async def request():
            async with Deadline(60):
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(request())
        await begun.wait()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
