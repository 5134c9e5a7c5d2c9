import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from closedloop.core import identity, schema
from closedloop.core.errors import Conflict, InputError, NotAllowed, NotFound
from closedloop.core.identity import ApiKey, Identities, Role, User
from closedloop.core.store import Store

PASSWORD = "correct horse"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def people(store: Store) -> Identities:
    return Identities(store)


def test_a_person_logs_in_with_name_and_password(people: Identities) -> None:
    people.add_user(" ann ", PASSWORD, Role.ENGINEER)
    assert people.log_in("ann", PASSWORD) == User(name="ann", role=Role.ENGINEER)
    assert people.users() == [User(name="ann", role=Role.ENGINEER)]


@pytest.mark.parametrize(("name", "password"), [("ann", "wrong horse"), ("nobody", PASSWORD)])
def test_refusals_do_not_tell_which_half_was_wrong(
    people: Identities, name: str, password: str
) -> None:
    people.add_user("ann", PASSWORD)
    with pytest.raises(NotAllowed) as refused:
        people.log_in(name, password)
    assert refused.value.message == "The name or the password is wrong."


def test_an_unknown_name_costs_a_hash_too(
    people: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    from argon2 import PasswordHasher

    verified = []
    real = PasswordHasher.verify

    def verify(self: PasswordHasher, stored: str, password: str) -> bool:
        verified.append(password)
        return real(self, stored, password)

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    with pytest.raises(NotAllowed):
        people.log_in("nobody", PASSWORD)
    assert verified == [PASSWORD]


def test_a_disabled_account_is_refused(people: Identities, store: Store) -> None:
    people.add_user("ann", PASSWORD)
    with store.write() as connection:
        connection.execute(sa.update(schema.user).values(disabled=True))
    with pytest.raises(NotAllowed):
        people.log_in("ann", PASSWORD)


def test_passwords_are_stored_as_argon2id(people: Identities, store: Store) -> None:
    people.add_user("ann", PASSWORD)
    with store.read() as connection:
        stored = connection.execute(sa.select(schema.user.c.password_hash)).scalar_one()
    assert stored.startswith("$argon2id$")
    assert PASSWORD not in stored


def test_a_new_password_replaces_the_old(people: Identities) -> None:
    people.add_user("ann", PASSWORD)
    people.set_password("ann", "another horse")
    assert people.log_in("ann", "another horse").name == "ann"
    with pytest.raises(NotAllowed):
        people.log_in("ann", PASSWORD)


@pytest.mark.parametrize(
    ("name", "password"), [("", PASSWORD), ("x" * 121, PASSWORD), ("a", "7chars!")]
)
def test_unusable_names_and_passwords_are_refused(
    people: Identities, name: str, password: str
) -> None:
    with pytest.raises(InputError):
        people.add_user(name, password)


def test_a_taken_name_is_a_conflict(people: Identities) -> None:
    people.add_user("ann", PASSWORD)
    with pytest.raises(Conflict, match="'ann'"):
        people.add_user("ann", "another horse")
    assert people.log_in("ann", PASSWORD)


def test_the_password_of_nobody_cannot_be_set(people: Identities) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        people.set_password("nobody", PASSWORD)


def test_a_key_opens_until_it_is_revoked(people: Identities) -> None:
    key, secret = people.add_key("shop", tenant="demo")
    assert people.check_key(secret) == key
    assert people.keys() == [key]
    people.revoke_key(key.id)
    with pytest.raises(NotAllowed, match="revoked"):
        people.check_key(secret)
    with pytest.raises(NotFound):
        people.revoke_key(key.id)


def test_a_key_expires(people: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = people.add_key("shop", valid_days=1)
    assert people.check_key(secret)
    now = time.time()
    monkeypatch.setattr(identity.time, "time", lambda: now + 86_401)
    with pytest.raises(NotAllowed, match="expired"):
        people.check_key(secret)


def test_what_is_no_key_is_refused(people: Identities) -> None:
    key, secret = people.add_key("shop")
    wrong = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    for presented in ("", "cl_", f"cl_{key.id}", f"cl_{key.id}_", secret[3:], wrong, "cl_x_y"):
        with pytest.raises(NotAllowed, match="missing or not valid"):
            people.check_key(presented)


def test_the_secret_is_not_kept(people: Identities, store: Store) -> None:
    _, secret = people.add_key("shop")
    with store.read() as connection:
        row = connection.execute(sa.select(schema.api_key)).one()
    assert secret.split("_", 2)[2] not in str(row)
    assert secret[20:] not in str(row)


def test_a_key_needs_a_client(people: Identities) -> None:
    with pytest.raises(InputError, match="client"):
        people.add_key("  ")


@pytest.mark.parametrize(("tenant", "reaches"), [("*", True), ("demo", True), ("other", False)])
def test_a_key_reaches_its_tenant_only(tenant: str, reaches: bool) -> None:
    key = ApiKey(id="x", client="shop", tenant=tenant, created_at=0.0)
    assert key.reaches("demo") is reaches
