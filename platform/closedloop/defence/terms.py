"""A short text as the set of terms that streams are clustered by, in any mix of languages.

A word between blanks or punctuation is a term. Chinese is written without blanks: there every
pair of neighbouring characters is a term, which needs no dictionary, knows the coupon that was
named yesterday, and costs a twentieth of a segmentation.

References
----------
Nie, J.-Y., Gao, J., Zhang, J., Zhou, M. (2000). On the use of words and n-grams for Chinese
information retrieval. IRAL.
"""

from __future__ import annotations

import re

from closedloop.samples.normal_form import normalise
from closedloop.samples.terms import HAN

MOST_TERMS = 64  # of a text; what comes later in a long text is left out
_RUN = re.compile(rf"[{HAN}]+|[^\W{HAN}]+")
_HAN_FIRST = re.compile(rf"[{HAN}]")


def stream_terms(text: str, *, limit: int = MOST_TERMS) -> list[str]:
    """Return the different terms of a text in the order of their first place.

    Parameters
    ----------
    limit : int
        Most terms.

    Examples
    --------
    >>> stream_terms("Where is my ORDER? 优惠券用不了")
    ['where', 'is', 'my', 'order', '优惠', '惠券', '券用', '用不', '不了']
    """
    if text.isascii():
        runs = _RUN.findall(text.lower())
        return list(dict.fromkeys(runs if len(runs) <= limit else runs[:limit]))
    terms: dict[str, None] = {}
    for run in _RUN.findall(normalise(text)):
        if len(run) > 1 and _HAN_FIRST.match(run):
            for i in range(len(run) - 1):
                terms[run[i : i + 2]] = None
        else:
            terms[run] = None
        if len(terms) >= limit:
            break
    return list(terms)[:limit]
