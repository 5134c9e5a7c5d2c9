import asyncio
from concurrent.futures import ThreadPoolExecutor

from closedloop.core.errors import EngineError
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Champion
from closedloop.serve.catalog import Catalog
from closedloop.serve.catalog_watcher import CatalogWatcher, follow
from closedloop.serve.model_host import ModelHost


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
