"""``closedloop keys``, ``users`` and ``audit``, as a person runs them."""

import pytest
import sqlalchemy as sa

from closedloop.core.settings import Settings
from closedloop.core.store import Store


def test_a_key_from_making_to_revoking_and_its_trail(closedloop):
    made = ("--tenant", "shop", "--models", "shop.intent.*", "--may", "predict", "--expires", "90d")
    code, said = closedloop("keys", "add", "bot", *made)
    assert code == 0
    key_id = said.split()[1]
    assert closedloop("keys", "rotate", key_id, "--grace", "24h")[0] == 0
    assert closedloop("keys", "rotate", key_id)[0] == 5
    listed = closedloop("keys", "list")[1]
    assert all(word in listed for word in ("shop.intent.*", "predict", "never", "rotating"))
    assert closedloop("keys", "revoke", key_id)[0] == 0
    password = ("--password", "correct horse")
    assert closedloop("users", "add", "ann", *password)[0] == 0
    assert closedloop("users", "disable", "ann")[0] == 0
    assert closedloop("privacy", "rotate-key", "--tenant", "shop", "--no-rekey")[0] == 0
    trail = closedloop("audit", "list", "--since", "1h")[1]
    for action in ("keys.add", "keys.rotate", "keys.revoke", "users.add", "users.disable"):
        assert action in trail
    assert "privacy.rotate-key" in trail
    assert "6 entries" in closedloop("audit", "verify")[1]
    store = Store(Settings().store_url)
    with store.write() as connection:
        connection.execute(sa.text("UPDATE audit SET who = 'nobody' WHERE position = 3"))
    store.close()
    code, said = closedloop("audit", "verify")
    assert (code, "entry 3" in said) == (9, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("keys", "add", "bot", "--may", "fly"), "no action 'fly'"),
        (("keys", "add", "bot", "--tenant", "shop", "--models", "bank.*"), "tenant 'shop'"),
        (("keys", "add", "bot", "--expires", "soon"), "'soon'"),
        (("audit", "list", "--since", "soon"), "'soon'"),
    ],
)
def test_bad_input_is_told_in_words(closedloop, words, said):
    code, told = closedloop(*words)
    assert (code, said in told) == (2, True), told
