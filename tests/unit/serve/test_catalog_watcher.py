import asyncio
from concurrent.futures import ThreadPoolExecutor

from closedloop.core.errors import EngineError, NotFound
from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.models.trial import Stage, Trial
from closedloop.serve.catalog import Catalog
from closedloop.serve.catalog_watcher import CatalogWatcher, follow
from closedloop.serve.model_host import ModelHost
from closedloop.serve.trials.counts import Counts, Tally, TrialKey


def catalog(*versions):
    ref = ModelRef(tenant="retail", algorithm="intent", name="desk")
    return Catalog.of([Champion(ref=ref, version=v, path="", sha256="") for v in versions])


class Poller:
    """Says what the test puts in; an exception is raised."""

    def __init__(self, says):
        self.says = says

    def poll(self):
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def watcher(poller):
    return CatalogWatcher(lambda: poller, poll_s=0.001)


def test_a_caller_with_another_digest_is_answered_at_once():
    async def run():
        return await watcher(Poller(catalog(1))).changes("", 10)

    assert asyncio.run(run()) == catalog(1)


def test_a_caller_who_knows_waits_for_the_change():
    async def run():
        poller = Poller(catalog(1))
        watching = watcher(poller)
        first = await watching.changes("", 10)
        calls = [asyncio.create_task(watching.changes(first.digest, 10)) for _ in range(3)]
        done, _ = await asyncio.wait(calls, timeout=0.05)
        assert not done
        poller.says = catalog(2)
        return await asyncio.gather(*calls)

    assert asyncio.run(run()) == [catalog(2)] * 3


def test_a_wait_ends_with_the_same_catalog():
    async def run():
        return await watcher(Poller(catalog(1))).changes(catalog(1).digest, 0.05)

    assert asyncio.run(run()) == catalog(1)


def test_a_registry_that_is_away_is_asked_again():
    async def run():
        poller = Poller(EngineError("away", remedy="wait"))
        watching = watcher(poller)
        assert await watching.changes("", 0.05) is None
        poller.says = catalog(1)
        first = await watching.changes("", 10)
        poller.says = EngineError("away again", remedy="wait")
        assert await watching.changes(first.digest, 0.05) == first  # the last one known
        return first

    assert asyncio.run(run()) == catalog(1)


class Handle:
    """Looks like an actor's handle and calls the watcher in place."""

    def __init__(self, watching):
        self._watching = watching

    @property
    def changes(self):
        return self

    def remote(self, digest, wait_s):
        return self._watching.changes(digest, wait_s)


def test_a_host_follows_and_survives_a_lost_watcher(monkeypatch):
    from ray.exceptions import ActorDiedError

    from closedloop.serve import catalog_watcher

    monkeypatch.setattr(catalog_watcher, "_RETRY_S", 0.001)
    poller = Poller(catalog(1))
    finds, contact = [], []

    class Lost:
        async def changes(self, *_):
            raise ActorDiedError

    def find():
        finds.append(1)
        return Handle(Lost() if len(finds) == 1 else watcher(poller))

    class Model:
        size_bytes = 1

        def predict_many(self, texts):
            return texts

    async def run():
        host = ModelHost(lambda champion: Model())
        applied = asyncio.Event()

        def on_contact(answered):
            contact.append(answered)
            if answered:
                applied.set()

        with ThreadPoolExecutor(1) as loading:
            task = asyncio.create_task(follow(find, host, loading, on_contact=on_contact))
            for version in (1, 2):
                poller.says = catalog(version)
                await asyncio.wait_for(applied.wait(), 10)
                applied.clear()
                served = await host.fetch("retail.intent.desk")
                assert served.champion.version == version
            task.cancel()
        return len(finds), contact[:3]

    assert asyncio.run(run()) == (2, [False, True, True])


KEY = TrialKey(model="retail.intent.desk", champion=1, trial=2)


