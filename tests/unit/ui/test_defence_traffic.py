from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest

from closedloop.defence.issues.issue import Issue, Standing
from closedloop.defence.issues.sighting import Sighting
from closedloop.defence.rules.preview import preview
from closedloop.defence.rules.rule import Act, Rule
from closedloop.ui.app.defence_rule_form import preview_in_words
from closedloop.ui.app.defence_rules import hits_of
from closedloop.ui.app.defence_traffic import Hour, groups, suggestions

COUPONS = ["my coupon fails", "the coupon is invalid", "优惠券失效了", "coupon fails again"]
USUAL = ["where is my coupon", "it fails to load", "is this invalid", "where is my parcel"]


@pytest.fixture
def issue(sighting: Callable[..., Sighting]) -> Issue:
    return Issue(
        id=1,
        tenant="shop",
        standing=Standing(),
        opened_at=0.0,
        changed_at=0.0,
        revision=1,
        sighting=sighting(micros=(1, 2)),
    )


def hour(texts: list[tuple[str, int]], *, of: int | None = None) -> Hour:
    frame = pl.DataFrame(
        {
            "at": [float(place) for place in range(len(texts))],
            "text": [text for text, _ in texts],
            "channel": ["app"] * len(texts),
            "micro": [micro for _, micro in texts],
        },
        schema={"at": pl.Float64, "text": pl.String, "channel": pl.String, "micro": pl.Int64},
    )
    return Hour(texts=frame, of=len(texts) if of is None else of)


MIXED = [(text, 1) for text in COUPONS[:2] * 20] + [(COUPONS[3], 2)] * 7
MIXED += [(text, 9) for text in USUAL * 30]


def test_suggestions_tell_the_issue_from_the_hours_other_texts(issue: Issue) -> None:
    found = suggestions(issue, hour(MIXED))
    assert found
    assert found[0].precision > 0.95
    assert "coupon" in found[0].condition


def test_without_traffic_the_issues_own_samples_are_what_there_is(issue: Issue) -> None:
    found = suggestions(issue, hour([]))
    assert found
    assert all(one.outside == 0 for one in found)


def test_groups_are_told_by_what_was_said_most(issue: Issue) -> None:
    found = groups(issue, hour(MIXED))
    assert [(group.micro, group.texts) for group in found] == [(1, 40), (2, 7)]
    assert found[1].typical == "coupon fails again"
    assert found[0].typical in COUPONS[:2]


def test_what_a_rule_would_match_is_told_with_what_is_outside() -> None:
    traffic = hour(MIXED).texts
    told = preview_in_words(preview("coupon", traffic, (1, 2), tenant="shop"))
    assert told == (
        "In the last hour it would match **77** of 167 texts, **30** of them outside this issue."
    )
    none = preview_in_words(preview("again", traffic, (1, 2), tenant="shop"))
    assert none.endswith("none of them outside this issue.")
    estimated = preview("coupon", traffic, (1, 2), tenant="shop", sampled_of=1_670)
    assert "match about **" in preview_in_words(estimated)
    empty = preview_in_words(preview("coupon", traffic.head(0), (), tenant="shop"))
    assert empty == "There is no traffic of the last hour to try it on."


def test_hits_are_of_the_rule_that_decides_and_of_dry_runs() -> None:
    first = Rule(
        id="a",
        revision=1,
        created_at=1.0,
        changed_at=1.0,
        tenant="shop",
        name="a",
        condition="coupon",
        act=Act.HAND_OVER,
    )
    covered = replace(first, id="b", created_at=2.0, condition="coupon fails")
    dry = replace(first, id="c", created_at=3.0, dry_run=True)
    others = replace(first, id="d", tenant="bank")
    hits = hits_of([first, covered, dry, others], {"shop": hour(MIXED, of=334)})
    assert hits == {"a": 154, "c": 154}
    assert hits_of([first], {"shop": hour([])}) == {}
