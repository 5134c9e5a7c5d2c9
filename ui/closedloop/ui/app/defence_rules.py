"""The rules that are live, what they met in the last hour, and which of them can go."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import tzinfo

import polars as pl
import streamlit as st

from closedloop.defence.rules.retirement import Evidence, Proposal
from closedloop.defence.rules.rule import ALL_TENANTS, Rule
from closedloop.defence.rules.rule_set import RuleSet
from closedloop.ui.app.defence_acts import IssueActs, does
from closedloop.ui.app.defence_desk import Notice
from closedloop.ui.app.defence_detail import time_zone
from closedloop.ui.app.defence_traffic import Hour, last_hour
from closedloop.ui.app.defence_words import moment
from closedloop.ui.app.markdown_text import literal
from closedloop.ui.app.services import Services

_HITS_TTL_S = 15
_LOOK_AGAIN_S = 4
_MOST_TEXTS = 5_000  # of an hour that rules are counted on
_MOST_SHOWN = 100
_NO_MORE = "retired on the Defence page"


def show_rules(shared: Services, acts: IssueActs) -> None:
    """Show the live rules with what they met, and which the models made needless."""
    zone, now = time_zone(), time.time()
    live = [rule for rule in shared.rules.all() if rule.is_live(now)]
    _proposals(shared, acts)
    if not live:
        st.info(
            "No keyword rule is live. One is added beside an issue, or by `closedloop rules add`.",
            icon=":material/rule:",
        )
        return
    wanted = st.text_input(
        "Find",
        key="defence_rules_find",
        placeholder="Find a rule by its name, condition, tenant or author",
        label_visibility="collapsed",
    )
    shown = [rule for rule in live if _fits(rule, wanted)]
    folder = str(shared.settings.defence_folder / "recent")
    hits = _hits(folder, _revision(live), _rules=live)
    shown.sort(key=lambda rule: -hits.get(rule.id, 0))
    st.caption(f"{len(shown):,} of {len(live):,} live rules; those that met most come first.")
    evidence = shared.retirement.looked().evidence
    for rule in shown[:_MOST_SHOWN]:
        _show_rule(acts, rule, hits.get(rule.id, 0), evidence.get(rule.id, ()), zone)
    if len(shown) > _MOST_SHOWN:
        st.caption(f"{len(shown) - _MOST_SHOWN:,} more; find them by their words.")


@st.fragment(run_every=_LOOK_AGAIN_S)
def _proposals(shared: Services, acts: IssueActs) -> None:
    if acts.desk.stale:
        st.rerun()
    looked = shared.retirement.looked()
    live = [rule for rule in shared.rules.all() if rule.is_live(time.time())]
    if not looked.at:
        st.caption("Looking at what the models have learnt …")
        return
    if looked.problem:
        st.warning(f"What the models have learnt is not known: {literal(looked.problem)}")
        return
    found = looked.live(live)
    if not found and live:
        st.caption("No model has learnt yet what a live rule does; rules stay.")
    for proposal in found:
        _show_proposal(shared, acts, proposal)


def _show_proposal(shared: Services, acts: IssueActs, proposal: Proposal) -> None:
    rule = proposal.rule

    def retire() -> Notice:
        shared.retirement.retire(proposal, who=acts.who)
        return Notice(said=f"The rule “{rule.name}” is retired: the model answers alone.")

    def keep() -> Notice:
        shared.retirement.keep(proposal, who=acts.who)
        return Notice(said=f"The rule “{rule.name}” stays.")

    row = st.container(border=True, key=f"defence_proposal_{rule.id}")
    with row, st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(gap=None):
            st.markdown(f":material/school: **{literal(rule.name)}** is needed no more")
            st.caption(literal(proposal.reason))
        st.button(
            "Retire",
            type="primary",
            key=f"defence_accept_{rule.id}",
            on_click=acts.do,
            args=(retire,),
        )
        st.button("Keep", key=f"defence_keep_{rule.id}", on_click=acts.do, args=(keep,))


def _show_rule(
    acts: IssueActs, rule: Rule, hits: int, evidence: Sequence[Evidence], zone: tzinfo
) -> None:
    row = st.container(border=True, key=f"defence_rule_{rule.id}")
    with row, st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(gap=None):
            dry = "  :gray-badge[dry run]" if rule.dry_run else ""
            st.markdown(f"**{literal(rule.name)}**{dry}")
            st.markdown(f"{literal(rule.condition)} → {literal(does(rule))}")
            st.caption(literal(_standing(rule, hits, zone)))
            for each in evidence:
                if each.missing:
                    said = f"{each.model} version {each.version} has not learnt it: {each.missing}"
                    st.caption(literal(f"{said}."))
        st.button(
            "Retire",
            icon=":material/block:",
            key=f"defence_retire_{rule.id}",
            on_click=acts.retire_rule,
            args=(rule.id, _NO_MORE),
        )


def _standing(rule: Rule, hits: int, zone: tzinfo) -> str:
    tenant = "every tenant" if rule.tenant == ALL_TENANTS else rule.tenant
    where = f"{tenant}, {', '.join(rule.channels) or 'every channel'}"
    ends = f"ends {moment(rule.expires_at, zone)}" if rule.expires_at else "without an end"
    by = f" by {rule.changed_by}" if rule.changed_by else ""
    did = "would have decided" if rule.dry_run else "decided"
    return (
        f"{did} {hits:,} texts of the last hour · {where} · {ends} · "
        f"since {moment(rule.created_at, zone)}{by}"
    )


def hits_of(rules: Sequence[Rule], hours: dict[str, Hour]) -> dict[str, int]:
    """Return how many texts of the last hour each rule decided, or would have as a dry run.

    Parameters
    ----------
    hours : dict
        The last hour of each tenant.
    """
    compiled = RuleSet(rules)
    counts: Counter[str] = Counter()
    for tenant, hour in hours.items():
        texts = hour.texts.head(0) if hour.texts.is_empty() else _sampled(hour.texts)
        scale = hour.of / max(1, texts.height)
        said = texts.group_by("text", "channel").agg(pl.len().alias("count"))
        for text, channel, count in said.iter_rows():
            found = compiled.apply(text, tenant=tenant, channel=channel)
            for rule in (*([found.decides] if found.decides else []), *found.dry_runs):
                counts[rule.id] += count * scale
    return {rule: round(count) for rule, count in counts.items()}


def _sampled(texts: pl.DataFrame) -> pl.DataFrame:
    return texts if texts.height <= _MOST_TEXTS else texts.sample(_MOST_TEXTS, seed=0)


@st.cache_data(ttl=_HITS_TTL_S, show_spinner="Counting what the rules met …", max_entries=4)
def _hits(folder: str, revision: int, _rules: Sequence[Rule]) -> dict[str, int]:
    from pathlib import Path

    from closedloop.defence.recent_traffic import RecentTraffic

    tenants = RecentTraffic(Path(folder)).tenants()
    return hits_of(_rules, {tenant: last_hour(folder, tenant) for tenant in tenants})


def _revision(rules: Sequence[Rule]) -> int:
    return hash(tuple((rule.id, rule.revision) for rule in rules))


def _fits(rule: Rule, wanted: str) -> bool:
    words = wanted.casefold().split()
    said = " ".join(
        (rule.name, rule.condition, rule.value, rule.tenant, rule.changed_by)
    ).casefold()
    return all(word in said for word in words)
