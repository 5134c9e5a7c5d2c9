import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.core.api_key import (
    ALL,
    CLIENT_ACTIONS,
    Action,
    ApiKey,
    actions_named,
    check_patterns,
    parts,
    written,
)
from closedloop.core.errors import InputError, OutOfScope

PART = st.text("ab-_零", min_size=1, max_size=4)
MODELS = st.builds(lambda *words: ".".join(words), PART, PART, PART)
ACTIONS = st.frozensets(st.sampled_from(list(Action)))


def a_key(tenant="shop", actions=CLIENT_ACTIONS, models=(ALL,)):
    return ApiKey(
        id="1", client="bot", tenant=tenant, created_at=0.0, actions=actions, models=models
    )


@given(MODELS, ACTIONS, st.sampled_from(list(Action)), st.booleans())
def test_a_key_without_patterns_does_its_actions_with_all_models_of_its_tenant(
    model, actions, action, mine
):
    key = a_key(model.partition(".")[0] if mine else "other", actions)
    assert key.allows(action, model) is (mine and action in actions)
    assert key.allows(action) is (action in actions)


@given(st.lists(MODELS, min_size=1, max_size=5), MODELS)
def test_a_name_without_a_star_fits_itself_only(names, model):
    key = a_key(ALL, models=tuple(names))
    assert key.allows(Action.PREDICT, model) is (model in names)


@given(MODELS, st.data())
def test_a_star_stands_for_anything(model, data):
    start = data.draw(st.integers(0, len(model)))
    end = data.draw(st.integers(start, len(model)))
    assert a_key(ALL, models=(f"{model[:start]}*{model[end:]}",)).allows(Action.PREDICT, model)


@given(MODELS, MODELS)
def test_a_pattern_gives_no_other_models(model, other):
    prefix = model.rpartition(".")[0] + "."
    key = a_key(ALL, models=(f"{prefix}*",))
    assert key.allows(Action.PREDICT, other) is other.startswith(prefix)


@given(MODELS, st.lists(MODELS | st.just("a*") | st.just(ALL), min_size=1, max_size=3))
def test_patterns_never_lead_out_of_the_tenant(model, models):
    key = a_key("someone", frozenset(Action), tuple(models))
    assert not any(key.allows(action, model) for action in Action)


@given(MODELS, ACTIONS, st.sampled_from(list(Action)), st.sampled_from([ALL, "a*", "*b", "a.b.a"]))
def test_what_is_not_allowed_is_required_in_vain_and_the_remedy_names_it(
    model, actions, action, pattern
):
    key = a_key(ALL, actions, (pattern,))
    if key.allows(action, model):
        key.require(action, model)
        return
    with pytest.raises(OutOfScope) as refused:
        key.require(action, model)
    lacking = model if action in actions else action
    assert f"It lacks '{lacking}'" in refused.value.remedy


def test_many_stars_do_not_make_matching_slow():
    key = a_key(ALL, models=("a*" * 90 + "b",))
    assert not key.allows(Action.PREDICT, "a" * 10_000)


@given(st.text("0123456789abcdef", min_size=1, max_size=16), st.text(min_size=1))
def test_a_key_is_taken_apart_as_it_was_written(key_id, secret):
    assert parts(written(key_id, secret)) == (key_id, secret)


@pytest.mark.parametrize(
    "presented", ["", "cl", "cl_", "cl__x", "cl_1", "cl_1_", "xx_1_s", "cl_\x00_s", "cl_é_s"]
)
def test_other_texts_are_no_key(presented):
    assert parts(presented) is None


def test_actions_are_read_by_name():
    assert actions_named(["predict", "read"]) == {Action.PREDICT, Action.READ}
    assert actions_named(["all"]) == actions_named(["*"]) == set(Action)
    with pytest.raises(InputError, match="'fly'") as refused:
        actions_named(["predict", "fly"])
    assert "metrics" in refused.value.remedy
    with pytest.raises(InputError, match="nothing"):
        actions_named([])


@pytest.mark.parametrize(
    "pattern", [ALL, "shop.*", "shop.intent.*", "shop.intent.main", "*.intent.*", "s*", "*.a"]
)
def test_patterns_that_can_fit_are_taken(pattern):
    check_patterns((pattern,), "shop")
    check_patterns((pattern,), ALL)


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        ((), "0 patterns"),
        (("shop.*",) * 101, "101 patterns"),
        (("",), "not a pattern"),
        (("shop.[ab].x",), "not a pattern"),
        (("shop.int ent.x",), "not a pattern"),
        (("main",), "three parts"),
        (("shop.intent",), "three parts"),
        (("bank.intent.*",), "tenant 'shop'"),
        (("bank.intent.main",), "tenant 'shop'"),
    ],
)
def test_patterns_that_fit_nothing_are_refused(patterns, said):
    with pytest.raises(InputError, match=said):
        check_patterns(patterns, "shop")
