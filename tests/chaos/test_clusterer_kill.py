"""kill -9 of the stream clusterer, again and again: it ends as one that was never interrupted."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from itertools import islice

from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.data.event import Event, Kind
from closedloop.data.event_log.opening import open_event_log
from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Scenario
from closedloop.defence.checkpoint import SlotFiles
from closedloop.defence.cluster_state import load
from closedloop.defence.clusterer import Clusterer
from closedloop.defence.issues.watching import issue_watching
from closedloop.defence.recent_traffic import RecentTraffic
from closedloop.defence.shards import Shards
from closedloop.defence.slots import SLOTS

KILLS = 30
EVENTS = 6_000
TENANTS = 3  # of three slots
WHEN = ("before", "after")
# Forks a shard a line of its input, so that each dies as a process does without importing
# everything anew. A line names what it dies at: a kind of write, and how many of those it does.
SHARD = """
import os, signal, sys
from closedloop.core.settings import Settings
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.defence.checkpoint import SlotFiles
from closedloop.defence.board_turns import Looking
from closedloop.defence.clusterer import ClustererSettings
from closedloop.defence.issues.issue_board import IssueBoard
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.watching import issue_watching
from closedloop.defence.recent_traffic import RecentTraffic
from closedloop.defence.shard_run import Pace, ShardRun

settings, epoch = Settings(home=sys.argv[1], store="", event_log=""), int(sys.argv[2])
WRITES = {
    "slot": (SlotFiles, "write"),
    "position": (SlotFiles, "write_position"),
    "recent": (RecentTraffic, "append"),
    "place": (SqliteEventLog, "commit"),
    "issue": (IssueBoard, "tell"),
}

def say(*words):
    print(*words, flush=True)

def die_at(owner, name, count, after):
    call = getattr(owner, name)
    done = 0

    def called(*words, **more):
        nonlocal done
        done += 1
        if done == count and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = call(*words, **more)
        if done == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, called)

def work(line):
    if line:
        write, count, when = line.split()
        die_at(*WRITES[write], int(count), when == "after")
    run = ShardRun(
        settings,
        shard=0,
        epoch=epoch,
        watching=issue_watching(),
        board=lambda store: IssueBoard(IssueBook(store)),
        work=ClustererSettings(
            page_events=40, checkpoint_events=300, looking=Looking(pause_s=0.05)
        ),
        pace=Pace(idle_s=0.01, checkpoint_s=0.05, recent_s=0.03, report_s=0.05),
        tell=lambda figures: say("figures", figures.lag_events, figures.problem or "well"),
    )
    signal.signal(signal.SIGTERM, lambda *_: run.stop())
    run.run()

for line in sys.stdin:
    pid = os.fork()
    if not pid:
        say("begun", os.getpid())
        work(line.strip())
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    say("ended", os.WTERMSIG(status) if os.WIFSIGNALED(status) else "whole")
"""
POINTS = [
    *(f"{write} 1 {when}" for write in ("slot", "position", "recent", "place") for when in WHEN),
    *(f"{write} {TENANTS} {when}" for write in ("slot", "recent") for when in WHEN),
]


def events():
    turns = islice(simulate_turns(Scenario(seed=11, turns=EVENTS)), EVENTS)
    made = []
    for number, turn in enumerate(turns):
        event = Event(
            event_id=f"e{number}",
            ts=turn.ts,
            tenant=f"tenant {number % TENANTS}",
            kind=Kind.PREDICTION,
            text=turn.text,
            channel=turn.channel,
            model="m",
            prediction=turn.intent,
            confidence=0.7,
        )
        made.append(event)
    return made


def state_of(folder):
    files = SlotFiles(folder / "slots", "any")
    files._check = lambda described, path: None
    slots = [files.read(slot).tenants for slot in range(SLOTS)]
    return {name: saved for tenants in slots for name, saved in tenants.items()}


def recent_of(folder):
    recent = RecentTraffic(folder / "recent")
    return {
        tenant: recent.read(tenant, since=0.0).select("event_id", "micro").rows()
        for tenant in recent.tenants()
    }


def uninterrupted(folder, sent):
    with closing(open_event_log(f"sqlite:///{folder / 'whole.db'}")) as log:
        log.append(sent)
        shard = Clusterer(
            log=log,
            files=SlotFiles(folder / "slots", log.identity),
            shard=0,
            slots=range(SLOTS),
            watching=issue_watching(),
            recent=RecentTraffic(folder / "recent"),
        )
        while shard.step():
            pass
        shard.checkpoint()


def said(process, *wanted):
    """Return the words of the next line that begins with one of these."""
    while (words := process.stdout.readline().split())[0] not in wanted:
        assert words[0] == "figures", words
    return words


def test_no_kill_of_the_clusterer_shows_in_what_it_ends_as(tmp_path):
    """Killed at any moment of reading, clustering, saving and telling, amid a stream."""
    settings = Settings(home=tmp_path / "home", store="", event_log="")
    sent = events()
    chance = random.Random(5)
    store = Store.open(settings.store_url)
    epoch = Shards(store).deal(1).epoch
    store.close()
    ends = [*POINTS, *[""] * (KILLS - len(POINTS))]
    chance.shuffle(ends)
    log = open_event_log(settings.event_log_url)
    process = subprocess.Popen(
        [sys.executable, "-c", SHARD, str(settings.root), str(epoch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        start_new_session=True,
    )
    died = 0
    try:
        for number, end in enumerate(ends):
            each = EVENTS // KILLS
            log.append(sent[number * each : (number + 1) * each])
            print(end, file=process.stdin)
            pid = int(said(process, "begun")[1])
            if not end:
                if number % 2:  # at work already, or while it opens its files
                    said(process, "figures")
                time.sleep(chance.uniform(0, 0.1))
                subprocess.run(["kill", "-9", str(pid)], check=True)
            assert said(process, "ended")[1] == f"{signal.SIGKILL:d}", end
            died += 1
        print(file=process.stdin)
        pid = int(said(process, "begun")[1])
        while said(process, "figures") != ["figures", "0", "well"]:
            pass
        subprocess.run(["kill", "-TERM", str(pid)], check=True)
        assert said(process, "ended")[1] == "whole"
        process.stdin.close()
        process.wait(60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        process.stdout.close()
        log.close()

    assert died == KILLS
    uninterrupted(tmp_path / "whole", sent)
    state, expected = state_of(settings.defence_folder), state_of(tmp_path / "whole")
    assert set(state) == {f"tenant {n}" for n in range(TENANTS)}
    assert sum(load(saved.stream).texts for saved in state.values()) == EVENTS
    assert state == expected  # byte by byte: clusters, what watches them, what was told
    assert recent_of(settings.defence_folder) == recent_of(tmp_path / "whole")
    left = [path.name for path in (settings.defence_folder / "slots").iterdir()]
    assert not [name for name in left if name.startswith(".")]
