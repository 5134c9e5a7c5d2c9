from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from closedloop.defence.issues.issue import Issue, IssueAct, IssueState, Standing
from closedloop.defence.issues.sighting import Sighting
from closedloop.ui.app import defence_words as words

MakeSighting = Callable[..., Sighting]


def issue(seen: Sighting, **standing: object) -> Issue:
    return Issue(
        id=7,
        tenant="shop",
        standing=Standing(**standing),  # type: ignore[arg-type]
        opened_at=0.0,
        changed_at=0.0,
        revision=3,
        sighting=seen,
    )


@pytest.mark.parametrize(
    ("rate", "usual", "said"),
    [
        (40.0, 2.0, "40 a minute, usually 2"),
        (1_234.4, 2.0, "1,234 a minute, usually 2"),
        (40.0, 0.05, "40 a minute, usually 3 an hour"),
        (40.0, 0.004, "40 a minute, usually 5.8 a day"),
        (40.0, 0.0, "40 a minute, usually none"),
        (0.5, 0.1, "30 an hour, usually 6"),
        (0.01, 0.0, "14 a day, usually none"),
    ],
)
def test_growth_is_told_in_the_units_one_would_use(
    sighting: MakeSighting, rate: float, usual: float, said: str
) -> None:
    assert words.growth(sighting(rate_per_min=rate, expected_per_min=usual)) == said


def test_what_has_calmed_down_is_told_as_usual(sighting: MakeSighting) -> None:
    calm = sighting(rate_per_min=2.1, expected_per_min=2.0, rising=False)
    assert words.growth(calm) == "2.1 a minute, as usual"


def test_feedback_and_novelty_are_told_in_words(sighting: MakeSighting) -> None:
    assert words.feedback(sighting(bad_share=0.634)) == "63% bad"
    assert words.feedback(sighting(bad_share=None)) == "no feedback yet"
    told = [words.novelty(sighting(novelty=value)) for value in (0.1, 0.5, 0.9)]
    assert told == ["like a known intent", "partly new", "new to the models"]


def test_an_issue_is_called_by_a_person_else_by_its_most_telling_text(
    sighting: MakeSighting,
) -> None:
    seen = sighting()
    assert words.headline(issue(seen)) == "The coupon fails at checkout"
    assert words.headline(issue(seen, title="Coupon night")) == "Coupon night"
    assert words.headline(issue(sighting(typical=()))) == "coupon · fails · valid"


def test_terms_are_marked_as_words_and_nothing_becomes_markup() -> None:
    assert (
        words.marked("<i>Coupons: coupon & COUPON", ["coupon"])
        == "&lt;i&gt;Coupons: <mark>coupon</mark> &amp; <mark>COUPON</mark>"
    )


def test_chinese_terms_are_marked_anywhere_and_overlapping_ones_as_one() -> None:
    assert words.marked("我的优惠券用不了", ["优惠", "惠券"]) == "我的<mark>优惠券</mark>用不了"


def test_a_character_that_grows_in_lower_case_shifts_no_mark() -> None:
    assert words.marked("İİ coupon", ["coupon"]) == "İİ <mark>coupon</mark>"
    assert words.marked("", ["coupon"]) == ""


def test_answers_stand_under_their_texts_escaped(sighting: MakeSighting) -> None:
    [text, *_] = sighting().typical
    from dataclasses import replace

    html = words.texts_as_html([replace(text, answer="<b>", model="m&m")], [])
    assert "answered <b>&lt;b&gt;</b> by m&amp;m" in html
    assert "no answer known" in words.texts_as_html([replace(text, answer="")], [])


def test_a_row_of_the_board_has_what_a_person_looks_for(sighting: MakeSighting) -> None:
    row = words.board_row(issue(sighting(bad_share=0.5), assigned_to="ann"))
    assert (row["id"], row["revision"], row["assigned"]) == (7, 3, "ann")
    assert row["growth"] == "40 a minute, usually 2"
    assert row["notes"] == ["shop", "app, web", "50% bad", "new to the models"]
    assert row["series"] == [0, 1, 40]


def test_tomorrow_morning_is_nine_where_the_person_is() -> None:
    shanghai = ZoneInfo("Asia/Shanghai")
    late = datetime(2026, 11, 11, 23, 59, tzinfo=shanghai)
    then = datetime.fromtimestamp(words.tomorrow_morning(late), shanghai)
    assert (then.day, then.hour, then.minute) == (12, 9, 0)
    berlin = ZoneInfo("Europe/Berlin")  # the night in between has 25 hours
    then = datetime.fromtimestamp(
        words.tomorrow_morning(datetime(2026, 10, 24, 12, tzinfo=berlin)), berlin
    )
    assert (then.day, then.hour) == (25, 9)


def test_a_time_of_another_day_has_its_date() -> None:
    at = datetime(2026, 11, 11, 20, 5, tzinfo=UTC)
    assert words.moment(at.timestamp(), UTC, today=at) == "20:05"
    tomorrow = at + timedelta(days=1)
    assert words.moment(at.timestamp(), UTC, today=tomorrow) == "Wed 11 Nov, 20:05"


@pytest.mark.parametrize(
    ("what", "details", "said"),
    [
        ("assigned", {"to": "bob"}, "assigned it to bob"),
        ("assigned", {"to": ""}, "assigned it to nobody"),
        ("renamed", {"title": ""}, "called it “by its keywords”"),
        ("resolved", {"reason": "mended"}, "resolved it: mended"),
        ("reopened", {"why": "it rises anew"}, "brought it back: it rises anew"),
        ("reopened", {}, "reopened it"),
        ("merged", {"into": 4}, "merged it into issue 4"),
        ("undone", {"what": "snoozed"}, "took back: snoozed"),
        ("added a rule", {"said": "a → b"}, "added a rule: a → b"),
        ("something of a later release", {}, "something of a later release"),
    ],
)
def test_every_act_is_told_in_words(what: str, details: dict[str, object], said: str) -> None:
    act = IssueAct(id=1, issue_id=7, at=0.0, who="ann", what=what, details=details)
    assert words.act_in_words(act, UTC) == said


def test_where_an_issue_stands_is_told(sighting: MakeSighting) -> None:
    seen = sighting()
    assert words.state_in_words(issue(seen), UTC) == ""
    resolved = issue(seen, state=IssueState.RESOLVED, reason="mended")
    assert words.state_in_words(resolved, UTC) == "resolved: mended"
    merged = issue(seen, state=IssueState.MERGED, merged_into=3)
    assert words.state_in_words(merged, UTC) == "merged into issue 3"
