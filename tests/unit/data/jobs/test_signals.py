import re

import pytest

from closedloop.data.jobs.signals import SignalRules

RULES = SignalRules()


def matches(patterns, text):
    """The patterns are Java's; the standard ones use nothing that Python reads differently."""
    return any(re.search(pattern, text.lower()) for pattern in patterns)


@pytest.mark.parametrize(
    "text",
    [
        "转人工",
        "我要人工客服",
        "找真人",
        "I want to talk to a person",
        "human please",
        "get me an agent",
    ],
)
def test_who_asks_for_a_human_is_understood(text):
    assert matches(RULES.handover_patterns, text)


@pytest.mark.parametrize(
    "text",
    ["你是人工智能吗", "where is my parcel", "客服几点上班", "humane treatment", "get my refund"],
)
def test_who_does_not_is_left_alone(text):
    assert not matches(RULES.handover_patterns, text)


@pytest.mark.parametrize("text", ["谢谢啦", "好的", "ok thanks", "that's all", "Bye!"])
def test_a_goodbye_is_understood(text):
    assert matches(RULES.closing_patterns, text)


def test_a_question_closes_nothing():
    assert not matches(RULES.closing_patterns, "still not solve my problem")


def test_other_rules_have_another_fingerprint():
    assert RULES.fingerprint() == SignalRules().fingerprint()
    others = {SignalRules(low_confidence=0.4), SignalRules(handover_intents=("agent",))}
    assert RULES.fingerprint() not in {rules.fingerprint() for rules in others}
