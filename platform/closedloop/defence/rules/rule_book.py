"""Where rules are kept: every change of every rule, so that each can be seen and taken back.

A rule is the last of its changes. Changes are numbered without a gap in the order in which they
become visible, so that a reader who has seen number n needs only what comes behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from closedloop.core.errors import Conflict, InputError, NotFound
from closedloop.core.schema import rule_change
from closedloop.core.store import Lock, Store, one_at_a_time
from closedloop.defence.rules.rule import Act, Rule, RuleDraft

_MAX_REASON_CHARACTERS = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change of a rule, and the rule after it."""

    sequence: int  # of all changes, from 1
    what: str  # added, changed, retired, restored
    rule: Rule


class RuleBook:
    """The rules of an installation, in its metadata store.

    Parameters
    ----------
    store : Store
        Where they are kept.
    clock : callable, optional
        Returns Unix seconds; tests move it by hand.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def add(self, draft: RuleDraft, *, who: str = "") -> Rule:
        """Keep a new rule; it applies from now on.

        Raises
        ------
        InputError
            It cannot be a rule, or would have expired already.
        """
        return self._write(str(uuid4()), "added", who, lambda _: (self._checked(draft), None))

    def change(
        self, rule_id: str, draft: RuleDraft, *, who: str = "", seen: int | None = None
    ) -> Rule:
        """Replace a rule's content; one that was retired applies again.

        Parameters
        ----------
        seen : int, optional
            The revision that the person looked at.

        Raises
        ------
        NotFound
            There is no such rule.
        Conflict
            Somebody changed it since ``seen``.
        InputError
            It cannot be a rule, or would have expired already.
        """

        def changed(now: Rule | None) -> tuple[RuleDraft, None]:
            if now is not None and seen is not None and now.revision != seen:
                raise Conflict(
                    f"{now.changed_by or 'Somebody'} changed the rule {now.name!r} meanwhile.",
                    remedy="Look at it again, and make your change anew.",
                )
            return self._checked(draft), None

        return self._write(rule_id, "changed", who, changed)

    def retire(self, rule_id: str, reason: str, *, who: str = "") -> Rule:
        """End a rule; it stays to be looked at, and can be restored.

        Raises
        ------
        NotFound
            There is no such rule.
        Conflict
            It is retired already.
        InputError
            There is no reason.
        """
        reason = reason.strip()
        if not reason or len(reason) > _MAX_REASON_CHARACTERS:
            raise InputError(
                f"The reason has {len(reason)} characters.",
                remedy=f"Say in 1 to {_MAX_REASON_CHARACTERS} why the rule is needed no more.",
            )

        def retired(now: Rule | None) -> tuple[RuleDraft, str]:
            assert now is not None
            if now.retired is not None:
                raise Conflict(
                    f"The rule {now.name!r} is retired already: {now.retired}",
                    remedy="Restore an earlier revision where it should apply again.",
                )
            return now.draft, reason

        return self._write(rule_id, "retired", who, retired)

    def restore(self, rule_id: str, revision: int, *, who: str = "") -> Rule:
        """Make a rule again what it was at a revision; that is a new revision.

        Raises
        ------
        NotFound
            There is no such rule, or it has no such revision.
        """
        past = next((c.rule for c in self.history(rule_id) if c.rule.revision == revision), None)
        if past is None:
            raise NotFound(
                f"The rule {rule_id} has no revision {revision}.",
                remedy="See closedloop rules history.",
            )
        return self._write(rule_id, "restored", who, lambda _: (past.draft, past.retired))

    def get(self, rule_id: str) -> Rule:
        """Return a rule.

        Raises
        ------
        NotFound
            There is no such rule.
        """
        return self.history(rule_id)[0].rule

    def history(self, rule_id: str) -> list[Change]:
        """Return every change of a rule, newest first.

        Raises
        ------
        NotFound
            There is no such rule.
        """
        order = rule_change.c.sequence.desc()
        wanted = sa.select(rule_change).where(rule_change.c.rule_id == rule_id).order_by(order)
        with self._store.read() as connection:
            rows = connection.execute(wanted).all()
        if not rows:
            raise NotFound(f"There is no rule {rule_id!r}.", remedy="See closedloop rules list.")
        began = rows[-1].at
        return [_change(row, began) for row in rows]

    def all(self, *, retired: bool = False) -> list[Rule]:
        """Return the rules, those first that go first; retired ones only where asked for."""
        rules = self.since(0)[1]
        wanted = rules if retired else [rule for rule in rules if rule.retired is None]
        return sorted(wanted, key=lambda rule: rule.order)

    def since(self, sequence: int) -> tuple[int, list[Rule]]:
        """Return the number of the last change, and every rule that changed behind one.

        Parameters
        ----------
        sequence : int
            Number of the last change that the caller has seen, 0 for none.
        """
        newest = sa.func.max(rule_change.c.sequence).label("newest")
        began = sa.func.min(rule_change.c.at).label("began")
        ends = (
            sa.select(newest, began)
            .group_by(rule_change.c.rule_id)
            .having(newest > sequence)
            .subquery()
        )
        wanted = sa.select(rule_change, ends.c.began).join(
            ends, rule_change.c.sequence == ends.c.newest
        )
        with self._store.read() as connection:
            last = connection.execute(sa.select(sa.func.max(rule_change.c.sequence))).scalar() or 0
            if last <= sequence:
                return last, []
            rows = connection.execute(wanted).all()
        return max(row.sequence for row in rows), [_change(row, row.began).rule for row in rows]

    def _checked(self, draft: RuleDraft) -> RuleDraft:
        checked = draft.checked()
        if checked.expires_at is not None and checked.expires_at <= self._clock():
            raise InputError(
                f"The rule {checked.name!r} would have expired already.",
                remedy="Let it end later, or never.",
            )
        return checked

    def _write(
        self,
        rule_id: str,
        what: str,
        who: str,
        make: Callable[[Rule | None], tuple[RuleDraft, str | None]],
    ) -> Rule:
        with self._store.write() as connection:
            one_at_a_time(connection, Lock.RULES)
            of_it = sa.select(rule_change).where(rule_change.c.rule_id == rule_id)
            rows = connection.execute(of_it.order_by(rule_change.c.sequence)).all()
            if not rows and what != "added":
                raise NotFound(
                    f"There is no rule {rule_id!r}.", remedy="See closedloop rules list."
                )
            now = _change(rows[-1], rows[0].at).rule if rows else None
            draft, retired = make(now)
            last = connection.execute(sa.select(sa.func.max(rule_change.c.sequence))).scalar() or 0
            row: dict[str, Any] = {
                "sequence": last + 1,
                "rule_id": rule_id,
                "revision": now.revision + 1 if now else 1,
                "what": what,
                "content": asdict(draft),
                "retired": retired,
                "at": self._clock(),
                "who": who,
            }
            connection.execute(sa.insert(rule_change).values(row))
        return _rule(row, now.created_at if now else row["at"])


def _change(row: Any, began: float) -> Change:
    return Change(sequence=row.sequence, what=row.what, rule=_rule(row._mapping, began))


def _rule(row: Mapping[str, Any], began: float) -> Rule:
    content = dict(row["content"])
    content |= {"act": Act(content["act"]), "channels": tuple(content["channels"])}
    return Rule(
        id=row["rule_id"],
        revision=row["revision"],
        created_at=began,
        changed_at=row["at"],
        changed_by=row["who"],
        retired=row["retired"],
        **content,
    )
