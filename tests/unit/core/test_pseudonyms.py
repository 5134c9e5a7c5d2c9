"""How pseudonyms behave, and the file of their keys."""


import pytest

from closedloop.core.errors import InputError
from closedloop.core.pseudonyms import (
    pseudonym,
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
