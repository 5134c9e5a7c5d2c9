"""When a model has learnt what a rule does: it is proposed to retire the rule.

A rule is a bandage. While it decides, the models are asked all the same (in `predict`, and beside
turns), so that their answers to the rule's own traffic are known. Where the champion's agree with
what the rule means, on enough different texts, the rule is needed no more. A person decides.

What a rule means is an intent: the one that it names, or, where it says a text or hands over, the
one that people gave to nearly all labelled texts of which its condition holds; where they gave
none, nothing can be proposed. Different texts count, not how often they came: a champion answers
one text alike each time. The share is judged by the lower bound of its Wilson interval. Texts that
the model was trained on prove less, so a proposal tells how many of its texts they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from closedloop.core.errors import NotFound
from closedloop.core.proportion import Interval, wilson
from closedloop.defence.rules.rule import Act, Rule
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.defence.rules.rule_set import RuleSet
from closedloop.samples.normal_form import normalise


@dataclass(frozen=True, kw_only=True, slots=True)
class RetirementPolicy:
    """What a model must show before a rule is proposed to be retired."""

    least_texts: int = 40  # different ones
    least_agreement: float = 0.9  # lower bound of the share that it answers as the rule means
    least_confidence: float = 0.5  # an answer below counts as none: a turn would not give it
    days: float = 14.0  # how far back answers count
    # Labelled texts that tell what a rule means that names no intent, and how many must agree.
    least_labels: int = 5
    least_label_share: float = 0.9
    # A model that got a smaller part of the rule's traffic need not have learnt it.
    least_share: float = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """How one champion answers one rule's traffic."""

    rule: Rule
    model: str
    version: int
    means: str  # the intent that the rule stands for; empty where nothing tells
    texts: int  # different ones
    times: int  # they came
    agreeing: int  # texts that it answers with that intent, and surely enough
    trained_on: int  # texts that are among the model's labels
    agreement: Interval
    missing: str  # why this is not enough; empty where it is

    def __str__(self) -> str:
        """Say it in words; this becomes the reason of a retirement."""
        return (
            f"{self.model} version {self.version} answers {self.agreeing:,} of {self.texts:,}"
            f" different texts of this rule with “{self.means}”, as the rule does"
            f" (at least {self.agreement.low:.0%}, Wilson 95 %); {self.trained_on:,} of them it was"
            f" trained on; they came {self.times:,} times."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A rule that is needed no more, with what shows it."""

    rule: Rule
    model: str  # the one that gets most of the rule's texts
    version: int
    texts: int
    agreement: Interval  # its lower bound is what counts
    evidence: tuple[Evidence, ...]  # of every model that gets a part of them

    @property
    def reason(self) -> str:
        """Why the rule may go, for its history."""
        return str(self.evidence[0])[:400]


def proposals(found: Sequence[Evidence]) -> list[Proposal]:
    """Return the rules that every model that gets their traffic has learnt.

    Parameters
    ----------
    found : sequence of Evidence
        Of `weigh`.
    """
    by_rule: dict[str, list[Evidence]] = {}
    for each in found:
        by_rule.setdefault(each.rule.id, []).append(each)
    ready = [each for each in by_rule.values() if not any(one.missing for one in each)]
    return [
        Proposal(
            rule=each[0].rule,
            model=each[0].model,
            version=each[0].version,
            texts=each[0].texts,
            agreement=each[0].agreement,
            evidence=tuple(each),
        )
        for each in ready
    ]


def weigh(
    rules: Iterable[Rule],
    answers: pl.DataFrame,
    labels: pl.DataFrame,
    champions: Mapping[str, int],
    *,
    policy: RetirementPolicy | None = None,
) -> list[Evidence]:
    """Return how champions answer the traffic of rules, the most texts of each rule first.

    Parameters
    ----------
    rules : iterable of Rule
        Those that decide now; dry runs and retired ones are passed over.
    answers : DataFrame
        Of `retirement_evidence.rule_answers`: a row for each rule, model, version and text.
    labels : DataFrame
        ``model``, ``text`` and ``label``: what people said.
    champions : mapping
        Version by model.
    """
    policy = policy or RetirementPolicy()
    deciding = [rule for rule in rules if rule.retired is None and not rule.dry_run]
    meanings = _meanings(deciding, labels, policy)
    taught: dict[str, set[str]] = {}
    for model, text in labels.select("model", "text").iter_rows():
        taught.setdefault(model, set()).add(normalise(text))
    rows: dict[str, dict[str, list[tuple[str, str, float, int]]]] = {}
    total: Counter[str] = Counter()
    for rule_id, model, version, text, answer, confidence, times in answers.select(
        "rule_id", "model", "version", "text", "answer", "confidence", "times"
    ).iter_rows():
        if champions.get(model) == version:
            of_rule = rows.setdefault(rule_id, {}).setdefault(model, [])
            of_rule.append((text, answer, confidence, times))
            total[rule_id] += times
    found = []
    for rule in deciding:
        own = [
            _evidence(
                rule,
                model,
                champions[model],
                of_model,
                means=rule.value if rule.act is Act.INTENT else meanings.get((rule.id, model), ""),
                taught=taught.get(model, set()),
                policy=policy,
            )
            for model, of_model in rows.get(rule.id, {}).items()
        ]
        own = [each for each in own if each.times >= policy.least_share * total[rule.id]]
        found += sorted(own, key=lambda each: (-each.texts, each.model))
    return found


def accept(book: RuleBook, proposal: Proposal, *, who: str) -> Rule:
    """Retire a rule with its evidence as the reason.

    Raises
    ------
    NotFound, Conflict
        There is no such rule, or somebody retired it.
    """
    return book.retire(proposal.rule.id, proposal.reason, who=who)


def chosen(found: Sequence[Proposal], rule_id: str) -> Proposal:
    """Return the proposal about a rule, named by the beginning of its id.

    Raises
    ------
    NotFound
        There is none, or there are several.
    """
    matching = [each for each in found if each.rule.id.startswith(rule_id)]
    if not rule_id or len(matching) != 1:
        raise NotFound(
            f"{len(matching)} proposals are about a rule {rule_id!r}.",
            remedy="See closedloop rules proposals, and give more of the id.",
        )
    return matching[0]


def _evidence(
    rule: Rule,
    model: str,
    version: int,
    rows: Sequence[tuple[str, str, float, int]],
    *,
    means: str,
    taught: set[str],
    policy: RetirementPolicy,
) -> Evidence:
    of_text: dict[str, bool] = {}
    times = 0
    for text, answer, confidence, count in rows:
        agrees = answer == means and confidence >= policy.least_confidence
        normal = normalise(text)
        # Forms of one text are one text; it agrees where each of them does.
        of_text[normal] = agrees and of_text.get(normal, True)
        times += count
    agreeing = sum(of_text.values()) if means else 0
    found = Evidence(
        rule=rule,
        model=model,
        version=version,
        means=means,
        texts=len(of_text),
        times=times,
        agreeing=agreeing,
        trained_on=len(of_text.keys() & taught),
        agreement=wilson(agreeing, len(of_text)),
        missing="",
    )
    return replace(found, missing=_missing(found, policy))


def _missing(found: Evidence, policy: RetirementPolicy) -> str:
    if not found.means:
        return "no labelled texts tell which intent the rule stands for"
    if found.texts < policy.least_texts:
        return f"{found.texts:,} of {policy.least_texts:,} different texts"
    if found.agreement.low < policy.least_agreement:
        return (
            f"it agrees on {found.agreement.value:.0%} of them, at least"
            f" {found.agreement.low:.0%}; {policy.least_agreement:.0%} is needed"
        )
    return ""


def _meanings(
    rules: Sequence[Rule], labels: pl.DataFrame, policy: RetirementPolicy
) -> dict[tuple[str, str], str]:
    """Return, by rule and model, the intent that labelled texts give to rules that name none."""
    # As dry runs, all that hold of a text are found in one pass.
    others = [replace(rule, dry_run=True) for rule in rules if rule.act is not Act.INTENT]
    conditions = RuleSet(replace(rule, expires_at=None, channels=()) for rule in others)
    given: dict[tuple[str, str], Counter[str]] = {}
    for model, text, label in labels.select("model", "text", "label").iter_rows():
        tenant = model.partition(".")[0]
        for rule in conditions.apply(text, tenant=tenant).dry_runs:
            given.setdefault((rule.id, model), Counter())[label] += 1
    meanings = {}
    for place, counts in given.items():
        label, count = counts.most_common(1)[0]
        total = counts.total()
        if total >= policy.least_labels and count >= policy.least_label_share * total:
            meanings[place] = label
    return meanings
