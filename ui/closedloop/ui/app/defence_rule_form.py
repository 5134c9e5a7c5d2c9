"""The keyword rule beside an issue: suggested, edited, tried on the last hour, added."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from closedloop.core.errors import ClosedLoopError
from closedloop.defence.issues.issue import Issue
from closedloop.defence.rules.preview import Preview
from closedloop.defence.rules.suggestion import Suggestion
from closedloop.ui.app.defence_acts import IssueActs, does
from closedloop.ui.app.defence_desk import Desk, Notice
from closedloop.ui.app.defence_rule_draft import (
    ACTS,
    EVERY_TENANT,
    LASTS_H,
    RuleForm,
    first_form,
)
from closedloop.ui.app.defence_traffic import previewed, suggested
from closedloop.ui.app.defence_words import plain_as_html
from closedloop.ui.app.markdown_text import literal

_FIELDS = (
    *("name", "condition", "act", "answer", "intent", "lasts", "tenant", "channels", "dry_run"),
)


def rule_form(
    here: Desk,
    acts: IssueActs,
    issue: Issue,
    folder: str,
    *,
    intents: Sequence[str],
    added: Sequence[str],
) -> None:
    """Show the form of an issue's rule, and what the rule would match.

    Parameters
    ----------
    folder : str
        Of the recent traffic.
    intents : sequence of str
        To choose from; others can be typed.
    added : sequence of str
        Ids of the rules that were added because of this issue.
    """
    with st.spinner("Looking for words that tell it from the rest …"):
        found = suggested(folder, issue)
    first = first_form(issue, found[0].condition if found else " ".join(issue.sighting.terms[:2]))
    keys = {name: here.form_key(issue.id, name) for name in _FIELDS}
    _show_suggestions(here, issue, found, keys)
    # What a widget shows at first is given as its default: a value that is set from here is lost
    # where the next act of a person ends this run before the browser has heard of it.
    draft = {
        name: here.drafts.setdefault((issue.id, name), getattr(first, name)) for name in _FIELDS
    }
    fields = _show_fields(issue, keys, draft, intents)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Add rule",
            type="primary",
            icon=":material/add_circle:",
            key="defence_add",
            on_click=_add,
            args=(acts, issue, keys),
            help="Shift R",
        )
        dry_run = st.toggle(
            "Dry run",
            value=draft["dry_run"],
            key=keys["dry_run"],
            help="Only counted: nobody sees it.",
        )
        form = RuleForm(**fields, dry_run=dry_run)
        st.caption(literal(_in_words(form)), width="stretch")
    for name in _FIELDS:
        here.drafts[issue.id, name] = getattr(form, name)
    _show_preview(issue, form, folder)
    _show_added(acts, issue, added)


def _show_added(acts: IssueActs, issue: Issue, added: Sequence[str]) -> None:
    now = time.time()
    for rule in (acts.rules.get(rule_id) for rule_id in added):
        if not rule.is_live(now):
            continue
        with st.container(horizontal=True, vertical_alignment="center", key=f"defence_r_{rule.id}"):
            live = ":gray-badge[dry run]" if rule.dry_run else ":green-badge[live]"
            with st.container():
                st.markdown(f"{live} {literal(rule.condition)} → {literal(does(rule))}")
            st.button(
                "Retire",
                icon=":material/block:",
                key=f"defence_retire_{rule.id}",
                on_click=acts.retire_rule,
                args=(rule.id, "retired beside its issue", issue.id),
            )


def _show_suggestions(
    here: Desk, issue: Issue, found: list[Suggestion], keys: Mapping[str, str]
) -> None:
    if not found:
        st.caption("No few words tell these texts from the rest; write the condition yourself.")
        return
    with st.container(gap=None, key="defence_suggestions"):
        for place, one in enumerate(found):
            st.button(
                f"{literal(one.condition)}  :gray[{one.recall:.0%} of them]",
                icon=":material/lightbulb:",
                key=f"defence_suggestion_{place}",
                type="tertiary",
                help=f"{one.precision:.0%} of what it matches is of this issue.",
                on_click=_take,
                args=(here, issue.id, keys, one.condition),
            )


def _take(here: Desk, issue_id: int, keys: Mapping[str, str], condition: str) -> None:
    # What was typed elsewhere in the form may come with this very click.
    for name, value in _shown(here, issue_id, keys).items():
        here.drafts[issue_id, name] = value
    here.fill(issue_id, "condition", condition)


def _shown(here: Desk, issue_id: int, keys: Mapping[str, str]) -> dict[str, Any]:
    """Return what the widgets show now; for those that are not there, what they last did."""
    shown = {name: st.session_state.get(key) for name, key in keys.items()}
    said: dict[str, Any] = {
        name: here.drafts.get((issue_id, name)) if value is None else value
        for name, value in shown.items()
    }
    return {**said, "channels": tuple(said["channels"] or ())}


def _show_fields(
    issue: Issue, keys: Mapping[str, str], draft: Mapping[str, Any], intents: Sequence[str]
) -> dict[str, Any]:
    """Show all but the dry run, and return what the widgets say."""
    said = dict(draft)
    del said["dry_run"]
    said["condition"] = st.text_area(
        "Where a text has",
        value=draft["condition"],
        key=keys["condition"],
        height=68,
        max_chars=2_000,
        help='coupon AND (fails OR "not valid") NOT refund*',
    )
    said["act"] = st.segmented_control(
        "the assistant shall", list(ACTS), default=draft["act"], key=keys["act"], required=True
    )
    if said["act"] == "Say":
        said["answer"] = st.text_area(
            "Answer",
            value=draft["answer"],
            key=keys["answer"],
            height=68,
            max_chars=2_000,
            label_visibility="collapsed",
            placeholder="What it says",
        )
    elif said["act"] == "Take for an intent":
        intent = draft["intent"]
        options = list(dict.fromkeys([*intents, *([intent] if intent else [])]))
        said["intent"] = st.selectbox(
            "Intent",
            options,
            index=options.index(intent) if intent else None,
            key=keys["intent"],
            accept_new_options=True,
            label_visibility="collapsed",
            placeholder="Choose an intent, or type one",
        )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        lasts, tenants = list(LASTS_H), [issue.tenant, EVERY_TENANT]
        said["lasts"] = st.selectbox(
            "for", lasts, index=lasts.index(draft["lasts"]), key=keys["lasts"], width=140
        )
        said["tenant"] = st.selectbox(
            "of", tenants, index=tenants.index(draft["tenant"]), key=keys["tenant"], width=130
        )
        seen = {name for name in issue.sighting.channels if name}
        chosen = st.multiselect(
            "on",
            sorted(seen | set(draft["channels"])),
            default=list(draft["channels"]),
            key=keys["channels"],
            placeholder="every channel",
            width=165,
        )
        said["channels"] = tuple(chosen)
        said["name"] = st.text_input(
            "called", value=draft["name"], key=keys["name"], max_chars=120, width=150
        )
    return said


def _add(acts: IssueActs, issue: Issue, keys: Mapping[str, str]) -> None:
    # All is read before anything is done: reading may end this, and half an act must not stay.
    said = _shown(acts.desk, issue.id, keys)
    try:
        form = RuleForm(**said)
        draft = form.draft(time.time())
    except ClosedLoopError as error:
        acts.desk.tell(Notice(said=str(error), problem=True))
        return
    acts.add_rule(issue.id, draft)


def _in_words(form: RuleForm) -> str:
    where = f"{form.tenant}, {', '.join(form.channels) or 'every channel'}"
    return f"{'Only counts' if form.dry_run else 'Applies'} for {form.lasts}; {where}."


def _show_preview(issue: Issue, form: RuleForm, folder: str) -> None:
    try:
        found = previewed(
            folder, issue.tenant, form.condition, issue.sighting.micros, form.channels
        )
    except ClosedLoopError as error:
        st.warning(literal(str(error)), icon=":material/edit:")
        return
    st.markdown(preview_in_words(found))
    if found.examples_outside:
        st.caption("Others that it would match, too:")
        st.html(plain_as_html(found.examples_outside[:5]))


def preview_in_words(found: Preview) -> str:
    """Return what a condition would have matched, as Markdown.

    Examples
    --------
    >>> preview_in_words(found)  # doctest: +SKIP
    'In the last hour it would match **1,204** texts, **12** of them outside this issue.'
    """
    if not found.texts:
        return "There is no traffic of the last hour to try it on."
    about = "about " if found.is_sampled else ""
    others = f"{about}**{found.outside:,}** of them" if found.outside else "none of them"
    return (
        f"In the last hour it would match {about}**{found.matched:,}** of {found.sampled_of:,} "
        f"texts, {others} outside this issue."
    )
