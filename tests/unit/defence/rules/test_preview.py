import polars as pl
import pytest

from closedloop.core.errors import InputError
from closedloop.defence.rules.preview import preview, told_apart


def traffic(*rows):
    return pl.DataFrame(
        rows, schema={"text": pl.String, "channel": pl.String, "micro": pl.Int64}, orient="row"
    )


HOUR = traffic(
    *[("My Coupon fails", "app", 7)] * 3,
    *[("coupon fails again", "web", 8)] * 2,
    *[("where is my coupon", "app", 1)] * 4,
    ("coupon", "web", None),
    ("hello", "app", 2),
)


def look(condition="coupon", rows=HOUR, micros=(7, 8), **more):
    return preview(condition, rows, micros, tenant="shop", **more)


def test_what_is_matched_is_counted_inside_and_outside_of_the_issue():
    found = look()
    assert (found.texts, found.matched, found.outside) == (11, 10, 5)
    assert found.examples_inside == ("My Coupon fails", "coupon fails again")
    assert found.examples_outside == ("where is my coupon", "coupon")
    assert not found.is_sampled
    assert found.matched_range.low == found.matched_range.high == 10


def test_only_the_channels_of_the_rule_count():
    assert look(channels=("web",)).matched == 3


def test_a_sample_is_scaled_up_with_its_uncertainty():
    found = look(sampled_of=1_100)
    assert (found.texts, found.sampled_of, found.matched, found.outside) == (11, 1_100, 1_000, 500)
    assert found.outside_range.low < 400
    assert found.outside_range.high > 600
    none = look("refund", sampled_of=1_100)
    assert none.matched == 0
    assert none.matched_range.high > 100  # eleven texts do not exclude it


def test_examples_are_bounded():
    rows = traffic(*[(f"coupon {n}", "app", 7) for n in range(20)])
    assert len(look(rows=rows, examples=3).examples_inside) == 3


def test_the_condition_is_told_as_it_was_read():
    assert look("Coupon  FAILS").condition == "coupon AND fails"
    with pytest.raises(InputError, match="cannot be read"):
        look("coupon AND")


def test_no_traffic_is_matched_by_nothing():
    found = look(rows=traffic())
    assert (found.matched, found.outside, found.examples_inside) == (0, 0, ())
    assert look(rows=traffic(), sampled_of=50).matched_range.high == 50


def hour(before, after):
    """An issue of micro-cluster 7 that others ask in other words, once it has begun at 100."""
    rows = [(float(n % 100), "where is my parcel", 1) for n in range(before)]
    rows += [(100.0 + n, "coupon fails", 7) for n in range(after)]
    rows += [(100.0 + n, "voucher fails", 8) for n in range(after)]
    return pl.DataFrame(rows, schema=["at", "text", "micro"], orient="row")


def test_what_is_usual_is_what_was_said_before_the_issue_began():
    inside, outside = told_apart(hour(600, 50), {7}, began_at=100.0)
    assert (set(inside), len(inside)) == ({"coupon fails"}, 50)
    assert set(outside) == {"where is my parcel"}


def test_where_little_was_said_before_all_others_are_usual():
    _, outside = told_apart(hour(10, 50), {7}, began_at=100.0)
    assert set(outside) == {"where is my parcel", "voucher fails"}


def test_many_texts_are_drawn_from():
    inside, outside = told_apart(hour(600, 50), {7}, began_at=100.0, inside=20, outside=30)
    assert (len(inside), len(outside)) == (20, 30)
