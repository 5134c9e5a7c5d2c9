"""Pseudonyms that are stored move to a new key: all of them, once, with nothing else changed."""

from datetime import UTC, datetime

import pytest

from closedloop.core.pseudonyms import KeyChain, Pseudonyms, generation_of
from closedloop.data.dead_letters import USER_FIELD, bury, dead_letters
from closedloop.data.event import Event, Kind, derived_event_id, to_table
from closedloop.data.lake import Lake, Progress
from closedloop.data.log_file import Refused
from closedloop.data.rekey import rekey, stale_rows

CHAIN = KeyChain(first=bytes(32))


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def add(lake, table, *, day, users, tenant="shop", chain=CHAIN, offset=None):
    ts = datetime(2026, 1, day, 12, tzinfo=UTC)
    events = [
        Event(
            event_id=derived_event_id(ts, tenant, table, str(offset), str(number)),
            ts=ts,
            tenant=tenant,
            kind=Kind.TURN,
            text=f"text {number}",
            user_id=None if user is None else chain.pseudonym(user, tenant=tenant),
            attributes={"region": "north"},
        )
        for number, user in enumerate(users)
    ]
    progress = () if offset is None else Progress(writer="w", offset=offset)
    lake.append(table, to_table(events), progress=progress)


def rows(lake, table="turns"):
    return {row["event_id"]: row for row in lake.read(table).to_pylist()}


def test_every_row_of_the_tenant_moves_and_nothing_else_changes(lake):
    add(lake, "turns", day=1, users=["ann", "bob", None, "ann"], offset=1)
    add(lake, "turns", day=2, users=["bob"], offset=2)
    add(lake, "turns", day=2, users=["ann"], tenant="other", offset=3)
    add(lake, "predictions", day=2, users=["ann"])
    before = rows(lake)
    chain = CHAIN.rotated("shop")
    assert stale_rows(lake, chain) == {"turns": 4, "predictions": 1}
    assert rekey(lake, chain) == {"turns": 4, "predictions": 1}
    assert stale_rows(lake, chain) == {}
    after = rows(lake)
    assert after.keys() == before.keys()
    for event_id, row in after.items():
        was = before[event_id]
        assert {**row, "user_id": None} == {**was, "user_id": None}
        if was["user_id"] is None or was["tenant"] == "other":
            assert row["user_id"] == was["user_id"]
        else:
            assert row["user_id"] == chain.renew(was["user_id"], tenant="shop")
            assert generation_of(row["user_id"]) == 1
    assert len({row["user_id"] for row in after.values()}) == len(
        {row["user_id"] for row in before.values()}
    )
    assert lake.reached("turns", "w") == 3


def test_users_seen_before_and_after_a_rotation_are_one(lake):
    add(lake, "turns", day=1, users=["ann", "bob"], offset=1)
    chain = CHAIN.rotated("shop").rotated("shop")
    add(lake, "turns", day=1, users=["ann", "cat"], chain=chain, offset=2)
    assert len({row["user_id"] for row in rows(lake).values()}) == 4
    rekey(lake, chain)
    assert len({row["user_id"] for row in rows(lake).values()}) == 3


def test_done_work_is_not_done_again(lake):
    add(lake, "turns", day=1, users=["ann"])
    chain = CHAIN.rotated("shop")
    rekey(lake, chain)
    version = lake.version("turns")
    assert rekey(lake, chain) == {}
    assert lake.version("turns") == version


def test_a_run_that_died_is_finished_by_the_next(lake):
    for day in (1, 2, 3):
        add(lake, "turns", day=day, users=["ann", "bob"], offset=day)
    chain = CHAIN.rotated("shop")

    def die(done, _days):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rekey(lake, chain, progress=die)
    assert stale_rows(lake, chain) == {"turns": 2}
    assert rekey(lake, chain) == {"turns": 2}
    assert len({row["user_id"] for row in rows(lake).values()}) == 2


def test_rows_that_come_while_it_works_are_not_lost(lake, monkeypatch):
    from closedloop.data import rekey as module

    add(lake, "turns", day=1, users=["ann"], offset=1)
    chain = CHAIN.rotated("shop")
    users = module._users

    def and_then_a_writer_comes(lake, table, day):
        found = users(lake, table, day)
        if lake.version("turns") == 0:
            add(lake, "turns", day=1, users=["ann", "late"], offset=2)
        return found

    monkeypatch.setattr(module, "_users", and_then_a_writer_comes)
    rekey(lake, chain)
    rekey(lake, chain)
    names = [row["user_id"] for row in rows(lake).values()]
    assert sorted(names) == sorted(
        chain.pseudonym(u, tenant="shop") for u in ("ann", "ann", "late")
    )


def test_a_commit_that_collides_is_tried_again(lake, monkeypatch):
    from deltalake import DeltaTable
    from deltalake.exceptions import CommitFailedError

    add(lake, "turns", day=1, users=["ann"])
    merge, calls = DeltaTable.merge, []

    def collide_once(self, *args, **options):
        calls.append(self)
        if len(calls) == 1:
            raise CommitFailedError("a transaction read files that another one removed")
        return merge(self, *args, **options)

    monkeypatch.setattr(DeltaTable, "merge", collide_once)
    assert rekey(lake, CHAIN.rotated("shop")) == {"turns": 1}
    assert len(calls) == 2


def test_dead_letters_move_too(lake):
    raw = '{"text": "", "user_id": "ann", "ts": "x"}'
    bury(
        lake,
        [Refused(line=1, reason="the text is empty", raw=raw)],
        source="a.csv",
        tenant="shop",
        pseudonyms=Pseudonyms(CHAIN),
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    chain = CHAIN.rotated("shop")
    assert rekey(lake, chain) == {"dead_letters": 1}
    [letter] = dead_letters(lake)
    assert letter.fields()[USER_FIELD] == chain.pseudonym("ann", tenant="shop")
    assert rekey(lake, chain) == {}
