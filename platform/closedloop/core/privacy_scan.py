"""What masking would do to texts, counted, with examples that give nobody away."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from closedloop.core.privacy import KINDS, Span, find_pii

_HIDDEN = "•"
_CONTEXT_CHARS = 24
_SHOWN_HEAD, _SHOWN_TAIL = 2, 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanReport:
    """What was found in some texts."""

    # Texts looked at, and those with anything in them.
    texts: int
    texts_with: int
    # Values found, by kind; every kind is there.
    found: dict[str, int]
    # A few findings a kind in their surroundings, partly hidden.
    examples: dict[str, tuple[str, ...]]


class Scan:
    """Counts personal data over texts that come in batches.

    Parameters
    ----------
    examples : int
        How many different ones to keep a kind.

    Examples
    --------
    >>> scan = Scan()
    >>> scan.look(["mail ann@example.org now", "hi"])
    >>> scan.report().found["email"], scan.report().examples["email"]
    (1, ('mail an•@•••••••.••g now',))
    """

    def __init__(self, *, examples: int = 3) -> None:
        self._kept = examples
        self._texts = self._texts_with = 0
        self._found: Counter[str] = Counter()
        self._examples: defaultdict[str, list[str]] = defaultdict(list)

    def look(self, texts: Iterable[str]) -> None:
        """Take more texts into account."""
        for text in texts:
            self._texts += 1
            spans = find_pii(text)
            self._texts_with += bool(spans)
            for place, span in enumerate(spans):
                self._found[span.kind] += 1
                shown = self._examples[span.kind]
                if len(shown) < self._kept:
                    example = _example(text, spans, place)
                    if example not in shown:
                        shown.append(example)

    def report(self) -> ScanReport:
        """Return what was found so far."""
        return ScanReport(
            texts=self._texts,
            texts_with=self._texts_with,
            found={kind: self._found[kind] for kind in KINDS},
            examples={kind: tuple(self._examples[kind]) for kind in KINDS if self._examples[kind]},
        )


def partly_hidden(value: str) -> str:
    """Return a value with most letters and digits hidden; its shape stays.

    Examples
    --------
    >>> partly_hidden("+86 138-0013-8000"), partly_hidden("NW1")
    ('+86 •••-••••-•••0', 'N••')
    """
    places = [i for i, sign in enumerate(value) if sign.isalnum()]
    head, tail = (_SHOWN_HEAD, _SHOWN_TAIL) if len(places) > 6 else (1, 0)
    shown = {*places[:head], *places[len(places) - tail :]}
    hidden = set(places) - shown
    return "".join(_HIDDEN if i in hidden else sign for i, sign in enumerate(value))


def _example(text: str, spans: Sequence[Span], place: int) -> str:
    """Return one finding in its surroundings; the findings around it are masked."""
    pieces, end = [], 0
    for number, span in enumerate(spans):
        value = text[span.start : span.end]
        pieces.append(text[end : span.start])
        pieces.append(partly_hidden(value) if number == place else f"<{span.kind.upper()}>")
        end = span.end
    pieces.append(text[end:])
    before, value = "".join(pieces[: 2 * place + 1]), pieces[2 * place + 1]
    after = "".join(pieces[2 * place + 2 :])
    head = ("…" if len(before) > _CONTEXT_CHARS else "") + before[-_CONTEXT_CHARS:]
    tail = after[:_CONTEXT_CHARS] + ("…" if len(after) > _CONTEXT_CHARS else "")
    return f"{head}{value}{tail}".replace("\n", " ")
