"""What a person does about an issue: each act is done whole, told, and can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from closedloop.core.errors import ClosedLoopError, Conflict, NotAllowed
from closedloop.core.identity import Identities
from closedloop.defence.issues.issue import Issue, IssueAct, IssueState
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.rules.findings import findings
from closedloop.defence.rules.rule import Rule, RuleDraft
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.ui.app.defence_desk import Desk, Notice
from closedloop.ui.app.defence_words import headline

RULE_ADDED = "added a rule"
RULE_RETIRED = "retired a rule"
SENT = "sent to annotation"
REPAIR = "started a repair"
_TOOK_IN, _LET_GO = "took in", "let go"
_CHANGING = ("snoozed", "assigned", "renamed", "resolved", "reopened", "merged", "split")
_BY_STREAM = ("opened", "reopened", "joined", "faded")


@dataclass(frozen=True, kw_only=True, slots=True)
class IssueActs:
    """The acts of one person; none raises: what went wrong is told on his desk."""

    book: IssueBook
    rules: RuleBook
    identities: Identities
    desk: Desk
    who: str

    def snooze(self, issue_id: int, seen: int, until: float, said: str) -> None:
        """Take an issue off the board for a while."""
        self._change(
            issue_id,
            seen,
            lambda rev: self.book.snooze(issue_id, until, who=self.who, seen=rev),
            lambda issue: f"“{headline(issue)}” is snoozed {said}.",
        )

    def assign(self, issue_id: int, seen: int, to: str) -> None:
        """Give an issue to a person."""
        whose = "yours" if to == self.who else f"{to}’s" if to else "nobody’s"
        self._change(
            issue_id,
            seen,
            lambda rev: self.book.assign(issue_id, to, who=self.who, seen=rev),
            lambda issue: f"“{headline(issue)}” is {whose} now.",
        )

    def rename(self, issue_id: int, seen: int, title: str) -> None:
        """Call an issue by other words."""
        self._change(
            issue_id,
            seen,
            lambda rev: self.book.rename(issue_id, title, who=self.who, seen=rev),
            lambda issue: f"It is called “{headline(issue)}” now.",
        )

    def resolve(self, issue_id: int, seen: int, reason: str) -> None:
        """Close an issue."""
        self._change(
            issue_id,
            seen,
            lambda rev: self.book.resolve(issue_id, reason, who=self.who, seen=rev),
            lambda issue: f"“{headline(issue)}” is resolved. It comes back where it rises anew.",
        )

    def reopen(self, issue_id: int, seen: int) -> None:
        """Put an issue back on the board."""
        self._change(
            issue_id,
            seen,
            lambda rev: self.book.reopen(issue_id, who=self.who, seen=rev),
            lambda issue: f"“{headline(issue)}” is open again.",
        )

    def merge(self, issue_id: int, seen: int, into: int) -> None:
        """Let an issue count with another one, and look at that."""

        def merged(rev: int) -> Issue:
            target = self.book.merge(issue_id, into, who=self.who, seen=rev)
            self.desk.choose(target.id)
            return target

        self._change(issue_id, seen, merged, lambda into: f"It counts with “{headline(into)}” now.")

    def split(self, issue_id: int, seen: int, micros: Sequence[int]) -> None:
        """Make a part of an issue one of its own."""
        self._change(
            issue_id,
            seen,
            lambda rev: self.book.split(issue_id, micros, who=self.who, seen=rev),
            lambda made: (
                f"{len(micros)} groups are issue {made.id} of their own now. "
                "Its figures come with the stream’s next report."
            ),
        )

    def add_rule(self, issue_id: int, draft: RuleDraft) -> None:
        """Add a keyword rule because of an issue."""

        def added() -> Notice:
            rule = self.rules.add(draft, who=self.who)
            details = {"rule": rule.id, "said": f"{rule.condition} → {does(rule)}"}
            self.book.note(issue_id, RULE_ADDED, details, who=self.who)
            said = "runs dry: it only counts" if rule.dry_run else "applies from now on"
            trouble = self._trouble(rule)
            return Notice(
                said=f"The rule “{rule.name}” {said}.{trouble}",
                undo=issue_id,
                problem=bool(trouble),
            )

        self.do(added)

    def retire_rule(self, rule_id: str, reason: str, issue_id: int | None = None) -> None:
        """End a rule; the issue that it was added because of remembers it."""

        def retired() -> Notice:
            rule = self.rules.retire(rule_id, reason, who=self.who)
            if issue_id is not None:
                details = {"rule": rule_id, "said": rule.name}
                self.book.note(issue_id, RULE_RETIRED, details, who=self.who)
            return Notice(said=f"The rule “{rule.name}” is retired.")

        self.do(retired)

    def undo(self, issue_id: int) -> None:
        """Take back the last act on an issue that is not taken back yet."""

        def undone() -> Notice:
            act = last_to_take_back(self.book.history(issue_id))
            if act is None:
                raise Conflict(
                    "Nothing was done with this issue that could be taken back.",
                    remedy="Its history shows what was.",
                )
            if act.what == RULE_ADDED:
                return self._take_rule_back(issue_id, act)
            if act.what == _TOOK_IN:
                part = int(act.details["issue"])
                issue = self.book.undo(part, who=self.who)
                self.book.note(issue_id, _LET_GO, {"issue": part}, who=self.who)
                self.desk.choose(part)
                return Notice(said=f"Taken back: “{headline(issue)}” is an issue of its own again.")
            seen = self.book.get(issue_id).revision
            issue = self.book.undo(issue_id, who=self.who)
            self.desk.moved(issue_id, seen, issue.revision)
            self.desk.choose(issue_id)
            whose = "" if act.who == self.who else f", by {act.who}"
            return Notice(said=f"Taken back: “{headline(issue)}” was {act.what}{whose}.")

        self.do(undone)

    def note(self, issue_id: int, what: str, said: str, notice: Notice) -> None:
        """Keep what was done because of an issue, and tell it."""

        def noted() -> Notice:
            self.book.note(issue_id, what, {"said": said}, who=self.who)
            return notice

        self.do(noted)

    def do(self, act: Callable[[], Notice], *, of: int | None = None) -> None:
        """Do something and tell what came of it.

        Parameters
        ----------
        of : int, optional
            The issue that it changes, to say who was faster.
        """
        try:
            self._check_person()
            self.desk.tell(act())
        except Conflict as error:
            said = f"{self._who_was_faster(of)}{error}"
            self.desk.tell(Notice(said=said, problem=True))
        except ClosedLoopError as error:
            self.desk.tell(Notice(said=str(error), problem=True))

    def _take_rule_back(self, issue_id: int, act: IssueAct) -> Notice:
        rule_id = str(act.details["rule"])
        rule = self.rules.get(rule_id)
        if rule.retired is None:
            rule = self.rules.retire(rule_id, "taken back on the Defence page", who=self.who)
        details = {"rule": rule_id, "said": rule.name}
        self.book.note(issue_id, RULE_RETIRED, details, who=self.who)
        return Notice(said=f"Taken back: the rule “{rule.name}” is retired.")

    def _trouble(self, rule: Rule) -> str:
        found = [each for each in findings(self.rules.all()) if each.rule.id == rule.id]
        return f" But {found[0]}" if found else ""

    def _change(
        self,
        issue_id: int,
        seen: int,
        act: Callable[[int], Issue],
        said: Callable[[Issue], str],
    ) -> None:
        def changed() -> Notice:
            revision = self.desk.revision(issue_id, seen)
            issue = act(revision)
            # A merge and a split return the other issue; this one went on by one revision.
            after = issue.revision if issue.id == issue_id else revision + 1
            self.desk.moved(issue_id, revision, after)
            return Notice(said=said(issue), undo=issue_id)

        self.do(changed, of=issue_id)

    def _who_was_faster(self, issue_id: int | None) -> str:
        if issue_id is None:
            return ""
        last = next((act for act in self.book.history(issue_id) if act.what in _CHANGING), None)
        if last is None:
            return ""
        return f"{last.who or 'The stream'} was faster ({last.what}). "

    def _check_person(self) -> None:
        # The session's state is not asked: that could end the act.
        here = {user.name: user for user in self.identities.users()}
        if self.who not in here or here[self.who].disabled:
            raise NotAllowed("Your account was disabled.", remedy="Ask an administrator.")


def last_to_take_back(history: Sequence[IssueAct]) -> IssueAct | None:
    """Return the last act that an undo would take back; None where there is none.

    Parameters
    ----------
    history : sequence of IssueAct
        The newest first, as the book gives it.
    """
    stack: list[IssueAct] = []
    for act in reversed(history):
        if act.what in _BY_STREAM and not act.who:
            # What people had decided before was changed by the stream; rules stay theirs.
            stack = [each for each in stack if each.what == RULE_ADDED]
        elif act.what in (*_CHANGING, RULE_ADDED, _TOOK_IN):
            stack.append(act)
        elif act.what == "undone":
            _drop_last(stack, lambda each: each.what in _CHANGING)
        elif act.what == RULE_RETIRED:
            _drop_last(stack, partial(_is_of, RULE_ADDED, "rule", act.details.get("rule")))
        elif act.what == _LET_GO:
            _drop_last(stack, partial(_is_of, _TOOK_IN, "issue", act.details.get("issue")))
    return stack[-1] if stack else None


def does(rule: RuleDraft) -> str:
    """Return what a rule does, in words."""
    return {
        "answer": f"say “{rule.value}”",
        "intent": f"take it for {rule.value}",
        "hand-over": "hand over to a person",
    }[rule.act.value]


def can_reopen(issue: Issue) -> bool:
    """Tell whether an issue can be put back on the board as it is."""
    return issue.state in (IssueState.SNOOZED, IssueState.RESOLVED)


def _is_of(what: str, name: str, value: object, act: IssueAct) -> bool:
    return act.what == what and act.details.get(name) == value


def _drop_last(stack: list[IssueAct], fits: Callable[[IssueAct], bool]) -> None:
    for place in range(len(stack) - 1, -1, -1):
        if fits(stack[place]):
            del stack[place]
            return
