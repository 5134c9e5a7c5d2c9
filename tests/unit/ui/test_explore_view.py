import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.data.cube.declaration import DEFAULT
from closedloop.data.cube.filters import EVERYTHING, In, Not, Or
from closedloop.data.cube.query import MEASURES
from closedloop.ui.app.explore_view import TOPS, View, default_view, from_params

DAYS = tuple(f"2026-10-{day:02}" for day in range(1, 32))
VIEWS = st.builds(
    View,
    first=st.sampled_from(DAYS[:10]),
    last=st.sampled_from(DAYS[10:]),
    where=st.sampled_from(
        [
            EVERYTHING,
            Or(any_of=(In(field="intent", values=("退款", 'a"b,&=')), Not(part=EVERYTHING))),
        ]
    ),
    compare=st.booleans(),
    by=st.sampled_from([(), ("intent",), ("day", "merchant", "channel")]),
    measures=st.lists(st.sampled_from(sorted(MEASURES)), min_size=1, max_size=4, unique=True).map(
        tuple
    ),
    order=st.sampled_from(["", "turns", "-users"]),
    top=st.sampled_from(TOPS),
    exact=st.booleans(),
)


@given(view=VIEWS)
def test_an_address_gives_the_view_again(view):
    read, problems = from_params(view.to_params(), days=DAYS, dimensions=DEFAULT.names)
    assert (read, problems) == (view, [])


def test_the_first_look_is_at_the_last_week():
    assert default_view(DAYS).period == ("2026-10-25", "2026-10-31")
    assert default_view(DAYS[:3]).period == ("2026-10-01", "2026-10-03")
    assert from_params({}, days=DAYS, dimensions=DEFAULT.names) == (default_view(DAYS), [])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("first", "yesterday"),
        ("where", '{"and":'),
        ("where", '{"in": 5}'),
        ("where", "[" * 100_000),
        ("by", "intent,colour"),
        ("by", "intent,channel,language,tenant"),
        ("measures", "money"),
        ("top", "7"),
        ("top", "many"),
        ("order", "-colour"),
        ("across", ""),
    ],
)
def test_what_an_address_says_wrongly_stays_at_its_default_and_is_told(name, text):
    view, problems = from_params({name: text}, days=DAYS, dimensions=DEFAULT.names)
    assert view == default_view(DAYS)
    assert problems == [f"{name}={text[:60]}"]


def test_a_column_that_is_no_group_is_none():
    view, _ = from_params({"across": "day"}, days=DAYS, dimensions=DEFAULT.names)
    assert view.across == ""


def test_the_period_before_is_as_long():
    view = View(first="2026-03-01", last="2026-03-03")
    assert view.before == ("2026-02-26", "2026-02-28")


def test_time_is_in_order_and_all_else_by_its_first_measure():
    view = View(first="2026-10-01", last="2026-10-07")
    assert view.query().order_by == "-turns"
    assert view.with_(by=("day",)).query().order_by == ""
    assert view.with_(by=("day",), order="-bad_rate").query().order_by == "-bad_rate"
    assert view.with_(order="-latency_p95").query().order_by == ""  # no longer shown
