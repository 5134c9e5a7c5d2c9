"""API keys on a real store: scopes, rotation, expiry, last use, and what each leaves behind."""

import hmac
import secrets
import time

import pytest
import sqlalchemy as sa

from closedloop.core import api_keys, schema
from closedloop.core.api_key import ALL, CLIENT_ACTIONS, Action
from closedloop.core.api_keys import ApiKeys
from closedloop.core.audit import Audit
from closedloop.core.errors import Conflict, EngineError, InputError, NotAllowed, NotFound
from closedloop.core.store import Store

HOUR_S = 3_600.0
DAY_S = 86_400.0


@pytest.fixture
def store(tmp_path):
    opened = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def keys(store):
    made = ApiKeys(store, who="ann")
    yield made
    made.last_used.flush(10)


@pytest.fixture
def later(monkeypatch):
    """Return a function that moves the clock forward."""
    real, ahead = time.time, [0.0]
    monkeypatch.setattr(api_keys.time, "time", lambda: real() + ahead[0])

    def forward(seconds):
        ahead[0] += seconds

    return forward


def listed(keys):
    return list(ApiKeys.keys(keys))


def test_a_new_key_does_what_a_client_needs(keys):
    key, secret = keys.add_key("bot", tenant="shop")
    assert (key.actions, key.models) == (CLIENT_ACTIONS, (ALL,))
    assert keys.check_key(secret) == key


def test_scopes_come_back_as_they_were_given(keys):
    models = ("shop.intent.*", "shop.零售.主")
    key, secret = keys.add_key("bot", tenant="shop", actions=("predict", "read"), models=models)
    found = keys.check_key(secret)
    assert found == key
    assert (found.actions, found.models) == ({Action.PREDICT, Action.READ}, models)
    everything, _ = keys.add_key("operations", actions=("all",))
    assert everything.actions == set(Action)


@pytest.mark.parametrize(
    "wrong",
    [
        {"client": " "},
        {"client": "x" * 121},
        {"client": "bot", "tenant": ""},
        {"client": "bot", "actions": ("fly",)},
        {"client": "bot", "tenant": "shop", "models": ("bank.*",)},
        {"client": "bot", "valid_days": 0},
        {"client": "bot", "valid_days": -1},
        {"client": "bot", "valid_days": 1e9},
        {"client": "bot", "valid_days": float("nan")},
    ],
)
def test_an_unusable_key_is_not_made(keys, store, wrong):
    with pytest.raises(InputError):
        keys.add_key(**wrong)
    assert keys.keys() == []
    assert Audit(store).entries() == []


def test_a_rotated_key_has_two_secrets_until_the_grace_ends(keys, later):
    key, old = keys.add_key("bot", tenant="shop", models=("shop.intent.*",))
    rotated, new = keys.rotate_key(key.id, grace_s=HOUR_S)
    assert new != old
    assert (rotated.id, rotated.client, rotated.models) == (key.id, "bot", key.models)
    assert rotated.standing(time.time()) == "rotating"
    assert keys.check_key(new) == rotated
    # The former secret's answer may be kept no longer than the secret lives.
    assert keys.check_key(old).expires_at == rotated.former_until
    later(HOUR_S + 1)
    assert keys.check_key(new)
    with pytest.raises(NotAllowed, match="former secret, which has expired"):
        keys.check_key(old)
    assert keys.keys()[0].standing(time.time()) == "active"


def test_without_grace_the_old_secret_ends_at_once(keys):
    key, old = keys.add_key("bot")
    _, new = keys.rotate_key(key.id, grace_s=0)
    assert keys.check_key(new)
    with pytest.raises(NotAllowed, match="missing or not valid"):
        keys.check_key(old)


def test_a_second_rotation_ends_no_secret_by_accident(keys):
    key, first = keys.add_key("bot")
    _, second = keys.rotate_key(key.id)
    with pytest.raises(Conflict, match="rotated already") as refused:
        keys.rotate_key(key.id)
    assert "--grace 0h" in refused.value.remedy
    assert keys.check_key(first)
    assert keys.check_key(second)
    _, third = keys.rotate_key(key.id, grace_s=0)
    assert keys.check_key(third)
    for ended in (first, second):
        with pytest.raises(NotAllowed):
            keys.check_key(ended)


def test_the_grace_does_not_outlive_the_key(keys):
    key, old = keys.add_key("bot", valid_days=0.5)
    keys.rotate_key(key.id, grace_s=DAY_S)
    assert keys.check_key(old).expires_at == key.expires_at


def test_a_revoked_key_has_no_secret_that_opens_and_is_not_rotated(keys):
    key, old = keys.add_key("bot")
    _, new = keys.rotate_key(key.id)
    keys.revoke_key(key.id)
    for secret in (old, new):
        with pytest.raises(NotAllowed, match="was revoked"):
            keys.check_key(secret)
    for unknown in (key.id, "none"):
        with pytest.raises(NotFound):
            keys.rotate_key(unknown)
    with pytest.raises(InputError):
        keys.rotate_key(key.id, grace_s=-1)


def test_expired_is_told_to_those_only_who_know_the_secret(keys, later):
    key, secret = keys.add_key("bot", valid_days=1)
    later(DAY_S + 1)
    with pytest.raises(NotAllowed, match=f"key {key.id} of 'bot' has expired"):
        keys.check_key(secret)
    with pytest.raises(NotAllowed, match="missing or not valid"):
        keys.check_key(secret[:-1] + ("a" if secret[-1] != "a" else "b"))
    assert keys.keys()[0].standing(time.time()) == "expired"


