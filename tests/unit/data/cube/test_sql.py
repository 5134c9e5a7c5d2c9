import pytest

from closedloop.core.errors import InputError
from closedloop.data.cube.filters import And, Contains, In, IsNull, Not, Or, Prefix, Range
from closedloop.data.cube.sql import parse


def where(text):
    return parse(f"SELECT turns FROM interactions WHERE {text}").where


def test_a_whole_query():
    query = parse(
        "SELECT intent, channel, count(*) AS n, count(DISTINCT user_id) AS people, avg(bad) "
        "FROM interactions WHERE tenant = '商城' GROUP BY intent, channel "
        "ORDER BY n DESC LIMIT 5"
    )
    assert query.by == ("intent", "channel")
    assert query.measures == ("turns", "users", "bad_rate")
    assert query.where == In(field="tenant", values=("商城",))
    assert query.order_by == "-turns"
    assert query.limit == 5
    assert query.exact


def test_an_approximate_count_allows_sketches():
    assert not parse("SELECT approx_count_distinct(user_id) FROM interactions").exact


@pytest.mark.parametrize(
    ("text", "measure"),
    [
        ("count(*)", "turns"),
        ("users", "users"),
        ("sum(handover)", "handover"),
        ("avg(handover)", "handover_rate"),
        ("avg(confidence)", "confidence"),
        ("quantile(latency_ms, 0.95)", "latency_p95"),
        ("approx_quantile(latency_ms, 0.5)", "latency_p50"),
    ],
)
def test_measures(text, measure):
    assert parse(f"SELECT {text} FROM interactions").measures == (measure,)


def test_a_measure_that_only_orders_is_asked_for_too():
    query = parse("SELECT intent FROM interactions GROUP BY intent ORDER BY bad_rate DESC")
    assert query.measures == ("bad_rate",)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("version >= 3", Range(field="version", low=3)),
        ("day BETWEEN '2026-10-01' AND '2026-10-02'",
         Range(field="day", low="2026-10-01", high="2026-10-02")),
        ("version < 3", And(all_of=(
            Range(field="version", high=3), Not(part=In(field="version", values=(3,)))))),
        ("merchant IN ('a', 'b')", In(field="merchant", values=("a", "b"))),
        ("merchant IS NULL", IsNull(field="merchant")),
        ("merchant IS NOT NULL", Not(part=IsNull(field="merchant"))),
        ("product LIKE 'A1%'", Prefix(field="product", prefix="A1")),
        ("text ILIKE '%退款%'", Contains(field="text", part="退款")),
        ("bad", In(field="bad", values=(True,))),
        ("bad = false", In(field="bad", values=(False,))),
        ("confidence > -0.5", And(all_of=(
            Range(field="confidence", low=-0.5),
            Not(part=In(field="confidence", values=(-0.5,)))))),
        ("merchant = 'a' OR (region = 'r' AND version = 1)", Or(any_of=(
            In(field="merchant", values=("a",)),
            And(all_of=(In(field="region", values=("r",)), In(field="version", values=(1,))))))),
    ],
)  # fmt: skip
def test_conditions(text, tree):
    assert where(text) == tree


def test_not_leaves_nulls_out_as_sql_does():
    assert where("NOT merchant = 'a'") == And(
        all_of=(
            Not(part=In(field="merchant", values=("a",))),
            Not(part=IsNull(field="merchant")),
        )
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("DROP TABLE interactions", "not a SELECT"),
        ("SELECT turns FROM users", "no table 'users'"),
        ("SELECT median(latency_ms) FROM interactions", "neither a group nor a measure"),
        ("SELECT turns FROM interactions JOIN x ON true", "JOINS"),
        ("SELECT turns FROM interactions WHERE merchant LIKE '%a'", "only LIKE"),
        ("SELECT turns FROM interactions WHERE merchant IN (SELECT 1)", "subquery"),
        ("SELECT turns FROM interactions WHERE 1 = 1", "where a field's name should"),
        ("SELECT turns FROM interactions ORDER BY nothing", "neither a group nor a measure"),
        ("SELEC turns", "not a SELECT|cannot be read"),
        ("", "cannot be read|not a SELECT"),
    ],
)
def test_what_is_not_in_the_subset_is_named(text, words):
    with pytest.raises(InputError, match=words) as caught:
        parse(text)
    assert "SELECT intent" in caught.value.remedy
