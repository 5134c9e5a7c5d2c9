from collections.abc import Callable
from dataclasses import replace

import pytest

from closedloop.core.errors import InputError
from closedloop.defence.issues.issue import Issue, Standing
from closedloop.defence.issues.sighting import Sighting
from closedloop.defence.rules.rule import ALL_TENANTS, Act
from closedloop.ui.app.defence_rule_draft import (
    EVERY_TENANT,
    FOREVER,
    RuleForm,
    first_form,
    holding_answer,
)

NOW = 1_000.0


@pytest.fixture
def form(sighting: Callable[..., Sighting]) -> RuleForm:
    issue = Issue(
        id=1,
        tenant="shop",
        standing=Standing(title="Coupon night"),
        opened_at=0.0,
        changed_at=0.0,
        revision=1,
        sighting=sighting(),
    )
    return first_form(issue, "coupon AND fails")


def test_the_form_as_it_is_shown_first_is_a_rule_for_a_day(form: RuleForm) -> None:
    draft = form.draft(NOW)
    assert (draft.tenant, draft.name, draft.condition) == (
        "shop",
        "Coupon night",
        "coupon AND fails",
    )
    assert draft.act is Act.ANSWER
    assert draft.value.startswith("We know about this problem")
    assert draft.expires_at == NOW + 24 * 3600
    assert not draft.dry_run
    assert draft.channels == ()


def test_the_first_answer_is_in_the_language_of_the_texts() -> None:
    assert holding_answer(["优惠券不能用", "coupon 无效", "it fails"]).startswith("这个问题")
    assert holding_answer(["it fails", "优惠券"]).startswith("We know")
    assert holding_answer([]).startswith("We know")


def test_what_is_chosen_reaches_the_rule(form: RuleForm) -> None:
    chosen = replace(
        form, act="Take for an intent", intent="coupon_invalid", lasts=FOREVER, dry_run=True
    )
    draft = replace(chosen, tenant=EVERY_TENANT, channels=("web", "app")).draft(NOW)
    assert (draft.act, draft.value) == (Act.INTENT, "coupon_invalid")
    assert (draft.tenant, draft.channels) == (ALL_TENANTS, ("app", "web"))
    assert draft.expires_at is None
    assert draft.dry_run


def test_an_answer_that_was_written_is_no_part_of_a_rule_that_hands_over(form: RuleForm) -> None:
    draft = replace(form, act="Hand over").draft(NOW)
    assert (draft.act, draft.value) == (Act.HAND_OVER, "")


@pytest.mark.parametrize(
    "wrong",
    [{"condition": ""}, {"condition": "coupon AND ("}, {"act": ""}, {"answer": " "}],
)
def test_what_cannot_be_a_rule_is_refused(form: RuleForm, wrong: dict[str, str]) -> None:
    with pytest.raises(InputError):
        replace(form, **wrong).draft(NOW)


def test_a_rule_without_a_name_is_called_by_its_condition(form: RuleForm) -> None:
    assert replace(form, name=" ").draft(NOW).name == "coupon AND fails"