def test_an_expired_key_lives_on_only_when_that_is_said(keys, later):
    key, _ = keys.add_key("bot", valid_days=1)
    later(DAY_S + 1)
    with pytest.raises(Conflict, match="has expired") as refused:
        keys.rotate_key(key.id)
    assert "--expires" in refused.value.remedy
    rotated, secret = keys.rotate_key(key.id, valid_days=90)
    assert rotated.expires_at == pytest.approx(time.time() + 90 * DAY_S, abs=60)
    assert keys.check_key(secret)


def test_an_unknown_id_costs_the_same_work_as_a_wrong_secret(keys, store, monkeypatch):
    key, _ = keys.add_key("bot")
    done = []
    real = hmac.compare_digest

    def compare(one, other):
        done.append(("compare", len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(api_keys.hmac, "compare_digest", compare)

    def work(presented):
        done.clear()
        queries = []

        def on_query(*args):
            queries.append(args[2])

        sa.event.listen(store._engine, "before_cursor_execute", on_query)
        with pytest.raises(NotAllowed, match="missing or not valid"):
            keys.check_key(presented)
        sa.event.remove(store._engine, "before_cursor_execute", on_query)
        return [*done, *queries]

    secret = secrets.token_urlsafe(32)
    wrong = work(f"cl_{key.id}_{secret}")
    assert work(f"cl_{'0' * 16}_{secret}") == wrong
    keys.rotate_key(key.id)
    assert work(f"cl_{key.id}_{secret}") == wrong
    assert len([each for each in wrong if each[0] == "compare"]) == 2


def test_when_a_key_was_last_used_is_written_once_a_minute(keys, later):
    key, secret = keys.add_key("bot")
    keys.add_key("never used")
    assert keys.keys()[0].last_used_at is None
    before = time.time()

    def used():
        keys.check_key(secret)
        keys.last_used.flush(10)
        return {each.id: each for each in listed(keys)}[key.id].last_used_at

    first = used()
    assert first == pytest.approx(before, abs=60)
    later(59)
    assert used() == first
    later(2)
    assert used() == pytest.approx(first + 61, abs=10)
    assert [each.last_used_at for each in listed(keys) if each.id != key.id] == [None]


def test_a_refused_key_was_not_used(keys):
    key, secret = keys.add_key("bot")
    with pytest.raises(NotAllowed):
        keys.check_key(secret + "x")
    keys.revoke_key(key.id)
    with pytest.raises(NotAllowed):
        keys.check_key(secret)
    keys.last_used.flush(10)
    assert keys.keys()[0].last_used_at is None


def test_a_store_that_cannot_be_written_neither_delays_nor_fails_a_request(keys, store, caplog):
    key, secret = keys.add_key("bot")
    with store.write():  # somebody holds SQLite's only write lock
        began = time.perf_counter()
        assert keys.check_key(secret) == key
        assert time.perf_counter() - began < 5  # the lock would be waited for 30 s
    keys.last_used.flush(10)
    assert keys.keys()[0].last_used_at is not None
    with store.write() as connection:
        connection.execute(sa.text("UPDATE api_key SET last_used_at = NULL"))
        connection.execute(
            sa.text(
                "CREATE TRIGGER full BEFORE UPDATE ON api_key"
                " BEGIN SELECT RAISE(ABORT, 'disk full'); END"
            )
        )
    assert keys.check_key(secret) == key
    keys.last_used.flush(10)
    assert "1 keys were used is not written" in caplog.text
    assert keys.check_key(secret) == key


def test_a_store_that_does_not_answer_is_an_engine_error(keys, store):
    _, secret = keys.add_key("bot")
    with store.write() as connection:
        connection.execute(sa.text("DROP TABLE api_key"))
    with pytest.raises(EngineError, match="does not answer"):
        keys.check_key(secret)


def test_changes_leave_entries_without_secrets(keys, store):
    key, first = keys.add_key("bot", tenant="shop", models=("shop.intent.*",))
    _, second = keys.rotate_key(key.id)
    keys.revoke_key(key.id)
    for refused in (keys.revoke_key, keys.rotate_key):
        with pytest.raises(NotFound):
            refused(key.id)
    revoked, rotated, added = Audit(store).entries()
    assert [e.action for e in (added, rotated, revoked)] == [
        "keys.add",
        "keys.rotate",
        "keys.revoke",
    ]
    assert {(e.who, e.target) for e in (added, rotated, revoked)} == {("ann", key.id)}
    assert added.details["models"] == ["shop.intent.*"]
    assert added.details["actions"] == ["events", "feedback", "predict", "read"]
    with store.read() as connection:
        hashes = connection.execute(
            sa.select(schema.api_key.c.secret_hash, schema.api_key.c.former_hash)
        ).one()
    for secret in (first.split("_", 2)[2], second.split("_", 2)[2], *hashes):
        assert secret not in str((added, rotated, revoked))
    assert Audit(store).verify().entries == 3


def test_a_change_that_cannot_be_recorded_is_not_made(keys, store):
    key, secret = keys.add_key("bot")
    with store.write() as connection:
        connection.execute(sa.text("DROP TABLE audit_head"))
    with pytest.raises(EngineError):
        keys.revoke_key(key.id)
    assert keys.check_key(secret) == key
