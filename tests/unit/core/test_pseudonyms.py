"""How pseudonyms behave, and the file of their keys."""

import pickle
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.core.errors import EngineError, InputError
from closedloop.core.pseudonyms import (
    KEY_FILE,
    KeyChain,
    Pseudonyms,
    generation_of,
    load_pseudonyms,
    pseudonym,
    rotate_key,
)


def test_a_pseudonym_depends_on_user_tenant_and_key_only() -> None:
    one = pseudonym("u1", tenant="a", key=b"k")
    assert one == pseudonym("u1", tenant="a", key=b"k")
    assert len(one) == 22
    others = {
        pseudonym("u2", tenant="a", key=b"k"),
        pseudonym("u1", tenant="b", key=b"k"),
        pseudonym("u1", tenant="a", key=b"other"),
        pseudonym("1", tenant="au", key=b"k"),
    }
    assert len(others) == 4
    assert one not in others


@pytest.mark.parametrize("key", [b"", b"x" * 65])
def test_a_useless_key_is_refused(key: bytes) -> None:
    with pytest.raises(InputError, match="bytes"):
        pseudonym("u1", tenant="a", key=key)


USERS = st.text(max_size=20)


@given(users=st.lists(USERS, min_size=1, max_size=8, unique=True), turns=st.integers(0, 3))
def test_rotation_keeps_equal_users_equal_and_different_ones_apart(users, turns):
    old = KeyChain(first=b"first")
    new = old
    for _ in range(turns):
        new = new.rotated("shop")
    names = [new.pseudonym(user, tenant="shop") for user in users]
    carried = [new.renew(old.pseudonym(user, tenant="shop"), tenant="shop") for user in users]
    assert names == carried
    assert len(set(names)) == len(users)
    assert {generation_of(name) for name in names} == {turns}
    assert [new.renew(name, tenant="shop") for name in names] == names


def test_rotation_is_for_one_tenant():
    old = KeyChain(first=b"first")
    new = old.rotated("shop")
    assert new.pseudonym("u", tenant="other") == old.pseudonym("u", tenant="other")
    assert new.pseudonym("u", tenant="shop") != old.pseudonym("u", tenant="shop")


def test_a_new_name_cannot_be_computed_from_old_names_and_old_keys():
    old = KeyChain(first=b"first")
    one, other = old.rotated("shop"), old.rotated("shop")
    assert one.pseudonym("u", tenant="shop") != other.pseudonym("u", tenant="shop")


def test_the_key_is_made_once_and_private(tmp_path):
    first = load_pseudonyms(tmp_path / "home")
    again = load_pseudonyms(tmp_path / "home")
    assert first.of("u", tenant="a") == again.of("u", tenant="a")
    rotate_key(tmp_path / "home", "a")
    assert (tmp_path / "home" / KEY_FILE).stat().st_mode & 0o077 == 0
    assert [each.name for each in (tmp_path / "home").iterdir() if "lock" not in each.name] == [
        KEY_FILE
    ]


def test_a_bare_key_of_the_first_release_still_serves(tmp_path):
    (tmp_path / KEY_FILE).write_text("ab" * 32 + "\n")
    names = load_pseudonyms(tmp_path)
    assert names.of("u", tenant="a") == pseudonym("u", tenant="a", key=bytes.fromhex("ab" * 32))
    before = names.of("u", tenant="a")
    assert rotate_key(tmp_path, "a") == 1
    now = load_pseudonyms(tmp_path)
    assert now.of("u", tenant="a") == now.renew(before, tenant="a") != before


def test_whoever_holds_the_keys_sees_a_rotation(tmp_path, monkeypatch):
    monkeypatch.setattr("closedloop.core.pseudonyms._REFRESH_S", 0.0)
    names = load_pseudonyms(tmp_path)
    before = names.of("u", tenant="a")
    sent = pickle.loads(pickle.dumps(names))
    rotate_key(tmp_path, "a")
    assert names.of("u", tenant="a") == sent.of("u", tenant="a") == names.renew(before, tenant="a")


def test_a_replica_without_the_file_keeps_its_keys(tmp_path, monkeypatch):
    monkeypatch.setattr("closedloop.core.pseudonyms._REFRESH_S", 0.0)
    names = load_pseudonyms(tmp_path)
    before = names.of("u", tenant="a")
    (tmp_path / KEY_FILE).unlink()
    assert names.of("u", tenant="a") == before


def test_rotations_at_once_lose_no_key(tmp_path):
    load_pseudonyms(tmp_path)
    threads = [threading.Thread(target=rotate_key, args=(tmp_path, "a")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load_pseudonyms(tmp_path).chain.generation("a") == 8


@pytest.mark.parametrize("content", ["", "{", "[]", '{"first": 3}', "no key at all"])
def test_a_spoilt_key_file_is_named_without_its_content(tmp_path, content):
    (tmp_path / KEY_FILE).write_text(content)
    with pytest.raises(EngineError) as caught:
        load_pseudonyms(tmp_path)
    assert KEY_FILE in caught.value.message
    assert "no key at all" not in str(caught.value)
    assert caught.value.remedy


def test_keys_are_not_shown():
    chain = KeyChain(first=b"top-secret").rotated("shop")
    assert "secret" not in repr(chain)
    assert chain.later["shop"][0].hex() not in repr(chain)
    assert "secret" not in repr(Pseudonyms(chain))
