import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from closedloop.core.errors import EngineError
from closedloop.core.proportion import wilson
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.defence.rules.retirement import Evidence
from closedloop.defence.rules.rule import Act, Rule, RuleDraft
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.ui.app.defence_retirement import Retirement

MODEL = "shop.intent.main"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(Settings(home=tmp_path).store_url)
    yield opened
    opened.close()


@pytest.fixture
def rule(store: Store) -> Rule:
    return RuleBook(store).add(
        RuleDraft(tenant="shop", name="night", condition="coupon", act=Act.INTENT, value="outage")
    )


def learnt(rules: Sequence[Rule], *, version: int = 1, missing: str = "") -> list[Evidence]:
    return [
        Evidence(
            rule=rule,
            model=MODEL,
            version=version,
            means="outage",
            texts=60,
            times=90,
            agreeing=60,
            trained_on=3,
            agreement=wilson(60, 60),
            missing=missing,
        )
        for rule in rules
    ]


@pytest.fixture
def retirement(tmp_path: Path, store: Store) -> Callable[..., Retirement]:
    def with_evidence(
        evidence: Callable[[Sequence[Rule]], list[Evidence]] = learnt,
    ) -> Retirement:
        return Retirement(Settings(home=tmp_path), store, evidence=evidence)

    return with_evidence


def test_a_page_is_answered_at_once_and_the_look_comes_behind(
    retirement: Callable[..., Retirement], rule: Rule
) -> None:
    may_end, ended = threading.Event(), threading.Event()

    def slowly(rules: Sequence[Rule]) -> list[Evidence]:
        assert may_end.wait(60)
        try:
            return learnt(rules)
        finally:
            ended.set()

    asked = retirement(slowly)
    assert asked.looked().at == 0.0
    assert asked.looked().at == 0.0  # one look at a time
    may_end.set()
    assert ended.wait(60)
    asked.look()
    [proposal] = asked.looked().live([rule])
    assert (proposal.rule.id, proposal.model) == (rule.id, MODEL)


def test_an_accepted_proposal_retires_the_rule_with_its_evidence(
    retirement: Callable[..., Retirement], store: Store, rule: Rule
) -> None:
    asked = retirement()
    asked.look()
    [proposal] = asked.looked().proposals
    asked.retire(proposal, who="ann")
    retired = RuleBook(store).get(rule.id)
    assert (retired.retired or "").startswith("shop.intent.main version 1 answers 60 of 60")
    assert retired.changed_by == "ann"
    assert asked.looked().proposals == ()


def test_what_a_person_keeps_is_proposed_again_only_for_another_version(
    retirement: Callable[..., Retirement], rule: Rule
) -> None:
    asked = retirement()
    asked.look()
    [proposal] = asked.looked().proposals
    asked.keep(proposal, who="ann")
    assert asked.looked().proposals == ()
    asked.look()
    assert asked.looked().proposals == ()
    restarted = retirement()  # another process: the trail remembers
    restarted.look()
    assert restarted.looked().proposals == ()
    newer = retirement(lambda rules: learnt(rules, version=2))
    newer.look()
    assert len(newer.looked().proposals) == 1


def test_a_proposal_about_a_rule_that_was_changed_meanwhile_is_not_shown(
    retirement: Callable[..., Retirement], store: Store, rule: Rule
) -> None:
    asked = retirement()
    asked.look()
    changed = RuleBook(store).change(rule.id, rule.draft, who="bob")
    assert asked.looked().live([changed]) == []


def test_what_is_missing_is_told_with_its_rule(
    retirement: Callable[..., Retirement], rule: Rule
) -> None:
    asked = retirement(lambda rules: learnt(rules, missing="3 of 40 different texts"))
    asked.look()
    assert asked.looked().proposals == ()
    [evidence] = asked.looked().evidence[rule.id]
    assert evidence.missing == "3 of 40 different texts"


def test_a_lake_that_cannot_be_read_is_told(
    retirement: Callable[..., Retirement], rule: Rule
) -> None:
    def fails(rules: Sequence[Rule]) -> list[Evidence]:
        raise EngineError("The lake cannot be read.", remedy="Check the disk.")

    asked = retirement(fails)
    asked.look()
    assert asked.looked().problem == "The lake cannot be read. Check the disk."


def test_looking_makes_no_registry(tmp_path: Path, store: Store, rule: Rule) -> None:
    asked = Retirement(Settings(home=tmp_path), store)
    asked.look()
    assert asked.looked().problem == ""
    assert not (tmp_path / "registry.db").exists()
