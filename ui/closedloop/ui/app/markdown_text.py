"""Text from logs and errors inside Markdown: shown as it is, never acted upon."""

from __future__ import annotations

_SPECIAL = frozenset("\\`*_{}[]()<>#+-.!|~$:&")


def literal(text: str) -> str:
    r"""Escape every character that Streamlit's Markdown could read as an instruction.

    Examples
    --------
    >>> literal("*50%* off")
    '\\*50%\\* off'
    """
    return "".join("\\" + char if char in _SPECIAL else char for char in text)
