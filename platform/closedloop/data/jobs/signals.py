"""The implicit signals of a bad case: what users do, rather than say, when an answer fails.

A turn is *rephrased* where the user's next turn says a similar thing in other words: the
Jaccard similarity of the two turns' tokens (words, and single Han characters, so that it works
without a segmenter) reaches a threshold though the tokens are not the same, or the next turn
opens with words such as "I mean". It is a *handover* where the next turn asks for a human,
*abandoned* where it is the dialogue's last, was answered with low confidence or disliked, and
is no thanks or goodbye, and of *low confidence* below a threshold.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

TOKEN = r"[\p{IsHan}]|[\p{L}\p{N}]+"


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalRules:
    """What counts as a signal; patterns are Java regular expressions over lower-case text.

    Examples
    --------
    >>> SignalRules().fingerprint() == SignalRules(low_confidence=0.3).fingerprint()
    False
    """

    # A confidence below this is low, in [0, 1].
    low_confidence: float = 0.5
    # Jaccard similarity of tokens from which on a turn says the same again, in (0, 1].
    rephrase_similarity: float = 0.25
    # How people begin when they say it again.
    rephrase_openings: tuple[str, ...] = (
        r"(no,? )?(i mean|i meant|i said|i asked|as i said|that's not what i)",
        r"(不是.{0,3}，?)?(我是说|我的意思是|我说的是|我问的是|换个说法|再说一遍|你没懂)",
    )
    # Answers of a model, by which it says that the user wants a human.
    handover_intents: tuple[str, ...] = ("human_agent",)
    # Words by which a user asks for one. (Artificial intelligence is 人工智能.)
    handover_patterns: tuple[str, ...] = (
        r"\b(human|real person|live agent|representative|operator|supervisor)\b",
        r"\b(speak|talk|chat|connect|transfer|put|get)\b.{0,20}"
        r"\b(agent|person|someone|somebody|manager|customer service)\b",
        r"人工(?!智能)|真人|活人|(找|转|叫|要)(客服|经理|主管)",
    )
    # A turn of no more tokens than `closing_tokens` with one of these closes a dialogue.
    closing_patterns: tuple[str, ...] = (
        r"\b(thanks|thank you|thx|cheers|bye|goodbye|got it|solved|that's all|perfect)\b",
        r"^(ok|okay|great|fine|all good)\b",
        r"谢|感谢|再见|拜拜|知道了|明白了|了解了|解决了|搞定|没问题了|没事了|不用了|^(好|好的|行|嗯)",
    )
    closing_tokens: int = 8

    def fingerprint(self) -> str:
        """Return what tells these rules from others: eight hexadecimal digits."""
        return hashlib.blake2b(repr(self).encode(), digest_size=4).hexdigest()


STANDARD_RULES = SignalRules()


def tokens(text: Column) -> Column:
    """Return a text's words and single Han characters, in lower case, in order."""
    from pyspark.sql import functions as f

    return f.regexp_extract_all(f.lower(text), f.lit(TOKEN), 0)


def asks_for_human(text: Column, intent: Column, attributes: Column, rules: SignalRules) -> Column:
    """Return whether a turn asks for a human: by its intent, its attributes, or its words."""
    from pyspark.sql import functions as f

    by_words = f.lower(text).rlike("|".join(rules.handover_patterns))
    by_intent = intent.isin(*rules.handover_intents) if rules.handover_intents else f.lit(False)
    by_log = attributes["handover"] == "true"
    return _true(by_intent) | _true(by_log) | _true(by_words)


def says_again(text: Column, before: Column, after: Column, rules: SignalRules) -> Column:
    """Return whether a turn says again what the turn before it said.

    Parameters
    ----------
    text : Column of string
        The later turn.
    before, after : Column of array of string
        `tokens` of the earlier and of the later turn.
    rules : SignalRules
        Threshold and openings.
    """
    from pyspark.sql import functions as f

    shared = f.size(f.array_intersect(before, after))
    either = f.size(f.array_union(before, after))
    similar = shared >= either * f.lit(rules.rephrase_similarity)
    opens = f.lower(f.trim(text)).rlike(f"^({'|'.join(rules.rephrase_openings)})")
    return _true((before != after) & (either > 0) & (similar | opens))


def closes(text: Column, rules: SignalRules) -> Column:
    """Return whether a turn is a thanks or goodbye: short, and with the words for it."""
    from pyspark.sql import functions as f

    words = f.lower(f.trim(text)).rlike("|".join(rules.closing_patterns))
    return _true(words) & _true(f.size(tokens(text)) <= rules.closing_tokens)


def _true(condition: Column) -> Column:
    from pyspark.sql import functions as f

    return f.coalesce(condition, f.lit(False))
