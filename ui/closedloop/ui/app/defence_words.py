"""What the Defence page says of an issue, in a few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from html import escape
from typing import Any

from closedloop.defence.issues.issue import Issue, IssueAct, IssueState
from closedloop.defence.issues.sighting import Sighting, TypicalText

_MINUTES_A_DAY = 1440.0
_NEW_FROM, _KNOWN_BELOW = 0.66, 0.33
_MORNING_HOUR = 9
_HEADLINE_CHARS = 80


def amount(value: float) -> str:
    """Return a rate as one would say it.

    Examples
    --------
    >>> amount(41.7), amount(2.04), amount(0.43)
    ('42', '2', '0.4')
    """
    if value >= 10 or abs(value - round(value)) < 0.05:
        return f"{value:,.0f}"
    return f"{value:.1f}"


def growth(sighting: Sighting) -> str:
    """Return how fast an issue grows against what was to be expected.

    Examples
    --------
    >>> growth(sighting)  # doctest: +SKIP
    '40 a minute, usually 2'
    """
    rate, usual = sighting.rate_per_min, sighting.expected_per_min
    said = " ".join(_rate(rate))
    if not sighting.rising and rate <= usual * 1.5:
        return f"{said}, as usual"
    if usual * _MINUTES_A_DAY < 1:
        return f"{said}, usually none"
    number, unit = _rate(usual)
    return f"{said}, usually {number}" + ("" if unit == _rate(rate)[1] else f" {unit}")


def _rate(per_min: float) -> tuple[str, str]:
    """Return a rate in the unit in which it is at least one, where there is such a unit."""
    for unit, minutes in (("a minute", 1.0), ("an hour", 60.0)):
        if per_min * minutes >= 0.95:
            return amount(per_min * minutes), unit
    return amount(per_min * _MINUTES_A_DAY), "a day"


def feedback(sighting: Sighting) -> str:
    """Return the share of bad answers."""
    return "no feedback yet" if sighting.bad_share is None else f"{sighting.bad_share:.0%} bad"


def novelty(sighting: Sighting) -> str:
    """Return how new it is to the models."""
    if sighting.novelty >= _NEW_FROM:
        return "new to the models"
    return "like a known intent" if sighting.novelty < _KNOWN_BELOW else "partly new"


def counted(counts: Mapping[str, int], *, most: int = 2, nothing: str = "") -> str:
    """Return the names with the largest counts.

    Examples
    --------
    >>> counted({"web": 3, "app": 9, "phone": 1})
    'app, web and 1 more'
    """
    names = [name for name, _ in sorted(counts.items(), key=lambda one: -one[1]) if name]
    if not names:
        return nothing
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def headline(issue: Issue) -> str:
    """Return what an issue is called: a person's words, else its most telling text.

    Keywords alone would do for a machine; in Chinese they are pairs of characters.
    """
    sighting = issue.sighting
    if issue.standing.title or not sighting.typical:
        return issue.title
    texts = [" ".join(one.text.split()) for one in sighting.typical]
    text = max(texts, key=lambda text: _telling(text, sighting.terms))
    return text if len(text) <= _HEADLINE_CHARS else text[: _HEADLINE_CHARS - 1] + "…"


def _telling(text: str, terms: Sequence[str]) -> float:
    """Return how many of the terms a text has; the first ones count more."""
    folded = text.casefold()
    return sum(1 / (2 + place) for place, term in enumerate(terms) if term in folded)


def board_row(issue: Issue) -> dict[str, Any]:
    """Return what the board's browser side needs of an issue."""
    sighting = issue.sighting
    notes = [issue.tenant, counted(sighting.channels), feedback(sighting), novelty(sighting)]
    return {
        "id": issue.id,
        "revision": issue.revision,
        "title": headline(issue),
        "state": issue.state.value,
        "until": issue.standing.snoozed_until,
        "growth": growth(sighting),
        "rising": sighting.rising,
        "texts": f"{sighting.texts:,} text{'s' * (sighting.texts != 1)}",
        "began_at": sighting.began_at,
        "opened_at": issue.opened_at,
        "notes": [note for note in notes if note],
        "bad": sighting.bad_share or 0.0,
        "assigned": issue.standing.assigned_to,
        "series": list(sighting.series),
        "heat": sighting.heat,
    }


