"""The issue book's contract; tests/integration/test_postgres_store.py runs it, too."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from closedloop.core.errors import Conflict, InputError, NotFound
from closedloop.core.store import Store
from closedloop.defence.issues.issue import IssueState
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting, TypicalText

TENANT = "零售 shop"
TEXT = TypicalText(text="优惠券失效 coupon fails", event_id="e1", at=990.0, answer="greeting")


def seen(cluster, *, rate=40.0, **changes):
    values = {
        "tenant": TENANT,
        "cluster": cluster,
        "began_at": 900.0,
        "seen_at": 1_000.0,
        "texts": 60,
        "window_s": 60.0,
        "rate_per_min": rate,
        "expected_per_min": 2.0,
        "surprise": 12.0,
        "false_alarms_per_day": 0.001,
        "novelty": 0.9,
        "channels": {"web": 40, "app": 20},
        "models": {"shop.svm.intent": 60},
        "intents": {"greeting": 60},
        "terms": ("coupon", "fails", f"c{cluster}"),
        "typical": (TEXT,),
        "samples": (TEXT,),
        "micros": (cluster * 10, cluster * 10 + 1),
        "series": (0, 1, 40),
    }
    return Sighting(**{**values, **changes})


class Now:
    at = 1_000.0

    def __call__(self):
        return self.at


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def store(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield store
    store.close()


@pytest.fixture
def issues(store, now):
    return IssueBook(store, clock=now)


def opened(issues, *clusters, **changes):
    return issues.publish(TENANT, [seen(cluster, **changes) for cluster in clusters])


def test_what_rises_opens_an_issue_once_and_then_changes_it(issues):
    (issue,) = opened(issues, 1)
    assert issues.get(issue.id) == issue
    assert issue.title == "coupon · fails · c1"
    assert opened(issues, 1, rate=90.0) == []
    (now,) = issues.board()
    assert (now.id, now.sighting.rate_per_min) == (issue.id, 90.0)
    assert [act.what for act in issues.history(issue.id)] == ["opened"]


def test_what_does_not_rise_opens_nothing(issues):
    assert opened(issues, 1, rising=False) == []
    assert issues.board() == []


def test_the_board_has_the_hottest_first_and_leaves_samples_out(issues):
    opened(issues, 1, rate=10.0)
    opened(issues, 2, rate=90.0)
    first, second = issues.board()
    assert first.sighting.rate_per_min > second.sighting.rate_per_min
    assert first.sighting.samples == ()
    assert issues.get(first.id).sighting.samples == (TEXT,)


def test_the_board_is_of_one_tenant_where_it_is_named(issues):
    opened(issues, 1)
    issues.publish("other", [seen(1, tenant="other")])
    assert [issue.tenant for issue in issues.board(tenant="other")] == ["other"]
    assert len(issues.board()) == 2


def test_sightings_of_another_tenant_are_refused(issues):
    with pytest.raises(InputError, match="other"):
        issues.publish(TENANT, [seen(1, tenant="other")])


def test_clusters_that_became_one_go_on_as_the_older_issue(issues):
    first, second = opened(issues, 1, 2)
    assert opened(issues, 2, absorbed=(1,), rate=80.0) == []
    (left,) = issues.board()
    assert (left.id, left.sighting.cluster) == (first.id, 2)
    gone = issues.get(second.id)
    assert (gone.state, gone.standing.merged_into) == (IssueState.MERGED, first.id)
    assert opened(issues, 1) == []


def test_a_cluster_that_went_up_in_an_unknown_one_takes_its_issue_along(issues):
    (first,) = opened(issues, 1)
    assert opened(issues, 7, absorbed=(1,)) == []
    assert [issue.id for issue in issues.board()] == [first.id]
    assert opened(issues, 7) == []


def test_a_snoozed_issue_comes_back_where_it_still_rises_after_that_time(issues, now):
    (issue,) = opened(issues, 1)
    issues.snooze(issue.id, 2_000.0, who="ann", seen=1)
    assert opened(issues, 1) == []
    assert issues.board() == []
    now.at = 2_001.0
    assert opened(issues, 1, rising=False) == []
    (back,) = opened(issues, 1)
    assert (back.id, back.state) == (issue.id, IssueState.OPEN)
    assert issues.history(issue.id)[0].what == "reopened"


def test_a_resolved_issue_comes_back_only_where_it_rises_anew(issues, now):
    (issue,) = opened(issues, 1)
    issues.resolve(issue.id, "a rule answers it", who="ann")
    assert opened(issues, 1) == []
    now.at = 9_000.0
    assert opened(issues, 1) == []
    (back,) = opened(issues, 1, began_at=8_000.0)
    assert (back.id, back.standing.reason) == (issue.id, "")


def test_an_act_on_what_somebody_changed_meanwhile_is_refused(issues):
    (issue,) = opened(issues, 1)
    issues.assign(issue.id, "bob", who="bob", seen=issue.revision)
    with pytest.raises(Conflict, match="meanwhile"):
        issues.resolve(issue.id, "done", who="ann", seen=issue.revision)
    assert issues.get(issue.id).standing.assigned_to == "bob"


def test_new_figures_are_no_change_that_an_act_minds(issues):
    (issue,) = opened(issues, 1)
    opened(issues, 1, rate=90.0)
    assert (
        issues.assign(issue.id, "ann", who="ann", seen=issue.revision).standing.assigned_to == "ann"
    )


def test_people_name_issues_and_take_the_name_away_again(issues):
    (issue,) = opened(issues, 1)
    assert issues.rename(issue.id, "  优惠券  night ", who="ann").title == "优惠券 night"
    assert issues.rename(issue.id, "", who="ann").title == issue.title


@pytest.mark.parametrize(
    "act",
    [
        lambda issues, issue: issues.resolve(issue.id, "  ", who="ann"),
        lambda issues, issue: issues.resolve(issue.id, "x" * 401, who="ann"),
        lambda issues, issue: issues.snooze(issue.id, 999.0, who="ann"),
        lambda issues, issue: issues.merge(issue.id, issue.id, who="ann"),
        lambda issues, issue: issues.split(issue.id, [], who="ann"),
        lambda issues, issue: issues.split(issue.id, [10, 11], who="ann"),
        lambda issues, issue: issues.split(issue.id, [99], who="ann"),
    ],
)
def test_an_act_that_makes_no_sense_is_refused_and_changes_nothing(issues, act):
    (issue,) = opened(issues, 1)
    with pytest.raises(InputError):
        act(issues, issue)
    assert issues.get(issue.id) == issue


def test_an_issue_that_is_not_there_is_named(issues):
    with pytest.raises(NotFound, match="7"):
        issues.resolve(7, "done", who="ann")
    with pytest.raises(NotFound, match="7"):
        issues.get(7)


def test_a_merged_issue_counts_with_the_other_until_the_merge_is_taken_back(issues):
    first, second = opened(issues, 1, 2)
    assert issues.merge(second.id, first.id, who="ann").id == first.id
    assert opened(issues, 1, 2) == []
    (left,) = issues.board()
    assert (left.sighting.rate_per_min, left.sighting.texts) == (80.0, 120)
    assert left.sighting.series == (0, 2, 80)
    assert left.sighting.micros == (10, 11, 20, 21)
    with pytest.raises(Conflict):
        issues.rename(second.id, "x", who="ann")
    issues.undo(second.id, who="ann")
    assert opened(issues, 1, 2) == []
    assert {issue.id for issue in issues.board()} == {first.id, second.id}
    assert issues.get(first.id).sighting.rate_per_min == 40.0


def test_a_part_that_was_split_off_is_an_issue_with_a_cluster_of_its_own(issues):
    (issue,) = opened(issues, 1)
    made = issues.split(issue.id, [11], who="ann", seen=issue.revision)
    assert issues.parts(TENANT) == {11: -made.id}
    opened(issues, -made.id, rate=7.0)
    assert issues.get(made.id).sighting.rate_per_min == 7.0
    assert issues.get(issue.id).sighting.rate_per_min == 40.0
    issues.undo(issue.id, who="ann")
    assert issues.parts(TENANT) == {}
    assert [one.id for one in issues.board()] == [issue.id]


def test_each_act_can_be_taken_back_the_last_one_first(issues):
    (issue,) = opened(issues, 1)
    issues.rename(issue.id, "Coupons", who="ann")
    issues.resolve(issue.id, "a rule", who="bob")
    assert issues.undo(issue.id, who="ann").state is IssueState.OPEN
    assert issues.undo(issue.id, who="ann").standing == issue.standing
    with pytest.raises(Conflict, match="Nothing"):
        issues.undo(issue.id, who="ann")
    assert [act.what for act in issues.history(issue.id)] == [
        "undone", "undone", "resolved", "renamed", "opened"
    ]  # fmt: skip


def test_what_the_stream_did_is_not_taken_back(issues, now):
    (issue,) = opened(issues, 1)
    issues.snooze(issue.id, 1_500.0, who="ann")
    now.at = 1_600.0
    opened(issues, 1)
    with pytest.raises(Conflict, match="stream"):
        issues.undo(issue.id, who="ann")


def test_notes_tell_what_was_done_and_are_nothing_to_take_back(issues):
    (issue,) = opened(issues, 1)
    issues.rename(issue.id, "Coupons", who="ann")
    issues.note(issue.id, "rule added", {"rule": "r1"}, who="ann")
    assert issues.history(issue.id)[0].details == {"rule": "r1"}
    assert issues.undo(issue.id, who="ann").standing.title == ""


def test_what_nobody_touched_and_nobody_asks_fades(issues):
    first, second = opened(issues, 1, 2)
    issues.assign(second.id, "ann", who="ann")
    assert issues.fade(TENANT, quiet_since=999.0) == 0
    assert issues.fade(TENANT, quiet_since=1_001.0) == 1
    assert [one.id for one in issues.board()] == [second.id]
    assert issues.get(first.id).state is IssueState.RESOLVED


def test_the_clusters_of_what_is_not_closed_are_told(issues):
    opened(issues, 1, absorbed=(9,))
    (second,) = opened(issues, 2)
    issues.resolve(second.id, "done", who="ann")
    assert issues.clusters(TENANT) == [1, 9]
    assert issues.clusters("other") == []


def test_the_sequence_moves_with_every_change(issues):
    assert issues.sequence() == 0
    (issue,) = opened(issues, 1)
    numbers = [issues.sequence()]
    opened(issues, 1, rate=90.0)
    numbers.append(issues.sequence())
    issues.assign(issue.id, "ann", who="ann")
    numbers.append(issues.sequence())
    issues.note(issue.id, "rule added", {}, who="ann")
    numbers.append(issues.sequence())
    assert numbers == sorted(set(numbers))


def test_many_at_once_neither_lose_nor_double_an_issue(issues):
    def work(n):
        for _ in range(5):
            opened(issues, n % 4, rate=float(n))

    with ThreadPoolExecutor(8) as people:
        list(people.map(work, range(8)))
    assert sorted(one.sighting.cluster for one in issues.board()) == [0, 1, 2, 3]


def test_a_split_of_an_issue_changes_its_revision(issues):
    (issue,) = opened(issues, 1)
    issues.split(issue.id, [11], who="ann", seen=issue.revision)
    with pytest.raises(Conflict):
        issues.split(issue.id, [10], who="bob", seen=issue.revision)


def test_a_sighting_comes_back_from_json_as_it_was():
    one = seen(3, absorbed=(1, 2), bad_share=0.25)
    assert Sighting.from_json(one.to_json()) == one
    assert replace(one, rising=False) != one
