"""kill -9 of the ingest and of the lake's writer, again and again: nothing lost, nothing twice."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import pytest

from closedloop.data.drain import drain_to_lake
from closedloop.data.event import Event, Kind, new_event_id
from closedloop.data.event_log.opening import open_event_log
from closedloop.data.event_log.protocol import START
from closedloop.data.lake import Lake

KILLS = 24
ROWS = 3_000
# Each script forks a worker a line of its input, so that each dies as a process does without
# importing everything anew. Neither Delta's nor Kafka's threads survive a fork: only workers
# touch the lake and the log.
FORKS = """
import os, signal, sys
from pathlib import Path
import confluent_kafka, deltalake, pyarrow.dataset
from closedloop.core.pseudonyms import KeyChain, Pseudonyms
from closedloop.data import drain, ingest
from closedloop.data.event_log.opening import open_event_log
from closedloop.data.event_log import kafka
from closedloop.data.lake import Lake
from closedloop.data.log_file import LogFile

home, url = Path(sys.argv[1]), sys.argv[2]

def say(*words):
    print(*words, flush=True)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def work(line):
    log, lake = open_event_log(url), Lake(str(home / "lake"))
WORK

for line in sys.stdin:
    pid = os.fork()
    if not pid:
        say(os.getpid())
        work(line.strip())
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    say("ended", os.WTERMSIG(status) if os.WIFSIGNALED(status) else "whole")
"""
INGEST = """
    ingest._BATCH_ROWS = 50
    ingest.ingest_file(
        LogFile(path=home / "chats.csv", mapping={}), log=log, lake=lake, tenant="shop",
        pseudonyms=Pseudonyms(KeyChain(first=bytes(32))), progress=lambda _: say("step"),
    )
"""
# Dies behind the first or second table's commit, or when all are written and the log's place is
# about to be committed.
DRAIN = """
    drain._BATCH_EVENTS = 7
    commits = []
    append = Lake.append

    def append_and_die(self, *words, **more):
        append(self, *words, **more)
        commits.append(words[0])
        if len(commits) == int(line):
            die()

    if line == "place":
        log.commit = lambda *_: die()
    elif line != "never":
        Lake.append = append_and_die
    drain.drain_to_lake(log, lake)
"""


@contextmanager
def worker(work, *words):
    process = subprocess.Popen(
        [sys.executable, "-c", FORKS.replace("WORK", work), *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def said(process):
    return process.stdout.readline().split()


def test_no_kill_of_an_ingest_loses_or_doubles_a_row(tmp_path):
    """Killed at any moment of reading, masking, appending and burying."""
    lines = ["text,turn", *(f"text {i},{i % 9}" for i in range(ROWS))]
    for place in range(100, ROWS, 300):
        lines[place] = f"bad {place},third"
    (tmp_path / "chats.csv").write_text("\n".join(lines) + "\n", "utf-8")
    url = f"sqlite:///{tmp_path / 'events.db'}"
    chance = random.Random(7)
    died = 0
    with worker(INGEST, tmp_path, url) as process:
        while died < KILLS:
            print("go", file=process.stdin)
            (pid,) = said(process)
            for _ in range(chance.randint(0, 25)):
                assert said(process) == ["step"]
            time.sleep(chance.uniform(0, 0.01))  # a moment of its own within a batch
            subprocess.run(["kill", "-9", pid], check=True)
            while (word := said(process))[0] != "ended":
                assert word == ["step"]
            assert word[1] == f"{signal.SIGKILL:d}"
            died += 1
        print("go", file=process.stdin)
        while (word := said(process))[0] != "ended":
            pass
        assert word[1] == "whole"

    good = {line.split(",")[0] for line in lines[1:] if line.startswith("text")}
    lake = Lake(str(tmp_path / "lake"))
    with closing(open_event_log(url)) as log:
        logged = [each.event.text for each in log.read(START, limit=2 * ROWS).events]
        assert len(logged) == len(good)
        assert set(logged) == good
        assert drain_to_lake(log, lake) == len(good)
    assert set(lake.read("turns")["text"].to_pylist()) == good
    letters = lake.read("dead_letters").to_pylist()
    assert sorted(letter["line"] for letter in letters) == list(range(101, ROWS + 1, 300))


@pytest.fixture(params=["sqlite", "kafka"])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'events.db'}"
        return
    from confluent_kafka import Producer

    broker = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1, "log_level": 0})
    servers = broker.list_topics(timeout=10).brokers.values()
    broker.list_topics("events", timeout=10)  # makes it
    yield f"kafka://{','.join(f'{each.host}:{each.port}' for each in servers)}/events"


def test_no_kill_of_the_lakes_writer_loses_or_doubles_an_event(tmp_path, url):
    """Killed between a Delta commit and the commit of the log's place."""
    sent = []
    places = ["place", "1", "2"]
    with worker(DRAIN, tmp_path, url) as process, closing(open_event_log(url)) as log:
        for number in range(KILLS):
            now = datetime.now(UTC)
            events = [
                Event(
                    event_id=new_event_id(),
                    ts=now,
                    tenant="shop",
                    kind=kind,
                    text=f"{number}-{i}",
                    dialogue_id=f"d{i}",
                )
                for i in range(4)
                for kind in (Kind.TURN, Kind.PREDICTION)
            ]
            log.append(events)
            sent += events
            print(places[number % 3], file=process.stdin)
            said(process)
            assert said(process) == ["ended", f"{signal.SIGKILL:d}"]
        print("never", file=process.stdin)
        said(process)
        assert said(process) == ["ended", "whole"]
        # A consumer that begins anew finds nothing to add.
        log.commit("lake", dict.fromkeys(log.end(), 0))
        print("never", file=process.stdin)
        said(process)
        assert said(process) == ["ended", "whole"]

    lake = Lake(str(tmp_path / "lake"))
    for table, kind in (("turns", Kind.TURN), ("predictions", Kind.PREDICTION)):
        found = Counter(lake.read(table)["event_id"].to_pylist())
        assert found == Counter(event.event_id for event in sent if event.kind is kind)