def marked(text: str, terms: Sequence[str]) -> str:
    """Return a text as HTML with its terms marked; neighbouring ones as one.

    Examples
    --------
    >>> marked("<b> My Coupon, couponing", ["coupon"])
    '&lt;b&gt; My <mark>Coupon</mark>, couponing'
    >>> marked("优惠券不能用", ["优惠", "惠券"])
    '<mark>优惠券</mark>不能用'
    """
    folded = "".join(char.lower() if len(char.lower()) == 1 else char for char in text)
    inside = [False] * len(text)
    for term in terms:
        start = folded.find(term)
        while term and start >= 0:
            end = start + len(term)
            if not (_in_word(folded, start - 1, start) or _in_word(folded, end - 1, end)):
                inside[start:end] = [True] * len(term)
            start = folded.find(term, start + 1)
    pieces, begin = [], 0
    for place in range(1, len(text) + 1):
        if place == len(text) or inside[place] != inside[begin]:
            piece = escape(text[begin:place])
            pieces.append(f"<mark>{piece}</mark>" if inside[begin] else piece)
            begin = place
    return "".join(pieces)


def texts_as_html(texts: Sequence[TypicalText], terms: Sequence[str]) -> str:
    """Return typical texts as a list, each with what was answered to it."""
    items = "".join(f"<p>{marked(one.text, terms)}{_answered(one)}</p>" for one in texts)
    return f'<div class="cl-texts">{items}</div>'


def plain_as_html(texts: Sequence[str]) -> str:
    """Return texts as a list."""
    items = "".join(f"<p>{escape(text)}</p>" for text in texts)
    return f'<div class="cl-texts">{items}</div>'


def act_in_words(act: IssueAct, zone: tzinfo) -> str:
    """Return what somebody did with an issue, as a sentence without its subject."""
    details = act.details
    if act.what == "snoozed" and isinstance(details.get("until"), int | float):
        return f"snoozed it until {moment(float(details['until']), zone)}"
    if act.what == "assigned":
        return f"assigned it to {details['to']}" if details.get("to") else "assigned it to nobody"
    if act.what == "renamed":
        return f"called it “{details.get('title') or 'by its keywords'}”"
    if act.what == "resolved":
        return f"resolved it: {details.get('reason', '')}"
    simple = {
        "opened": "saw it rise",
        "reopened": f"brought it back: {details['why']}" if details.get("why") else "reopened it",
        "joined": f"joined it with issue {details.get('into')}",
        "merged": f"merged it into issue {details.get('into')}",
        "split": "split it",
        "undone": f"took back: {details.get('what', 'the last act')}",
    }
    if act.what in simple:
        return simple[act.what]
    said = str(details.get("said") or "")
    return f"{act.what}: {said}" if said else act.what


def state_in_words(issue: Issue, zone: tzinfo) -> str:
    """Return where an issue stands; empty for an open one."""
    standing = issue.standing
    if standing.state is IssueState.SNOOZED:
        until = moment(standing.snoozed_until, zone) if standing.snoozed_until else "later"
        return f"snoozed until {until}"
    if standing.state is IssueState.RESOLVED:
        return f"resolved: {standing.reason}" if standing.reason else "resolved"
    if standing.state is IssueState.MERGED:
        return f"merged into issue {standing.merged_into}"
    return ""


def moment(at: float, zone: tzinfo, *, today: datetime | None = None) -> str:
    """Return a time as the clock shows it, with the date where it is another day."""
    then = datetime.fromtimestamp(at, zone)
    same_day = then.date() == (today or datetime.now(zone)).date()
    return f"{then:%H:%M}" if same_day else f"{then:%a %d %b, %H:%M}"


def tomorrow_morning(now: datetime) -> float:
    """Return nine o'clock of the next day in the zone of ``now``, in Unix seconds."""
    nine = now.replace(hour=_MORNING_HOUR, minute=0, second=0, microsecond=0)
    return (nine + timedelta(days=1)).timestamp()


def _answered(one: TypicalText) -> str:
    if not one.answer:
        return "<small>no answer known</small>"
    by = f" by {escape(one.model)}" if one.model else ""
    return f"<small>answered <b>{escape(one.answer)}</b>{by}</small>"


def _in_word(text: str, left: int, right: int) -> bool:
    """Tell whether a word goes on between two neighbouring characters."""
    if left < 0 or right >= len(text):
        return False
    return all(char.isalnum() and char.isascii() for char in (text[left], text[right]))
