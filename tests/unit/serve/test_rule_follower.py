import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from closedloop.core.errors import EngineError
from closedloop.core.store import Store
from closedloop.defence.rules.rule import Act, RuleDraft
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.serve.rule_follower import RuleFollower

DRAFT = RuleDraft(tenant="shop", name="n", condition="coupon", act=Act.HAND_OVER)


@pytest.fixture
def book(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield RuleBook(store)
    store.close()


def decides(follower, text="coupon"):
    rule = follower.rules.apply(text, tenant="shop").decides
    return rule.id if rule else None


def test_what_is_added_changed_and_retired_is_taken_over(book):
    follower = RuleFollower(book.since)
    assert not follower.look()
    rule = book.add(DRAFT)
    assert follower.look()
    assert not follower.look()
    assert decides(follower) == rule.id
    book.retire(rule.id, "done")
    assert follower.look()
    assert decides(follower) is None
    book.restore(rule.id, 1)
    assert follower.look()
    assert (decides(follower), follower.seen) == (rule.id, 3)


def test_a_set_that_a_request_holds_does_not_change_below_it(book):
    follower = RuleFollower(book.since)
    rule = book.add(DRAFT)
    follower.look()
    held = follower.rules
    book.retire(rule.id, "done")
    follower.look()
    assert held.apply("coupon", tenant="shop").decides.id == rule.id
    assert decides(follower) is None


def test_where_the_store_does_not_answer_the_known_rules_apply_until_it_does(book):
    rule = book.add(DRAFT)
    fails = False

    def since(sequence):
        if fails:
            raise EngineError("The store is away.")
        return book.since(sequence)

    async def run():
        nonlocal fails
        follower = RuleFollower(since)
        with ThreadPoolExecutor(1) as looking:
            following = asyncio.create_task(follower.follow(looking, every_s=0.01))

            async def until(condition):
                async with asyncio.timeout(20):
                    while not condition():
                        await asyncio.sleep(0.01)

            await until(lambda: decides(follower) == rule.id)
            fails = True
            await until(lambda: follower.problem)
            assert decides(follower) == rule.id
            book.retire(rule.id, "done")
            fails = False
            await until(lambda: decides(follower) is None)
            assert not follower.problem
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    asyncio.run(run())
