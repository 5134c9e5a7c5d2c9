"""The one form in which texts are compared, whatever language they are in."""

from __future__ import annotations

import re
import unicodedata

_SPACE = re.compile(r"\s+")


def normalise(text: str) -> str:
    """Return the form that is compared: NFKC, case folded, runs of white space as one blank.

    Examples
    --------
    >>> normalise("ＡＢＣ　 Straße")
    'abc strasse'
    """
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