def failing(requests=60):
    return Tally(
        champion=Counts(requests=requests),
        trial=Counts(requests=requests, errors=requests),
        last_error="failed: ValueError",
    )


def on_trial():
    ref = ModelRef(tenant="retail", algorithm="intent", name="desk")
    one, two = (Champion(ref=ref, version=v, path="", sha256="") for v in (1, 2))
    return Catalog.of([one], [Trial(candidate=two, stage=Stage.CANARY, percent=25.0)])


class Registry(Poller):
    """A poller whose trial ends when it is told so; first come the errors."""

    def __init__(self, *errors):
        super().__init__(on_trial())
        self.errors = list(errors)
        self.ended = []

    def roll_back(self, trial, reason):
        if self.errors:
            error = self.errors.pop(0)
            if isinstance(error, NotFound):
                self.says = Catalog.of([])
            raise error
        self.ended.append((trial.version, reason))
        self.says = catalog(1)
        return trial


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def test_a_trial_that_fails_is_rolled_back_and_the_catalog_follows():
    async def run():
        registry = Registry()
        watching = watcher(registry)
        first = await watching.changes("", 10)
        assert [trial.version for trial in first.trials] == [2]
        await watching.count({KEY: failing(30)}, "a", 1)
        await watching.count({KEY: failing(30)}, "a", 1)  # sent again: not 60
        assert await watching.changes(first.digest, 0.05) == first
        assert registry.ended == []
        await watching.count({KEY: failing(30)}, "b", 1)
        second = await watching.changes(first.digest, 10)
        return registry.ended, second, await watching.trial_totals()

    ((version, reason),), second, totals = asyncio.run(run())
    assert version == 2
    assert reason.startswith("rolled back: 60 of 60 requests failed")
    assert second.trials == ()
    assert totals == {}


def test_a_rollback_is_recorded_and_stands_where_that_fails():
    told = []

    def record(trial, reason):
        told.append((trial.version, reason))
        raise OSError("the store is away")

    async def run():
        registry = Registry()
        watching = CatalogWatcher(lambda: registry, poll_s=0.001, record=record)
        first = await watching.changes("", 10)
        await watching.count({KEY: failing()}, "a", 1)
        second = await watching.changes(first.digest, 10)
        return registry.ended, second

    ended, second = asyncio.run(run())
    assert told == ended
    assert second.trials == ()


def test_a_registry_that_is_away_delays_the_rollback_only():
    async def run():
        registry = Registry(*[EngineError("away", remedy="wait")] * 3)
        watching = watcher(registry)
        await watching.changes("", 10)
        await watching.count({KEY: failing()}, "a", 1)
        await until(lambda: registry.ended)
        return registry

    registry = asyncio.run(run())
    assert registry.errors == []
    assert len(registry.ended) == 1


def test_a_model_that_was_deleted_is_rolled_back_once():
    async def run():
        registry = Registry(NotFound("gone", remedy="none"))
        watching = watcher(registry)
        first = await watching.changes("", 10)
        await watching.count({KEY: failing()}, "a", 1)
        second = await watching.changes(first.digest, 10)
        await watching.count({KEY: failing()}, "a", 2)
        return registry.ended, second.champions, await watching.trial_totals()

    assert asyncio.run(run()) == ([], (), {})


def test_a_trial_begun_again_at_once_is_watched_again():
    """The catalog's digest is the same as before, though the trial is another one."""

    class AtOnce(Registry):
        def roll_back(self, trial, reason):
            ended = super().roll_back(trial, reason)
            self.says = on_trial()
            return ended

    async def run():
        registry = AtOnce()
        watching = watcher(registry)
        await watching.changes("", 10)
        async with asyncio.timeout(20):
            while len(registry.ended) < 2:
                # What comes between the end and the new beginning belongs to neither.
                await watching.count({KEY: failing()})
                await asyncio.sleep(0.001)
        return registry.ended

    assert len(asyncio.run(run())) >= 2
