"""The annotation queue's contract.

Any store must pass it: tests/integration/test_postgres_store.py runs this file's tests again on
PostgreSQL, with another ``store``.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from closedloop.core.errors import Conflict, InputError, NotFound
from closedloop.core.store import Store
from closedloop.samples.annotation import DEFAULT_LEASE_S, AnnotationQueue
from closedloop.samples.annotation_task import LabelledSample, NewTask, QueueCounts

QUEUE = "demo.svm.intent"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(store: Store, clock: Clock) -> AnnotationQueue:
    return AnnotationQueue(store, clock=clock)


def tasks(count: int) -> list[NewTask]:
    return [NewTask(sample_id=f"s{n}", text=f"text {n}") for n in range(count)]


def take(queue: AnnotationQueue, annotator: str = "ann"):
    [task] = queue.lease(annotator, queue=QUEUE)
    return task


def test_known_samples_are_left_as_they_are(queue: AnnotationQueue) -> None:
    assert queue.enqueue(QUEUE, tasks(2)) == 2
    assert queue.enqueue(QUEUE, [NewTask(sample_id="s0", text="other"), *tasks(3)]) == 1
    assert queue.enqueue("another", tasks(1)) == 1
    assert queue.enqueue(QUEUE, []) == 0
    assert [task.text for task in queue.lease("ann", queue=QUEUE, limit=9)] == [
        "text 0",
        "text 1",
        "text 2",
    ]


def test_a_task_needs_at_least_one_vote(queue: AnnotationQueue) -> None:
    with pytest.raises(InputError, match="0 votes"):
        queue.enqueue(QUEUE, tasks(1), votes_needed=0)


def test_everything_a_task_carries_comes_back(queue: AnnotationQueue) -> None:
    new = NewTask(
        sample_id="x",
        text="退款什么时候到账",
        reason="margin 0.02",
        suggestion="refund",
        details={"keywords": ["退款"], "cluster": 4},
    )
    queue.enqueue(QUEUE, [new])
    task = take(queue)
    assert (task.text, task.reason, task.suggestion) == (new.text, new.reason, new.suggestion)
    assert task.details == new.details
    assert (task.queue, task.sample_id) == (QUEUE, "x")


def test_the_most_urgent_comes_first_and_equals_in_order_of_arrival(
    queue: AnnotationQueue,
) -> None:
    ranks = {"a": 0.5, "b": 0.9, "c": 0.5, "d": 0.1}
    queue.enqueue(QUEUE, [NewTask(sample_id=s, text=s, priority=p) for s, p in ranks.items()])
    assert [task.text for task in queue.lease("ann", limit=4)] == ["b", "a", "c", "d"]


def test_a_reloaded_page_shows_the_same_task(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(3))
    assert take(queue) == take(queue)
    assert [task.text for task in queue.lease("ann", limit=2)] == ["text 0", "text 1"]


def test_nobody_else_is_offered_a_leased_task(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(1))
    take(queue, "ann")
    assert queue.lease("bob", queue=QUEUE) == []


def test_an_expired_lease_frees_the_task_and_refuses_the_late_answer(
    queue: AnnotationQueue, clock: Clock
) -> None:
    queue.enqueue(QUEUE, tasks(1))
    late = take(queue, "ann")
    clock.forward(DEFAULT_LEASE_S)
    with pytest.raises(Conflict, match="1 of 1 leases ran out") as refused:
        queue.submit([(late.token, "refund")])
    assert "nothing of this answer was recorded" in refused.value.remedy
    assert queue.counts(QUEUE) == QueueCounts(open=1)
    assert take(queue, "bob").task_id == late.task_id


def test_one_lost_lease_refuses_the_whole_batch(queue: AnnotationQueue, clock: Clock) -> None:
    queue.enqueue(QUEUE, tasks(2))
    [old] = queue.lease("ann", lease_s=10)
    clock.forward(5)
    _, young = queue.lease("ann", limit=2, lease_s=10)
    clock.forward(6)
    with pytest.raises(Conflict, match="1 of 2"):
        queue.submit([(young.token, "a"), (old.token, "b")])
    assert queue.counts(QUEUE).done == 0
    assert queue.submit([(young.token, "a")]) == 1


def test_a_renewed_lease_lasts_from_now(queue: AnnotationQueue, clock: Clock) -> None:
    queue.enqueue(QUEUE, tasks(1))
    task = take(queue)
    clock.forward(DEFAULT_LEASE_S - 1)
    assert queue.renew(task.token) == clock.now + DEFAULT_LEASE_S
    clock.forward(DEFAULT_LEASE_S - 1)
    assert queue.submit([(task.token, "refund")]) == 1


def test_an_expired_lease_cannot_be_renewed(queue: AnnotationQueue, clock: Clock) -> None:
    queue.enqueue(QUEUE, tasks(1))
    task = take(queue)
    clock.forward(DEFAULT_LEASE_S)
    with pytest.raises(Conflict, match="run out"):
        queue.renew(task.token)


def test_submitting_twice_counts_once(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(1))
    task = take(queue)
    assert queue.submit([(task.token, " refund "), (task.token, "refund")]) == 1
    assert queue.submit([(task.token, "another")]) == 0
    assert queue.labelled(QUEUE) == [
        LabelledSample(
            sample_id="s0", text="text 0", label="refund", votes=1, agreement=1.0, simulated=False
        )
    ]


@pytest.mark.parametrize("label", ["", "  ", "x" * 201])
def test_an_unusable_label_is_refused(queue: AnnotationQueue, label: str) -> None:
    queue.enqueue(QUEUE, tasks(1))
    with pytest.raises(InputError, match="empty or longer"):
        queue.submit([(take(queue).token, label)])


def test_votes_of_different_people_are_counted_and_agreement_told(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(1), votes_needed=3)
    for annotator, label in (("ann", "refund"), ("bob", "delivery"), ("cy", "refund")):
        queue.submit([(take(queue, annotator).token, label)], simulated=annotator == "cy")
        assert queue.lease(annotator, queue=QUEUE) == []  # nobody answers a task twice
    [sample] = queue.labelled(QUEUE)
    assert (sample.label, sample.votes) == ("refund", 3)
    assert sample.agreement == pytest.approx(2 / 3)
    assert sample.simulated  # one simulated vote is enough to say so


def test_three_skips_set_a_task_aside(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(1))
    for annotator in ("ann", "bob", "cy"):
        assert queue.counts(QUEUE).set_aside == 0
        queue.skip(take(queue, annotator).token)
    assert queue.counts(QUEUE) == QueueCounts(set_aside=1)
    assert queue.lease("dan", queue=QUEUE) == []
    assert queue.labelled(QUEUE) == []


def test_a_skip_is_counted_once(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(1))
    token = take(queue).token
    for _ in range(3):
        queue.skip(token)
    assert queue.counts(QUEUE) == QueueCounts(open=1)


def test_a_released_task_is_free_at_once(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(1))
    queue.release(take(queue, "ann").token)
    assert take(queue, "bob").text == "text 0"


def test_undo_takes_the_vote_back_and_shows_the_task_next(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(3))
    first = take(queue)
    queue.submit([(first.token, "wrong")])
    take(queue)  # the next one is on the screen already
    again = queue.undo("ann", first.token)
    assert again.task_id == first.task_id
    assert take(queue) == again
    assert queue.labelled(QUEUE) == []
    queue.submit([(again.token, "right")])
    assert [sample.label for sample in queue.labelled(QUEUE)] == ["right"]
    assert queue.counts(QUEUE) == QueueCounts(open=1, leased=1, done=1)


def test_undo_can_be_repeated_until_the_task_is_answered(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(1))
    token = take(queue).token
    queue.submit([(token, "refund")])
    again = queue.undo("ann", token)
    assert queue.undo("ann", token) == again
    queue.submit([(again.token, "refund")])
    with pytest.raises(NotFound, match="take back"):
        queue.undo("ann", token)
    assert queue.undo("ann", again.token).task_id == again.task_id


def test_only_ones_own_answer_can_be_taken_back(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(1))
    token = take(queue).token
    queue.submit([(token, "refund")])
    with pytest.raises(NotFound, match="bob has no answer"):
        queue.undo("bob", token)
    assert queue.counts(QUEUE).done == 1


def test_undoing_a_skip_makes_it_uncounted(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(1))
    for annotator in ("ann", "bob", "cy"):
        token = take(queue, annotator).token
        queue.skip(token)
    assert queue.undo("cy", token).text == "text 0"  # out of set aside, into cy's hands
    assert queue.counts(QUEUE) == QueueCounts(leased=1)


@pytest.mark.parametrize("answered", [False, True])
def test_a_skip_is_not_undone_once_somebody_else_has_the_task(
    queue: AnnotationQueue, answered: bool
) -> None:
    queue.enqueue(QUEUE, tasks(1))
    skipped = take(queue, "ann").token
    queue.skip(skipped)
    taken = take(queue, "bob")
    if answered:
        queue.submit([(taken.token, "refund")])
    with pytest.raises(Conflict, match="Somebody else"):
        queue.undo("ann", skipped)
    expected = QueueCounts(done=1) if answered else QueueCounts(leased=1)
    assert queue.counts(QUEUE) == expected


def test_counts_of_each_queue_and_of_all(queue: AnnotationQueue, clock: Clock) -> None:
    queue.enqueue("a", tasks(3))
    queue.enqueue("b", tasks(1))
    [task] = queue.lease("ann", queue="a")
    queue.submit([(task.token, "x")])
    queue.lease("ann", queue="a")
    assert queue.queues() == {
        "a": QueueCounts(open=1, leased=1, done=1),
        "b": QueueCounts(open=1),
    }
    assert queue.counts().total == 4
    clock.forward(DEFAULT_LEASE_S)
    assert queue.counts("a") == QueueCounts(open=2, done=1)


def test_label_names_come_by_frequency(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(4))
    labels = ["b", "a", "b"]
    leased = queue.lease("ann", limit=3)
    queue.submit([(task.token, label) for task, label in zip(leased, labels, strict=True)])
    queue.skip(take(queue).token)
    assert queue.label_names(QUEUE) == ["b", "a"]
    assert queue.label_names("another") == []


def test_history_is_ones_own_newest_first(queue: AnnotationQueue, clock: Clock) -> None:
    queue.enqueue(QUEUE, tasks(3))
    for label in ("first", None):
        task = take(queue)
        clock.forward(1)
        if label:
            queue.submit([(task.token, label)])
        else:
            queue.skip(task.token)
    queue.submit([(take(queue, "bob").token, "of bob")])
    assert [past.label for past in queue.history("ann")] == [None, "first"]
    assert [past.text for past in queue.history("ann", limit=1)] == ["text 1"]


def test_annotators_at_once_never_share_a_task(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(60))
    start = threading.Barrier(6)

    def work(annotator: str) -> list[int]:
        answered = []
        start.wait()
        while leased := queue.lease(annotator, queue=QUEUE):
            answered += [task.task_id for task in leased]
            queue.submit([(task.token, annotator) for task in leased])
        return answered

    with ThreadPoolExecutor(6) as pool:
        answered = [task for found in pool.map(work, "abcdef") for task in found]
    assert Counter(Counter(answered).values()) == {1: 60}
    assert queue.counts(QUEUE) == QueueCounts(done=60)


def test_two_tabs_of_one_person_hold_one_place_of_a_task(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(1), votes_needed=2)
    start = threading.Barrier(4)

    def open_tab(_: int) -> str:
        start.wait()
        return take(queue, "ann").token

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(open_tab, range(4)))) == 1
    assert take(queue, "bob")


def test_the_same_answer_from_many_threads_counts_once(queue: AnnotationQueue) -> None:
    queue.enqueue(QUEUE, tasks(1))
    token = take(queue).token
    start = threading.Barrier(5)

    def send(_: int) -> int:
        start.wait()
        return queue.submit([(token, "refund")])

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(send, range(5))) == 1


def test_producers_at_once_add_each_sample_once(queue: AnnotationQueue) -> None:
    with ThreadPoolExecutor(4) as pool:
        new = list(pool.map(lambda _: queue.enqueue(QUEUE, tasks(20)), range(4)))
    assert sorted(new) == [0, 0, 0, 20]
    assert queue.counts(QUEUE).total == 20
