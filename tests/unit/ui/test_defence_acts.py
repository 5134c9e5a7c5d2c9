import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from closedloop.core.identity import Identities
from closedloop.core.store import Store
from closedloop.defence.issues.issue import Issue, IssueState
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting
from closedloop.defence.rules.rule import Act, RuleDraft
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.ui.app.defence_acts import IssueActs, last_to_take_back
from closedloop.ui.app.defence_desk import Desk

MakeSighting = Callable[..., Sighting]
RULE = RuleDraft(
    tenant="shop", name="Coupons", condition="coupon", act=Act.ANSWER, value="We are on it."
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    people = Identities(opened)
    for name in ("ann", "bob"):
        people.add_user(name, "correct horse")
    yield opened
    opened.close()


@pytest.fixture
def book(store: Store) -> IssueBook:
    return IssueBook(store)


@pytest.fixture
def issue(book: IssueBook, sighting: MakeSighting) -> Issue:
    [opened] = book.publish("shop", [sighting(1)])
    return opened


@pytest.fixture
def acts(store: Store, book: IssueBook) -> Callable[[str], IssueActs]:
    def of(who: str) -> IssueActs:
        return IssueActs(
            book=book, rules=RuleBook(store), identities=Identities(store), desk=Desk(), who=who
        )

    return of


def told(acts: IssueActs) -> str:
    assert acts.desk.notice is not None
    return acts.desk.notice.said


def test_an_act_is_done_told_and_can_be_taken_back(
    acts: Callable[[str], IssueActs], book: IssueBook, issue: Issue
) -> None:
    ann = acts("ann")
    ann.snooze(issue.id, issue.revision, time.time() + 900, "for 15 minutes")
    assert book.get(issue.id).state is IssueState.SNOOZED
    assert told(ann) == "“The coupon fails at checkout” is snoozed for 15 minutes."
    assert ann.desk.notice is not None
    assert ann.desk.notice.undo == issue.id
    ann.undo(issue.id)
    assert book.get(issue.id).state is IssueState.OPEN
    assert told(ann) == "Taken back: “The coupon fails at checkout” was snoozed."


def test_own_acts_in_a_row_are_no_surprise(
    acts: Callable[[str], IssueActs], book: IssueBook, issue: Issue
) -> None:
    ann, seen = acts("ann"), issue.revision
    ann.assign(issue.id, seen, "ann")
    ann.rename(issue.id, seen, "Coupon night")
    ann.undo(issue.id)
    ann.rename(issue.id, seen, "Coupons at midnight")
    now = book.get(issue.id)
    assert (now.title, now.standing.assigned_to) == ("Coupons at midnight", "ann")


def test_who_was_faster_is_told_and_his_act_stays(
    acts: Callable[[str], IssueActs], book: IssueBook, issue: Issue
) -> None:
    ann, bob = acts("ann"), acts("bob")
    bob.assign(issue.id, issue.revision, "bob")
    ann.rename(issue.id, issue.revision, "Coupon night")
    assert told(ann).startswith("bob was faster (assigned). Somebody changed the issue")
    assert ann.desk.notice is not None
    assert ann.desk.notice.problem
    assert book.get(issue.id).standing.assigned_to == "bob"
    assert book.get(issue.id).standing.title == ""


def test_own_acts_do_not_hide_those_of_another(
    acts: Callable[[str], IssueActs], book: IssueBook, issue: Issue
) -> None:
    ann, bob = acts("ann"), acts("bob")
    ann.assign(issue.id, issue.revision, "ann")
    bob.assign(issue.id, book.get(issue.id).revision, "bob")
    ann.rename(issue.id, issue.revision, "Coupon night")
    assert told(ann).startswith("bob was faster")


def test_a_rule_is_taken_back_before_what_was_done_before_it(
    acts: Callable[[str], IssueActs], book: IssueBook, issue: Issue
) -> None:
    ann = acts("ann")
    ann.assign(issue.id, issue.revision, "bob")
    ann.add_rule(issue.id, RULE)
    [rule] = ann.rules.all()
    assert told(ann) == "The rule “Coupons” applies from now on."
    ann.undo(issue.id)
    assert ann.rules.all() == []
    assert ann.rules.get(rule.id).retired == "taken back on the Defence page"
    assert book.get(issue.id).standing.assigned_to == "bob"
    ann.undo(issue.id)
    assert book.get(issue.id).standing.assigned_to == ""
    ann.undo(issue.id)
    assert "Nothing was done" in told(ann)


def test_a_rule_that_was_retired_beside_its_issue_is_nothing_to_take_back(
    acts: Callable[[str], IssueActs], book: IssueBook, issue: Issue
) -> None:
    ann = acts("ann")
    ann.add_rule(issue.id, RULE)
    [rule] = ann.rules.all()
    ann.retire_rule(rule.id, "mended", issue.id)
    assert last_to_take_back(book.history(issue.id)) is None
    ann.retire_rule(rule.id, "mended", issue.id)
    assert "is retired already" in told(ann)


def test_a_rule_that_another_covers_is_added_and_told(
    acts: Callable[[str], IssueActs], issue: Issue
) -> None:
    ann = acts("ann")
    ann.add_rule(issue.id, RULE)
    ann.add_rule(issue.id, RULE)
    assert len(ann.rules.all()) == 2
    assert "says the same as" in told(ann)


def test_a_merge_is_taken_back_from_the_issue_that_took_the_other_in(
    acts: Callable[[str], IssueActs], book: IssueBook, issue: Issue, sighting: MakeSighting
) -> None:
    ann = acts("ann")
    [part] = book.publish("shop", [sighting(2)])
    ann.merge(part.id, part.revision, issue.id)
    assert ann.desk.chosen == issue.id
    assert book.get(part.id).state is IssueState.MERGED
    ann.undo(issue.id)
    assert book.get(part.id).state is IssueState.OPEN
    assert ann.desk.chosen == part.id
    assert last_to_take_back(book.history(issue.id)) is None


def test_a_split_is_taken_back(
    acts: Callable[[str], IssueActs], book: IssueBook, issue: Issue
) -> None:
    ann = acts("ann")
    ann.split(issue.id, issue.revision, [10])
    [made] = [one for one in book.board() if one.id != issue.id]
    assert made.sighting.micros == (10,)
    ann.undo(issue.id)
    assert book.get(made.id).state is IssueState.MERGED


def test_what_the_stream_changed_is_not_offered_to_be_taken_back(
    acts: Callable[[str], IssueActs], book: IssueBook, issue: Issue, sighting: MakeSighting
) -> None:
    ann = acts("ann")
    ann.resolve(issue.id, issue.revision, "mended")
    assert last_to_take_back(book.history(issue.id)) is not None
    again = time.time() + 60
    book.publish("shop", [sighting(1, began_at=again, seen_at=again)])
    assert book.get(issue.id).state is IssueState.OPEN
    assert last_to_take_back(book.history(issue.id)) is None


def test_who_was_disabled_meanwhile_acts_no_more(
    acts: Callable[[str], IssueActs], book: IssueBook, issue: Issue, store: Store
) -> None:
    ann = acts("ann")
    Identities(store).set_disabled("ann", True)
    ann.assign(issue.id, issue.revision, "ann")
    assert "disabled" in told(ann)
    assert book.get(issue.id).standing.assigned_to == ""


def test_what_went_wrong_is_told_not_raised(acts: Callable[[str], IssueActs], issue: Issue) -> None:
    ann = acts("ann")
    ann.resolve(issue.id, issue.revision, " ")
    assert "The reason has 0 characters." in told(ann)
    ann.assign(99, 1, "ann")
    assert "There is no issue 99." in told(ann)
