"""Replicas' reports of their trials, which may be lost on the way there or on the way back."""

import asyncio
from collections import Counter

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError

from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.models.trial import Stage, Trial
from closedloop.serve.catalog import Catalog
from closedloop.serve.trials.counts import Counts, Tallies, TrialKey
from closedloop.serve.trials.ledger import TrialLedger
from closedloop.serve.trials.outcome import Outcome
from closedloop.serve.trials.reports import report
from closedloop.serve.trials.verdict import TrialLimits

REF = ModelRef(tenant="retail", algorithm="intent", name="desk")
KEY = TrialKey(model=str(REF), champion=1, trial=2)


def ledger():
    made = TrialLedger(TrialLimits())
    one, two = (Champion(ref=REF, version=v, path="", sha256="") for v in (1, 2))
    made.follow(Catalog.of([one], [Trial(candidate=two, stage=Stage.SHADOW)]))
    return made


class Desk(Tallies):
    sweeps = 0

    def sweep(self):
        self.sweeps += 1


class Watcher:
    """Looks like an actor's handle before a ledger; each call goes as the script says."""

    def __init__(self, script):
        self.ledger, self.script, self.calls, self.finds = ledger(), list(script), 0, 0

    def find(self):
        self.finds += 1
        return self

    @property
    def count(self):
        return self

    async def remote(self, tallies, reporter, number):
        self.calls += 1
        fate = self.script.pop(0) if self.script else "arrives"
        if fate == "lost":
            raise ActorDiedError
        self.ledger.count(tallies, reporter=reporter, number=number)
        if fate == "answer lost":
            raise ActorUnavailableError("the answer was lost", None)


@pytest.mark.parametrize(
    "script",
    [
        [],
        ["lost", "lost"],
        ["answer lost", "lost", "answer lost"],
        ["arrives", "answer lost", "arrives", "lost"],
    ],
    ids=str,
)
def test_every_request_is_counted_once_whatever_is_lost(script):
    desk, watcher = Desk(), Watcher(script)

    async def run():
        reporting = asyncio.create_task(report(watcher.find, desk, every_s=0.001))
        for sent in range(1, 6):
            desk.count(KEY, "trial", Outcome(latency_ms=1.0))
            async with asyncio.timeout(20):
                calls = watcher.calls
                while watcher.calls == calls:
                    await asyncio.sleep(0.001)
            assert watcher.ledger.totals().get(KEY) is None or (
                watcher.ledger.totals()[KEY].trial.requests <= sent
            )
        async with asyncio.timeout(20):
            while watcher.ledger.totals()[KEY].trial.requests < 5 or watcher.script:
                await asyncio.sleep(0.001)
        swept = desk.sweeps
        while desk.sweeps < swept + 3:  # some rounds more, in which nothing is sent
            await asyncio.sleep(0.001)
        reporting.cancel()

    asyncio.run(run())
    assert watcher.ledger.totals()[KEY].trial == Counts(
        requests=5, latencies=Counter(dict.fromkeys(_bins(), 5))
    )
    assert watcher.finds == 1 + sum("lost" in fate for fate in script)


def _bins():
    counts = Counts()
    counts.answered(1.0)
    return counts.latencies


def test_nothing_is_sent_where_nothing_is_on_trial():
    desk, watcher = Desk(), Watcher([])

    async def run():
        reporting = asyncio.create_task(report(watcher.find, desk, every_s=0.001))
        async with asyncio.timeout(20):
            while desk.sweeps < 5:
                await asyncio.sleep(0.001)
        reporting.cancel()

    asyncio.run(run())
    assert (watcher.calls, watcher.finds) == (0, 0)
