"""The queue's actor on a real Ray: the same calls, the same errors, and death at any moment."""

import inspect
import os
import shutil
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ray = pytest.importorskip("ray")

from closedloop.actors.annotation_queue import (  # noqa: E402  (ray may be missing)
    QueueClient,
    find_queue,
    host_queue,
    retire_queue,
)
from closedloop.core.errors import Conflict, EngineError, InputError, NotFound  # noqa: E402
from closedloop.core.settings import Settings  # noqa: E402
from closedloop.core.store import Store  # noqa: E402
from closedloop.samples.annotation import AnnotationQueue, NewTask  # noqa: E402

pytestmark = pytest.mark.ray

QUEUE = "demo.svm.intent"
TASKS = 120
KILLS = 8


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    if ray.is_initialized():  # another module's session: use it
        yield
        return
    folder = tempfile.mkdtemp(prefix="ray_q_", dir="/tmp")  # sockets need a short path
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, store="")


@pytest.fixture
def queue(settings: Settings) -> Iterator[QueueClient]:
    yield host_queue(settings)
    retire_queue()


def tasks(count: int) -> list[NewTask]:
    return [NewTask(sample_id=f"s{n}", text=f"text {n}") for n in range(count)]


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


def test_no_actor_is_not_an_error(settings: Settings) -> None:
    assert find_queue(settings) is None


def test_a_store_that_cannot_open_is_an_engine_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EngineError, match="did not answer"):
        host_queue(Settings(home=tmp_path, store=f"sqlite:///{tmp_path}/file/store.db"))
    retire_queue()


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
