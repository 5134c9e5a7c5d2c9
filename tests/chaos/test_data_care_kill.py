"""kill -9 of a replay and of a re-keying, again and again: nothing lost, nothing twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

from closedloop.core.pseudonyms import load_pseudonyms, rotate_key
from closedloop.data.dead_letters import bury, dead_letters
from closedloop.data.drain import drain_to_lake
from closedloop.data.event import Event, Kind, derived_event_id, to_table
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.data.lake import Lake
from closedloop.data.log_file import Refused
from closedloop.data.rekey import rekey, stale_rows

KILLS = 20
# Each script forks a worker a line of its input, so that each dies as a process does without
# importing everything anew. Delta's threads do not survive a fork: only workers touch the lake.
FORKS = """
import os, sys
from pathlib import Path
from closedloop.core.pseudonyms import load_pseudonyms
from closedloop.data.dead_letters import dead_letters
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.data.lake import Lake
from closedloop.data.rekey import rekey
from closedloop.data.replay import replay
import deltalake, pyarrow.dataset

home = Path(sys.argv[1])

def say(*words):
    print(*words, flush=True)

def work():
    lake, names = Lake(str(home / "lake")), load_pseudonyms(home)
    {work}

for _ in sys.stdin:
    pid = os.fork()
    if not pid:
        say(os.getpid())
        work()
        os._exit(0)
    say("ended", os.waitpid(pid, 0)[1])
"""
REKEY = 'rekey(lake, names.chain, progress=lambda *_: say("step"))'
REPLAY = """
    log, letters = SqliteEventLog(home / "events.db"), dead_letters(lake)
    say("step")
    for at in range(0, len(letters), 2):
        replay(letters[at : at + 2], log=log, lake=lake, pseudonyms=names, fixes={"text": "hi"})
        say("step")
"""


class Workers:
    """Workers of one script, each killed behind one of its steps."""

    def __init__(self, work, home):
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKS.replace("{work}", work), str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.read()
        assert self._process.wait(60) == 0
        self._process.stdout.close()

    def one(self, *, kill_after=None, chance=None):
        """Let a worker work; kill it after some steps. Return how it ended."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        pid, steps = int(self._process.stdout.readline()), 0
        while not (line := self._process.stdout.readline()).startswith("ended"):
            assert line, "the script died"
            steps += 1
            if steps == kill_after:
                time.sleep(chance.uniform(0, 0.02))  # anywhere in the next step
                os.kill(pid, signal.SIGKILL)
        return int(line.split()[1])


def test_a_rekeying_that_is_killed_loses_and_doubles_nothing(tmp_path):
    home = tmp_path
    lake, chain = Lake(str(home / "lake")), load_pseudonyms(home).chain
    first = datetime(2026, 1, 1, tzinfo=UTC)
    for table in ("turns", "predictions"):
        for day in range(KILLS // 2 + 2):
            ts = first + timedelta(days=day)
            lake.append(
                table,
                to_table(
                    Event(
                        event_id=derived_event_id(ts, table, str(number)),
                        ts=ts,
                        tenant="shop",
                        kind=Kind.TURN,
                        text=f"text {number}",
                        user_id=chain.pseudonym(f"user {number % 7}", tenant="shop"),
                    )
                    for number in range(20)
                ),
            )
    before = {table: lake.read(table).sort_by("event_id") for table in ("turns", "predictions")}
    rotate_key(home, "shop")
    chain = load_pseudonyms(home).chain
    chance = random.Random(4)
    with Workers(REKEY, home) as workers:
        # A worker passes over what is done, so the later ones make more steps before they work.
        ends = [workers.one(kill_after=number + 1, chance=chance) for number in range(KILLS)]
    assert ends == [signal.SIGKILL] * KILLS
    assert stale_rows(lake, chain)
    rekey(lake, chain)
    assert stale_rows(lake, chain) == {}
    for table, was in before.items():
        now = lake.read(table).sort_by("event_id")
        assert now.drop_columns("user_id").equals(was.drop_columns("user_id"))
        renewed = [chain.renew(name, tenant="shop") for name in was["user_id"].to_pylist()]
        assert now["user_id"].to_pylist() == renewed


def test_a_replay_that_is_killed_loses_and_doubles_nothing(tmp_path):
    home = tmp_path
    lake, names = Lake(str(home / "lake")), load_pseudonyms(home)
    count = 4 * KILLS
    bury(
        lake,
        [
            Refused(line=n, reason="the text is empty", raw=f'{{"text": "", "user_id": "u{n}"}}')
            for n in range(count)
        ],
        source="a.jsonl",
        tenant="shop",
        pseudonyms=names,
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    chance = random.Random(5)
    with Workers(REPLAY, home) as workers:
        ends = [
            workers.one(kill_after=chance.choice((1, 1, 2)), chance=chance) for _ in range(KILLS)
        ]
        assert ends == [signal.SIGKILL] * KILLS
        assert dead_letters(lake)
        assert workers.one() == 0
    assert dead_letters(lake) == []
    log = SqliteEventLog(home / "events.db")
    drain_to_lake(log, lake)
    log.close()
    users = Counter(lake.read("turns")["user_id"].to_pylist())
    assert users == Counter(names.of(f"u{n}", tenant="shop") for n in range(count))
    marked = {letter.event_id for letter in dead_letters(lake, replayed=True)}
    assert marked == set(lake.read("turns")["event_id"].to_pylist())
