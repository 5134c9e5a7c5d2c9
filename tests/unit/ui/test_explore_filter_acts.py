"""What the filter form's widgets say, also when it comes late."""

from collections.abc import Callable, Iterator

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from closedloop.data.cube.filters import And, In, Or
from closedloop.ui.app import explore_filter_acts as acts
from closedloop.ui.app.explore_draft import Condition, Kind

FIELDS = {"tenant": Kind.TEXT, "intent": Kind.TEXT}
SLICE = Or(any_of=(In(field="tenant", values=("bazaar",)), In(field="intent", values=("refund",))))


@pytest.fixture(autouse=True)
def _session() -> Iterator[None]:
    st.session_state.clear()
    yield
    st.session_state.clear()


def test_a_group_is_joined_as_its_widget_says() -> None:
    acts.load(SLICE, FIELDS)
    opened = acts.draft()
    assert opened.any_of
    st.session_state[acts.widget("join", opened.key)] = "All of"
    acts.join(opened.key)
    assert not acts.draft().any_of
    assert acts.draft().parts == opened.parts


@pytest.mark.parametrize(
    ("widget", "value", "act"),
    [
        ("join", "All of", lambda key: acts.join(key)),
        ("not", True, lambda key: acts.negate(key)),
        ("field", "intent", lambda key: acts.set_field(key, FIELDS)),
        ("op tenant", "is not", lambda key: acts.set_op(key, "tenant")),
        ("values tenant", ["retail"], lambda key: acts.set_values(key, "tenant")),
        ("text tenant", "retail", lambda key: acts.set_text(key, "tenant")),
        ("from tenant", "a", lambda key: acts.set_bounds(key, "tenant")),
    ],
)
def test_a_word_about_a_draft_that_was_replaced_changes_nothing(
    widget: str, value: object, act: Callable[[int], None]
) -> None:
    """A slice is opened and a widget that it replaces speaks, in the same round."""
    for key in range(4):
        st.session_state[acts.widget(widget, key)] = value
    acts.load(SLICE, FIELDS)
    opened = acts.draft()
    for key in range(4):
        act(key)
    assert acts.draft() == opened
    assert any(isinstance(part, Condition) for part in opened.parts)


def test_a_box_that_went_is_not_read_as_sql() -> None:
    acts.load(And(all_of=(In(field="tenant", values=("bazaar",)),)), FIELDS)
    opened = acts.draft()
    acts.use_sql("explore_sql_of_an_earlier_filter", FIELDS)
    assert acts.draft() == opened


def _form_with_a_value_that_no_callback_told() -> None:
    import streamlit as st

    from closedloop.ui.app import explore_filter_acts as acts
    from closedloop.ui.app.explore_draft import Kind
    from closedloop.ui.app.explore_filter import filter_form

    if "begun" not in st.session_state:
        st.session_state["begun"] = True
        acts.add_condition(0, "tenant")
        st.session_state[acts.widget("values tenant", 1)] = ["bazaar"]
    filter_form({"tenant": Kind.TEXT}, lambda _: ["bazaar", "retail"])


def test_what_the_widgets_show_is_the_filter_also_where_a_callback_was_cut_off() -> None:
    page = AppTest.from_function(_form_with_a_value_that_no_callback_told).run()
    assert not page.exception
    assert page.multiselect[0].value == ["bazaar"]
    assert "tenant is bazaar" in page.markdown[0].value
