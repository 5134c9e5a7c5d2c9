"""Runs the ETL on RayDP while its executors are killed, and checks the tables after each run.

A program of its own, for `test_spark_executor_kill`: a JVM keeps to the first Ray that its
process has joined, and what is killed here must not be that of other tests.

    python tests/chaos/spark_under_fire.py FOLDER
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from closedloop.actors.cluster import NAMESPACE, prepare_ray
from closedloop.core.settings import Settings
from closedloop.data.etl import run_etl
from closedloop.data.event import Event, Kind, derived_event_id, to_table
from closedloop.data.lake import Lake
from closedloop.data.spark import Engine, SparkSize

KILLS = 20
EXECUTORS = 5
MEMORY_MB = 512
START = datetime(2026, 1, 1, tzinfo=UTC)


def main(folder):
    import ray

    prepare_ray(Settings(home=folder / "home"))
    ray.init(
        num_cpus=EXECUTORS + 2,
        namespace=NAMESPACE,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=str(folder / "ray"),
    )
    try:
        run_under_fire(folder)
    finally:
        ray.shutdown()


def executors(folder):
    """The process ids of this cluster's executors: Ray's Java workers with their memory."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if f"-Xmx{MEMORY_MB}M".encode() in words and any(
                str(folder).encode() in word for word in words
            ):
                found.append(int(process.name))
    return found


class Killer:
    """Kills the executors of a session one by one, while its jobs run."""

    def __init__(self, folder, kills):
        self._folder = folder
        self._left = kills
        self._draw = random.Random(7)
        self._killing = None
        self.killed = set()

    def begin(self, step, steps):
        """Is told of the ETL's steps; the first one means that a session is at work."""
        if step == 1 and step < steps and self._left:
            self.end()
            self._killing = threading.Thread(target=self._kill, args=(executors(self._folder),))
            self._killing.start()

    def end(self):
        if self._killing:
            self._killing.join()

    def _kill(self, victims):
        for victim in victims[: self._left]:
            time.sleep(self._draw.uniform(0.05, 0.8))
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                self.killed.add(victim)
        self._left -= len(self.killed & set(victims))


def talk(number):
    """A dialogue of two turns, the first of them disliked."""
    turns = [
        Event(
            event_id=derived_event_id(START, str(number), str(turn)),
            ts=START + timedelta(minutes=number, seconds=turn),
            tenant="a",
            kind=Kind.PREDICTION,
            dialogue_id=f"d{number}",
            turn=turn,
            user_id=f"u{number}",
            text=f"question {number}",
            model="a.intent.main",
            model_version=1,
            prediction="track",
            confidence=0.9,
        )
        for turn in (1, 2)
    ]
    thumb = Event(
        event_id=derived_event_id(START, str(number), "thumb"),
        ts=turns[-1].ts,
        tenant="a",
        kind=Kind.FEEDBACK,
        feedback="down",
        refers_to=turns[0].event_id,
    )
    return turns, thumb


def run_under_fire(folder):
    lake = Lake(str(folder / "lake"))
    sent, killed, attempts = [], 0, 0
    while killed < KILLS:
        talks = [talk(number) for number in range(len(sent) // 2, len(sent) // 2 + 200)]
        fresh = [turn for turns, _ in talks for turn in turns]
        sent += fresh
        lake.append("predictions", to_table(fresh))
        lake.append("feedback", to_table(thumb for _, thumb in talks))
        # A run may take three sessions; the third is left alone.
        killer = Killer(folder, min(2 * EXECUTORS, KILLS - killed))
        began = time.monotonic()
        report = run_etl(
            lake,
            engine=Engine.RAY,
            size=SparkSize(executors=EXECUTORS, cores=1, memory=f"{MEMORY_MB}m"),
            log_file=folder / "spark.log",
            progress=killer.begin,
        )
        killer.end()
        killed += len(killer.killed)
        attempts += report.attempts
        check(lake, sent)
        print(f"{killed} killed, {report.attempts} sessions, {time.monotonic() - began:.0f} s")
    assert attempts > KILLS // (2 * EXECUTORS)  # sessions died with all their executors
    assert not any(Path(lake.url, "_etl").iterdir())


def check(lake, sent):
    """Every event is in the tables once, and so is the feedback to it."""
    rows = lake.read("interactions").to_pylist()
    assert sorted(r["event_id"] for r in rows) == sorted(e.event_id for e in sent)
    assert sum(r["feedback"] == "down" for r in rows) == len(sent) // 2
    dialogues = lake.read("dialogues").to_pylist()
    assert sorted(d["dialogue_id"] for d in dialogues) == sorted({e.dialogue_id for e in sent})
    assert sum(r["turns"] for r in lake.read("daily").to_pylist()) == len(sent)
    assert lake.read("features").num_rows == len(dialogues)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
