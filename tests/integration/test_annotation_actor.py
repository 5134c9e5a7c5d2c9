"""The queue's actor on a real Ray: the same calls, the same errors, and death at any moment."""

import inspect
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from closedloop.actors.annotation_queue import (
    QueueClient,
    find_queue,
    host_queue,
    retire_queue,
)
from closedloop.core.errors import Conflict, EngineError, InputError, NotFound
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.samples.annotation import AnnotationQueue
from closedloop.samples.annotation_task import NewTask

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

QUEUE = "demo.svm.intent"
TASKS = 120
KILLS = 5

# What the app does: connect from a thread of another process, find the actor, ask it.
OTHER_PROCESS = """
import threading
from closedloop.core.settings import Settings
from closedloop.ui.app.queue_route import connect_to_actor

def ask():
    print("HOST", *connect_to_actor(Settings()).host())

thread = threading.Thread(target=ask)
thread.start()
thread.join()
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("queue"), store="")


@pytest.fixture(scope="module")
def hosted(ray_cluster: str, settings: Settings) -> Iterator[QueueClient]:
    yield host_queue(settings)
    retire_queue()


@pytest.fixture
def queue(hosted: QueueClient, settings: Settings) -> QueueClient:
    store = Store.open(settings.store_url)
    with store.write() as connection:
        for table in ("vote", "lease", "task"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    store.close()
    return hosted


def tasks(count: int) -> list[NewTask]:
    return [NewTask(sample_id=f"s{n}", text=f"text {n}") for n in range(count)]


def test_no_actor_is_not_an_error(settings: Settings) -> None:
    assert find_queue(settings) is None


def test_a_store_that_cannot_open_is_an_engine_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EngineError, match="did not answer"):
        host_queue(Settings(home=tmp_path, store=f"sqlite:///{tmp_path}/file/store.db"))
    retire_queue()


def test_every_public_call_of_the_queue_goes_to_the_actor() -> None:
    for name, method in inspect.getmembers(AnnotationQueue, inspect.isfunction):
        if not name.startswith("_"):
            forwarded = QueueClient.__dict__[name]
            assert inspect.signature(forwarded) == inspect.signature(method), name


def test_tasks_go_in_and_labels_come_out(queue: QueueClient) -> None:
    assert queue.enqueue(QUEUE, tasks(3)) == 3
    [task] = queue.lease("ann", queue=QUEUE)
    assert queue.submit([(task.token, "refund")]) == 1
    assert queue.submit([(task.token, "refund")]) == 0
    assert [sample.label for sample in queue.labelled(QUEUE)] == ["refund"]
    assert queue.undo("ann", task.token) == queue.undo("ann", task.token)
    assert queue.counts(QUEUE).leased == 1


def test_errors_arrive_as_their_own_types(queue: QueueClient) -> None:
    with pytest.raises(InputError, match="0 votes"):
        queue.enqueue(QUEUE, tasks(1), votes_needed=0)
    with pytest.raises(Conflict, match="ran out") as lost:
        queue.submit([("no such lease", "refund")])
    assert lost.value.remedy
    with pytest.raises(NotFound, match="take back"):
        queue.undo("ann", "no such vote")


def test_a_second_host_call_finds_the_first_actor(settings: Settings, queue: QueueClient) -> None:
    found = find_queue(settings)
    assert found is not None
    assert host_queue(settings).host() == queue.host() == found.host()


def test_another_installations_queue_is_refused(tmp_path: Path, queue: QueueClient) -> None:
    with pytest.raises(EngineError, match="another metadata store"):
        find_queue(Settings(home=tmp_path / "elsewhere", store=""))


def test_another_process_reaches_the_same_actor(
    ray_cluster: str, settings: Settings, queue: QueueClient
) -> None:
    there = settings.model_copy(update={"ray_address": ray_cluster})
    asked = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS],
        env={**os.environ, **there.environment()},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    url, process_id = queue.host()
    assert f"HOST {url} {process_id}" in asked.stdout


def test_killed_at_any_moment_it_loses_nothing_and_counts_nothing_twice(
    settings: Settings, queue: QueueClient
) -> None:
    queue.enqueue(QUEUE, tasks(TASKS))
    acknowledged: dict[str, str] = {}  # sample → label, as the annotators were told
    progress = threading.Condition()

    def annotate(annotator: str) -> None:
        client = host_queue(settings)
        while leased := client.lease(annotator, queue=QUEUE, limit=2):
            answers = {task.token: f"label {task.text}" for task in leased}
            client.submit(list(answers.items()))
            with progress:
                for task in leased:
                    assert task.sample_id not in acknowledged
                    acknowledged[task.sample_id] = answers[task.token]
                progress.notify_all()

    annotators = [threading.Thread(target=annotate, args=(f"ann{n}",)) for n in range(3)]
    for thread in annotators:
        thread.start()
    killed = set()
    for kill in range(1, KILLS + 1):
        with progress:  # the kills are spread over the work, each amid calls under way
            assert progress.wait_for(lambda n=kill: len(acknowledged) >= n * 10, timeout=120)
        _, process_id = queue.host()
        os.kill(process_id, signal.SIGKILL)
        killed.add(process_id)
    for thread in annotators:
        thread.join(timeout=120)
        assert not thread.is_alive()

    assert len(killed) == KILLS
    counts = queue.counts(QUEUE)
    assert (counts.done, counts.total) == (TASKS, TASKS)
    # The store itself, read around the actor, agrees with what the annotators were told.
    stored = AnnotationQueue(Store.open(settings.store_url)).labelled(QUEUE)
    assert {sample.sample_id: sample.label for sample in stored} == acknowledged
    assert Counter(sample.votes for sample in stored) == {1: TASKS}
