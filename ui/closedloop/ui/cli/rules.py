"""``closedloop rules``: keyword rules that answer before the models do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from closedloop.defence.rules.rule import Act, Rule
    from closedloop.defence.rules.rule_book import RuleBook

rules = typer.Typer(help="Keyword rules: they go before the models.", no_args_is_help=True)

_Id = Annotated[str, typer.Argument(help="Of the rule, or the beginning of it.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
_Name = Annotated[str, typer.Option(help="What people call it.")]
_When = Annotated[
    str, typer.Option(help='The condition: coupon AND (fails OR "not valid") NOT refund*.')
]
_Answer = Annotated[str, typer.Option(help="Say this text.")]
_Intent = Annotated[str, typer.Option(help="Take the text for this intent.")]
_HandOver = Annotated[bool, typer.Option("--hand-over", help="Pass the dialogue to a person.")]
_Priority = Annotated[int, typer.Option(help="Rules with a larger one go first.")]
_Channel = Annotated[list[str], typer.Option(help="Only there; may be repeated.")]
_For = Annotated[str, typer.Option("--for", help="End after 90m, 36h, 2d or 1w.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Count the hits, and do nothing.")]


@rules.command("list")
def list_rules(
    tenant: Annotated[str, typer.Option(help="Only those that reach this tenant.")] = "",
    retired: Annotated[bool, typer.Option(help="Retired ones, too.")] = False,
    json_file: _Json = None,
) -> None:
    """Show the rules in the order in which they go.

    Example: closedloop rules list --tenant shop
    """
    from rich.table import Table

    from closedloop.defence.rules.rule import ALL_TENANTS
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    found = [
        rule
        for rule in _book().all(retired=retired)
        if not tenant or rule.tenant in (tenant, ALL_TENANTS)
    ]
    if found:
        table = Table("id", "tenant", "priority", "name", "when", "does", "state")
        for rule in found:
            row = (rule.id[:8], rule.tenant, str(rule.priority), rule.name, rule.condition)
            table.add_row(*row, _does(rule), _state(rule))
        console.print(table)
    else:
        console.print(
            'No rule yet: closedloop rules add --tenant shop --name "Coupon night"'
            ' --when "coupon fails" --answer "We are at it."',
            soft_wrap=True,
        )
    write_json(json_file, {"rules": [_as_json(rule) for rule in found]})


@rules.command("add")
def add(
    tenant: Annotated[str, typer.Option(help="Whose texts; * for every tenant's.")],
    name: _Name,
    when: _When,
    answer: _Answer = "",
    intent: _Intent = "",
    hand_over: _HandOver = False,
    priority: _Priority = 0,
    channel: _Channel = [],  # noqa: B006  # typer copies it
    lasts: _For = "",
    dry_run: _DryRun = False,
    json_file: _Json = None,
) -> None:
    """Add a rule; replicas obey it within a second.

    Example: closedloop rules add --tenant shop --name "Coupon night" --when "coupon fails"
    --answer "We are mending the coupons." --for 12h
    """
    from closedloop.core.audit import system_user
    from closedloop.defence.rules.rule import RuleDraft
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    act, value = _act(answer, intent, hand_over)
    draft = RuleDraft(
        tenant=tenant,
        name=name,
        condition=when,
        act=act,
        value=value,
        priority=priority,
        channels=tuple(channel),
        expires_at=_end(lasts),
        dry_run=dry_run,
    )
    book = _book()
    rule = book.add(draft, who=system_user())
    console.print(f"Rule {rule.id[:8]} {rule.name!r}: {_told(rule)}", soft_wrap=True, markup=False)
    _tell_findings(book, rule)
    write_json(json_file, _as_json(rule))


@rules.command("change")
def change(
    rule_id: _Id,
    name: _Name = "",
    when: _When = "",
    answer: _Answer = "",
    intent: _Intent = "",
    hand_over: _HandOver = False,
    priority: Annotated[int | None, typer.Option(help="Rules with a larger one go first.")] = None,
    lasts: _For = "",
    dry_run: Annotated[bool | None, typer.Option("--dry-run/--live", help="Only count?")] = None,
    json_file: _Json = None,
) -> None:
    """Change what is named of a rule; the rest stays.

    Example: closedloop rules change 3f2a --when "coupon* fails" --live
    """
    from dataclasses import replace

    from closedloop.core.audit import system_user
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    book = _book()
    rule = _find(book, rule_id)
    changes: dict[str, Any] = {}
    if answer or intent or hand_over:
        changes["act"], changes["value"] = _act(answer, intent, hand_over)
    given = {"name": name, "condition": when, "expires_at": _end(lasts)}
    changes |= {field: value for field, value in given.items() if value}
    switched = {"priority": priority, "dry_run": dry_run}
    changes |= {field: value for field, value in switched.items() if value is not None}
    draft = replace(rule.draft, **changes)
    changed = book.change(rule.id, draft, who=system_user(), seen=rule.revision)
    console.print(f"Rule {rule.id[:8]}: {_told(changed)}", soft_wrap=True, markup=False)
    _tell_findings(book, changed)
    write_json(json_file, _as_json(changed))


@rules.command("retire")
def retire(
    rule_id: _Id, reason: Annotated[str, typer.Option(help="Why it is needed no more.")]
) -> None:
    """End a rule; it can be restored.

    Example: closedloop rules retire 3f2a --reason "coupons work again"
    """
    from closedloop.core.audit import system_user
    from closedloop.ui.console import console

    book = _book()
    rule = book.retire(_find(book, rule_id).id, reason, who=system_user())
    console.print(f"Rule {rule.id[:8]} {rule.name!r} is retired.", soft_wrap=True, markup=False)


@rules.command("restore")
def restore(
    rule_id: _Id, revision: Annotated[int, typer.Option(help="As rules history shows it.")]
) -> None:
    """Make a rule again what it was.

    Example: closedloop rules restore 3f2a --revision 1
    """
    from closedloop.core.audit import system_user
    from closedloop.ui.console import console

    book = _book()
    rule = book.restore(_find(book, rule_id).id, revision, who=system_user())
    console.print(f"Rule {rule.id[:8]}: {_told(rule)}", soft_wrap=True, markup=False)


@rules.command("history")
def history(rule_id: _Id, json_file: _Json = None) -> None:
    """Show every revision of a rule, newest first.

    Example: closedloop rules history 3f2a
    """
    from rich.table import Table

    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    book = _book()
    changes = book.history(_find(book, rule_id).id)
    table = Table("revision", "when changed", "by", "what", "rule")
    for each in changes:
        rule = each.rule
        by = rule.changed_by or "(unknown)"
        table.add_row(str(rule.revision), _time(rule.changed_at), by, each.what, _told(rule))
    console.print(table)
    write_json(
        json_file, {"changes": [{"what": c.what, "rule": _as_json(c.rule)} for c in changes]}
    )


@rules.command("check")
def check(json_file: _Json = None) -> None:
    """Show rules that never decide because of another one.

    Example: closedloop rules check
    """
    from closedloop.defence.rules.findings import findings
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    every = _book().all()
    found = findings(every)
    for each in found:
        console.print(f"{each.trouble.value:9} {each}", soft_wrap=True, markup=False)
    if not found:
        console.print(f"{len(every):,} rules, none of which another one covers.")
    plain = [{"trouble": f.trouble.value, "rule": f.rule.id, "by": f.by.id} for f in found]
    write_json(json_file, {"rules": len(every), "findings": plain})


@rules.command("try")
def try_text(
    text: Annotated[str, typer.Argument(help="What a user might say.")],
    tenant: Annotated[str, typer.Option(help="Whose user.")],
    channel: Annotated[str, typer.Option(help="Where.")] = "",
) -> None:
    """Show which rule would decide about a text.

    Example: closedloop rules try "my coupon fails" --tenant shop
    """
    from closedloop.core.privacy import mask
    from closedloop.defence.rules.rule_set import RuleSet
    from closedloop.ui.console import console

    # Serving masks a text before rules see it.
    hits = RuleSet(_book().all()).apply(mask(text), tenant=tenant, channel=channel or None)
    decides = hits.decides
    said = f"{decides.id[:8]} {decides.name!r}: {_told(decides)}" if decides else "no rule decides"
    console.print(said, soft_wrap=True, markup=False)
    for rule in hits.dry_runs:
        console.print(f"dry run {rule.id[:8]} {rule.name!r} holds", soft_wrap=True, markup=False)


def _book() -> RuleBook:
    from closedloop.core.settings import Settings
    from closedloop.core.store import Store
    from closedloop.defence.rules.rule_book import RuleBook

    return RuleBook(Store.open(Settings().store_url))


def _find(book: RuleBook, beginning: str) -> Rule:
    from closedloop.core.errors import InputError, NotFound

    found = [rule for rule in book.all(retired=True) if rule.id.startswith(beginning)]
    if not found:
        raise NotFound(f"There is no rule {beginning!r}.", remedy="See closedloop rules list.")
    if len(found) > 1:
        raise InputError(
            f"{len(found)} rules have an id that begins with {beginning!r}.",
            remedy="Give more of it; rules list shows eight characters.",
        )
    return found[0]


def _act(answer: str, intent: str, hand_over: bool) -> tuple[Act, str]:
    from closedloop.core.errors import InputError
    from closedloop.defence.rules.rule import Act

    given = {Act.ANSWER: answer, Act.INTENT: intent, Act.HAND_OVER: hand_over}
    chosen = [act for act, value in given.items() if value]
    if len(chosen) != 1:
        raise InputError(
            "The rule does nothing." if not chosen else "The rule does several things.",
            remedy="Give one of --answer, --intent and --hand-over.",
        )
    return chosen[0], answer or intent


def _end(lasts: str) -> float | None:
    from closedloop.core.durations import duration

    return (datetime.now(UTC) + duration(lasts)).timestamp() if lasts else None


def _tell_findings(book: RuleBook, rule: Rule) -> None:
    from closedloop.defence.rules.findings import findings
    from closedloop.ui.console import console

    for found in findings(book.all()):
        if rule.id in (found.rule.id, found.by.id):
            console.print(f"{found.trouble.value}: {found}", soft_wrap=True, markup=False)


def _does(rule: Rule) -> str:
    return f"{rule.act.value}: {rule.value}" if rule.value else rule.act.value


def _told(rule: Rule) -> str:
    where = f" on {', '.join(rule.channels)}" if rule.channels else ""
    return f"{rule.condition}{where} → {_does(rule)} ({_state(rule)})"


def _state(rule: Rule) -> str:
    if rule.retired is not None:
        return f"retired: {rule.retired}"
    state = "dry run" if rule.dry_run else "live"
    if rule.expires_at is None:
        return state
    if not rule.is_live(datetime.now(UTC).timestamp()):
        return f"expired {_time(rule.expires_at)}"
    return f"{state} until {_time(rule.expires_at)}"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def _as_json(rule: Rule) -> dict[str, Any]:
    from dataclasses import asdict

    more = {name: getattr(rule, name) for name in ("id", "revision", "created_at", "changed_at")}
    return asdict(rule.draft) | more | {"changed_by": rule.changed_by, "retired": rule.retired}
