"""The rule book's contract; tests/integration/test_postgres_store.py runs it on PostgreSQL, too."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from closedloop.core.errors import Conflict, InputError, NotFound
from closedloop.core.store import Store
from closedloop.defence.rules.rule import Act, RuleDraft
from closedloop.defence.rules.rule_book import RuleBook

DRAFT = RuleDraft(
    tenant="零售 shop",
    name="Coupon night 优惠券",
    condition="coupon (fails OR 失效)",
    act=Act.ANSWER,
    value="We are at it.",
    channels=("web", "app"),
)


class Now:
    at = 1_000.0

    def __call__(self):
        return self.at


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def store(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield store
    store.close()


@pytest.fixture
def book(store, now):
    return RuleBook(store, clock=now)


def test_a_rule_is_kept_as_it_was_written(book, now):
    rule = book.add(DRAFT, who="ann")
    assert book.get(rule.id) == rule
    assert (rule.condition, rule.channels) == ("coupon AND (fails OR 失效)", ("app", "web"))
    assert (rule.revision, rule.created_at, rule.changed_by) == (1, now.at, "ann")
    assert book.all() == [rule]


def test_a_change_is_a_new_revision_and_the_old_ones_stay(book, now):
    rule = book.add(DRAFT, who="ann")
    now.at += 60
    changed = book.change(rule.id, replace(DRAFT, priority=5), who="bob", seen=1)
    assert (changed.revision, changed.priority, changed.created_at) == (2, 5, 1_000.0)
    history = book.history(rule.id)
    assert [(c.what, c.rule.priority, c.rule.changed_by) for c in history] == [
        ("changed", 5, "bob"),
        ("added", 0, "ann"),
    ]


def test_who_looked_at_an_older_revision_is_told(book):
    rule = book.add(DRAFT, who="ann")
    book.change(rule.id, replace(DRAFT, priority=5), who="bob", seen=1)
    with pytest.raises(Conflict, match="bob changed"):
        book.change(rule.id, replace(DRAFT, priority=6), who="ann", seen=1)
    assert book.get(rule.id).priority == 5


def test_a_retired_rule_is_out_of_the_list_and_can_be_restored(book):
    rule = book.add(DRAFT)
    book.retire(rule.id, "the model knows it", who="bob")
    assert book.all() == []
    assert [r.retired for r in book.all(retired=True)] == ["the model knows it"]
    with pytest.raises(Conflict, match="retired already"):
        book.retire(rule.id, "again")
    restored = book.restore(rule.id, 1, who="ann")
    assert (restored.revision, restored.retired) == (3, None)
    assert book.all() == [restored]


def test_taking_a_change_back_is_a_change(book):
    rule = book.add(DRAFT)
    book.change(rule.id, replace(DRAFT, value="Something wrong"))
    assert book.restore(rule.id, 1).value == DRAFT.value
    assert [c.what for c in book.history(rule.id)] == ["restored", "changed", "added"]


def test_a_reader_gets_what_changed_since(book):
    first, second = book.add(DRAFT), book.add(replace(DRAFT, name="other"))
    seen, rules = book.since(0)
    assert (seen, {r.id for r in rules}) == (2, {first.id, second.id})
    assert book.since(seen) == (2, [])
    book.change(first.id, replace(DRAFT, priority=1))
    book.retire(first.id, "done")
    seen, [rule] = book.since(seen)
    assert (seen, rule.id, rule.revision, rule.retired) == (4, first.id, 3, "done")


def test_changes_of_many_at_once_are_numbered_without_a_gap(store):
    book = RuleBook(store)
    with ThreadPoolExecutor(8) as pool:
        rules = list(pool.map(lambda n: book.add(replace(DRAFT, name=f"r{n}")), range(24)))
        list(pool.map(lambda rule: book.retire(rule.id, "done"), rules))
    seen, latest = book.since(0)
    assert seen == 48
    assert {rule.revision for rule in latest} == {2}


def test_one_of_two_who_change_the_same_revision_is_refused(store):
    book = RuleBook(store)
    rule = book.add(DRAFT)

    def change(priority):
        try:
            return book.change(rule.id, replace(DRAFT, priority=priority), seen=1).priority
        except Conflict:
            return None

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(change, (1, 2)))
    [won] = [each for each in outcomes if each is not None]
    assert book.get(rule.id).priority == won


@pytest.mark.parametrize("act", ["get", "history", "change", "retire", "restore"])
def test_a_rule_that_is_not_there_is_named(book, act):
    more = {"change": [DRAFT], "retire": ["why"], "restore": [1]}.get(act, [])
    with pytest.raises(NotFound, match="'no such'"):
        getattr(book, act)("no such", *more)


def test_what_cannot_be_leaves_no_trace(book, now):
    rule = book.add(DRAFT)
    with pytest.raises(InputError, match="expired already"):
        book.add(replace(DRAFT, expires_at=now.at))
    with pytest.raises(InputError):
        book.change(rule.id, replace(DRAFT, condition="NOT a"))
    with pytest.raises(InputError, match="reason"):
        book.retire(rule.id, " ")
    with pytest.raises(NotFound, match="no revision 7"):
        book.restore(rule.id, 7)
    assert book.since(0)[0] == 1
