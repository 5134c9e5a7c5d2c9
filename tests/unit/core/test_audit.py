"""The audit trail's contract.

Any store must pass it: tests/integration/test_postgres_store.py runs this file's tests again on
PostgreSQL, with another ``store``.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from closedloop.core import audit, schema
from closedloop.core.audit import Audit, system_user
from closedloop.core.errors import Tampered
from closedloop.core.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


def trail(store: Store, entries: int = 5) -> Audit:
    made = Audit(store)
    for number in range(entries):
        made.record(who="ann", action="keys.revoke", target=f"key {number}", number=number)
    return made


def change(store: Store, statement: sa.Executable) -> None:
    with store.write() as connection:
        connection.execute(statement)


def test_an_empty_trail_is_whole(store: Store) -> None:
    assert Audit(store).entries() == []
    assert Audit(store).verify().entries == 0


def test_entries_come_back_newest_first_and_hang_together(store: Store) -> None:
    made = trail(store, 3)
    found = made.entries()
    assert [each.position for each in found] == [3, 2, 1]
    assert [each.previous for each in found] == [found[1].hash, found[2].hash, "0" * 64]
    assert [each.computed() for each in found] == [each.hash for each in found]
    whole = made.verify()
    assert (whole.entries, whole.last_hash) == (3, found[0].hash)


def test_details_are_read_as_they_were_hashed(store: Store) -> None:
    made = Audit(store)
    details = {"z": 1.1, "a": None, "models": ("shop.*", "零售.*"), "at": 1_764_000_000.123456}
    made.record(who="ann\x00 \ud800", action="keys.add", target="x" * 900, **details)
    [found] = made.entries()
    assert found.details == {**details, "models": ["shop.*", "零售.*"]}
    assert (found.who, len(found.target)) == ("ann ?", 200)
    assert made.verify().entries == 1


def test_entries_are_chosen_by_time_and_number(store: Store) -> None:
    made = trail(store)
    at = made.entries()[1].at
    assert {each.position for each in made.entries(since=at)} >= {4, 5}
    assert made.entries(since=at + 1_000) == []
    assert [each.position for each in made.entries(limit=2)] == [5, 4]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("who", "bob"),
        ("action", "keys.add"),
        ("target", "key 9"),
        ("details", {"number": 9}),
        ("at", 1.0),
        ("previous", "f" * 64),
        ("hash", "f" * 64),
    ],
)
@pytest.mark.parametrize("position", [1, 3, 5])
def test_a_changed_entry_is_named(store: Store, column: str, value: object, position: int) -> None:
    made = trail(store)
    table = schema.audit
    change(store, sa.update(table).where(table.c.position == position).values({column: value}))
    with pytest.raises(Tampered, match=rf"entry {position} \(.*was changed"):
        made.verify()


@pytest.mark.parametrize("position", [1, 3, 5])
def test_a_deleted_entry_is_named(store: Store, position: int) -> None:
    made = trail(store)
    change(store, sa.delete(schema.audit).where(schema.audit.c.position == position))
    with pytest.raises(Tampered, match=f"entry {position} is missing"):
        made.verify()


def test_an_entry_written_anew_with_its_hash_does_not_fit_the_next(store: Store) -> None:
    made = trail(store)
    third = made.entries()[2]
    forged = audit._hash(3, third.at, "bob", third.action, third.target, {}, third.previous)
    table = schema.audit
    change(
        store,
        sa.update(table).where(table.c.position == 3).values(who="bob", details={}, hash=forged),
    )
    with pytest.raises(Tampered, match=r"entry 4 \(.*does not follow 3"):
        made.verify()


def test_a_trail_without_its_end_or_its_head_is_broken(store: Store) -> None:
    made = trail(store)
    change(store, sa.delete(schema.audit).where(schema.audit.c.position > 3))
    with pytest.raises(Tampered, match="entry 4 is missing"):
        made.verify()
    change(store, sa.delete(schema.audit))
    with pytest.raises(Tampered, match="entry 1 is missing"):
        made.verify()
    trail(store, 1)
    change(store, sa.delete(schema.audit_head))
    with pytest.raises(Tampered):
        made.verify()


def test_an_entry_slipped_in_at_the_end_is_named(store: Store) -> None:
    made = trail(store)
    last = made.entries()[0]
    content = (6, 1.0, "ann", "keys.add", "k", {}, last.hash)
    names = ("position", "at", "who", "action", "target", "details", "previous")
    row = dict(zip(names, content, strict=True)) | {"hash": audit._hash(*content)}
    change(store, sa.insert(schema.audit).values(row))
    with pytest.raises(Tampered, match="entry 6 was not written by closedloop"):
        made.verify()


def test_a_damaged_trail_goes_on_and_stays_damaged(store: Store) -> None:
    made = trail(store)
    change(store, sa.delete(schema.audit).where(schema.audit.c.position >= 4))
    trail(store, 2)
    assert [each.position for each in made.entries()] == [7, 6, 3, 2, 1]
    with pytest.raises(Tampered, match="entry 4 is missing"):
        made.verify()


def test_an_entry_goes_with_its_change(store: Store) -> None:
    def fail_half_way() -> None:
        with store.write() as connection:
            audit.record(connection, who="ann", action="keys.add", target="k")
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        fail_half_way()
    assert Audit(store).entries() == []
    assert Audit(store).verify().entries == 0


def test_two_writers_at_once_keep_the_chain_whole(store: Store) -> None:
    each = 25
    start = threading.Barrier(2)

    def write(who: str) -> None:
        mine = Store(store.url)  # as another process would
        start.wait()
        for number in range(each):
            Audit(mine).record(who=who, action="keys.add", target=str(number))
        mine.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ("ann", "bob")))
    made = Audit(store)
    assert made.verify().entries == 2 * each
    for who in ("ann", "bob"):
        mine = [entry.target for entry in made.entries() if entry.who == who]
        assert mine == [str(number) for number in reversed(range(each))]


def test_the_account_is_named_whatever_the_environment_claims(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = system_user()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert system_user() == mine
    monkeypatch.setattr(os, "getuid", lambda: 4_294_000_000)
    assert system_user() == "uid 4294000000"
