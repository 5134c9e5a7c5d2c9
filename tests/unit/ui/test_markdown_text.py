import pytest

from closedloop.ui.app.markdown_text import literal


@pytest.mark.parametrize("char", list("\\`*_{}[]()<>#+-.!|~$:&"))
def test_every_character_with_a_meaning_is_escaped(char: str) -> None:
    assert literal(f"a{char}b") == f"a\\{char}b"


def test_words_of_any_language_stay_as_they_are() -> None:
    assert literal("退款 refund, really?") == "退款 refund, really?"
