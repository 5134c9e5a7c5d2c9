"""The models a replica holds in memory, and how a new champion takes the place of an old one.

A catalog may name more models than memory holds. Each is mapped when it is first asked for, or
ahead of that while there is room; what was not asked for longest goes first when there is none.
Loading happens beside the requests, once however many ask, and files are mapped, so that all
replicas of a machine share their pages.

A model is put in its place by one assignment after it has been hashed, loaded and asked once; a
request that began with the old one ends with it. A champion that cannot be loaded changes
nothing but the report: the version before it goes on answering.

Tenants take the loading threads in turns (`fair_pool`): one that asks for hundreds of models, or
whose files take for ever to read, does not hold up the models of another.

A version on trial is held beside its champion and goes with it. It is always loaded beside the
requests: until it is there, and where it cannot be loaded, the champion answers alone.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Protocol

from closedloop.core.errors import ClosedLoopError
from closedloop.models.artifacts import MODEL_FILE
from closedloop.models.model_version import Champion
from closedloop.models.prediction import Prediction
from closedloop.models.trial import Trial
from closedloop.serve.admission.fair_pool import FairPool
from closedloop.serve.catalog import Catalog, difference

logger = logging.getLogger(__name__)

_WARM_UP = ("warm up 预热",)
_TRY_AGAIN_S = 5.0
_RELEASE_LOAD_S = 30.0  # `apply` waits for releases; one that takes longer loads on by itself
_TRIAL_LOAD_S = 10.0  # waited for ahead of use; then a trial loads on by itself


class Model(Protocol):
    """What serving needs of a model."""

    @property
    def size_bytes(self) -> int:
        """Memory it takes."""

    def predict_many(self, texts: Sequence[str]) -> Sequence[Prediction]:
        """Answer every text, in order."""


Loader = Callable[[Champion], Model]


@dataclass(frozen=True, kw_only=True, slots=True)
class OnTrial:
    """A version on trial as it stands in memory: loaded, failed, or neither yet."""

    trial: Trial
    model: Model | None = None
    problem: str | None = None

    @property
    def size_bytes(self) -> int:
        """Memory it takes."""
        return self.model.size_bytes if self.model else 0


@dataclass(kw_only=True, slots=True)
class Served:
    """A model in memory and the champion it was loaded as."""

    champion: Champion
    model: Model
    used_at: float = 0.0  # time.monotonic() of the last request
    trial: OnTrial | None = None  # replaced as a whole, so that a request sees one or the other

    @property
    def size_bytes(self) -> int:
        """Memory that the model and what is on trial beside it take."""
        return self.model.size_bytes + (self.trial.size_bytes if self.trial else 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelState:
    """How one model stands: what should serve, what does, and why not."""

    champion: Champion
    serving: int | None  # version that answers; loaded when it is asked for
    in_memory: bool = True
    problem: str | None = None


@dataclass(kw_only=True, slots=True)
class HostCounts:
    """What a host has done since it began."""

    loads: int = 0
    load_failures: int = 0
    evictions: int = 0
    swaps: int = 0  # of a champion in memory


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failure:
    champion: Champion
    problem: str
    at: float


def _routes(catalog: Catalog) -> dict[tuple[str, str], tuple[str, ...]]:
    routes: dict[tuple[str, str], list[str]] = {}
    for champion in catalog.champions:
        ref = champion.ref
        routes.setdefault((ref.tenant, ref.algorithm), []).append(str(ref))
    return {route: tuple(names) for route, names in routes.items()}


def _file_size(champion: Champion) -> int:
    try:
        return Path(champion.path).stat().st_size
    except OSError:
        return 0  # loading it will tell what is wrong


class ModelHost:
    """Holds models by name; `apply` changes what it should hold, `get` never waits for that.

    Parameters
    ----------
    load : callable
        Makes a model of a champion, checking its hash; raises on anything wrong.
    memory_bytes : int
        What models may take together. One that is larger on its own is held all the same.
    pinned : sequence of str
        Names or patterns (``shop.*``) of models that are held ahead of use and never let go.
    loaders : int
        Models that are loaded at a time; a tenant has all but one of the threads.
    size_of : callable
        Says about how much memory a champion will take, before it is loaded.
    """

    def __init__(
        self,
        load: Loader,
        *,
        memory_bytes: int = 1 << 30,
        pinned: Sequence[str] = (),
        loaders: int = 3,
        size_of: Callable[[Champion], int] = _file_size,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._memory_bytes = memory_bytes
        self._pinned = tuple(pinned)
        self._size_of = size_of
        self._clock = clock
        self._loaders = FairPool(threads=loaders, per_tenant=max(1, loaders - 1), name="load")
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="preload")
        # Apart: a file on trial that takes for ever must not hold up a champion.
        self._trial_loader = ThreadPoolExecutor(1, thread_name_prefix="load-trial")
        self._applying = threading.Lock()
        self._changing = threading.Lock()  # of what is held; readers need none
        self._held: dict[str, Served] = {}
        self._held_bytes = 0
        self._failures: dict[str, _Failure] = {}
        self._catalog: Catalog | None = None
        self._wanted: dict[str, Champion] = {}
        self._trials: dict[str, Trial] = {}
        self._loads: dict[str, Future[None]] = {}
        self._trial_loads: dict[str, Future[None]] = {}
        self._routes: dict[tuple[str, str], tuple[str, ...]] = {}
        self.counts = HostCounts()

    @property
    def ready(self) -> bool:
        """Whether a first catalog has been applied."""
        return self._catalog is not None

    @property
    def held_bytes(self) -> int:
        """Memory that the models held take."""
        return self._held_bytes

    @property
    def held(self) -> int:
        """How many models are in memory."""
        return len(self._held)

    @property
    def named(self) -> int:
        """How many models the catalog names."""
        return len(self._wanted)

    @property
    def tried(self) -> int:
        """How many versions on trial the catalog names."""
        return len(self._trials)

    def get(self, name: str) -> Served | None:
        """Return what answers for a model now, None where nothing is in memory."""
        served = self._held.get(name)
        if served is not None:
            served.used_at = self._clock()
        return served

    async def fetch(self, name: str) -> Served | None:
        """Return what answers for a model, loading it where it is not in memory.

        None where the catalog does not name it or it cannot be loaded; `problem` tells why.
        """
        served = self.get(name)
        if served is None and name in self._wanted:
            # Cancelling one request must not cancel the load that others wait for.
            await asyncio.shield(asyncio.wrap_future(self._loading(name)))
            served = self.get(name)
            if served is None and self.problem(name) is None:
                return await self.fetch(name)  # the champion moved while the old one was loaded
        return served

    def names(self, name: str) -> bool:
        """Tell whether the catalog names a model."""
        return name in self._wanted

    def routed(self, tenant: str, algorithm: str) -> tuple[str, ...]:
        """Return the names of a tenant's models of an algorithm, in order."""
        return self._routes.get((tenant, algorithm), ())

    def problem(self, name: str) -> str | None:
        """Return why a model's champion could not be loaded, None where nothing went wrong."""
        failure = self._failures.get(name)
        return failure.problem if failure and failure.champion == self._wanted.get(name) else None

    def apply(self, catalog: Catalog) -> Future[None]:
        """Hold this catalog: drop what it does not name, load what moved; never raises.

        What moved or came since the catalog before is loaded before this returns, the old
        version answering meanwhile; what takes longer than half a minute is loaded later. The
        future is done when as many of the others as have room, and the versions on trial beside
        them, are in memory. What failed before is tried again.
        """
        with self._applying:
            before = self._wanted if self._catalog else None
            todo = difference({n: s.champion for n, s in self._held.items()}, catalog)
            for name in todo.unload:
                self._let_go(name)
            self._wanted = {str(champion.ref): champion for champion in catalog.champions}
            self._trials = {str(trial.ref): trial for trial in catalog.trials}
            self._routes = _routes(catalog)
            self._failures = {}
            releases = []
            for champion in todo.load:
                name = str(champion.ref)
                came = before is not None and before.get(name) != champion
                if came or name in self._held or self._is_pinned(name):
                    swap = partial(self._swap_in, champion)
                    releases.append(self._loaders.submit(champion.ref.tenant, swap).future)
            wait(releases, timeout=_RELEASE_LOAD_S)
            for name in self._held:
                self._settle_trial(name)
            self._catalog = catalog
            return self._ahead.submit(self._preload, catalog)

    def states(self) -> list[ModelState]:
        """Return how every model of the catalog stands, by name."""
        catalog, held = self._catalog, self._held
        if catalog is None:
            return []
        states = []
        for champion in catalog.champions:
            name = str(champion.ref)
            now, problem = held.get(name), self.problem(name)
            serving = now.champion.version if now else None if problem else champion.version
            states.append(
                ModelState(
                    champion=champion, serving=serving, in_memory=now is not None, problem=problem
                )
            )
        return states

    def close(self) -> None:
        """End the loaders."""
        self._catalog = None  # which ends a preload
        self._ahead.shutdown(wait=True, cancel_futures=True)
        self._trial_loader.shutdown(wait=False, cancel_futures=True)
        self._loaders.close()

    def _loading(self, name: str) -> Future[None]:
        """Return the one load of a model that is under way, begun where there is none."""
        with self._changing:
            load = self._loads.get(name)
            if load is None:
                tenant = name.partition(".")[0]
                job = self._loaders.submit(tenant, partial(self._first_use, name))
                load = self._loads[name] = job.future
        return load

    def _first_use(self, name: str) -> None:
        try:
            champion, failure = self._wanted.get(name), self._failures.get(name)
            tried = failure is not None and failure.champion == champion
            if champion is None or name in self._held:
                return
            if tried and failure is not None and self._clock() - failure.at < _TRY_AGAIN_S:
                return
            self._swap_in(champion)
        finally:
            with self._changing:
                del self._loads[name]

    def _preload(self, catalog: Catalog) -> None:
        """Load models ahead of use until memory is full or another catalog came."""
        for champion in catalog.champions:
            name = str(champion.ref)
            if name in self._held or name in self._failures:
                continue
            if self._catalog is not catalog:
                return
            size = self._size_of(champion)
            if name in self._trials:
                size += self._size_of(self._trials[name].candidate)
            if self._held_bytes + size <= self._memory_bytes:
                with suppress(CancelledError):
                    self._loading(name).result()
        for load in list(self._trial_loads.values()):
            with suppress(CancelledError, TimeoutError):
                load.result(_TRIAL_LOAD_S)

    def _is_pinned(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._pinned)

    def _swap_in(self, champion: Champion) -> None:
        name = str(champion.ref)
        held = self._held.get(name)
        tried = held.trial if held else None
        model: Model | None
        problem: str | None
        if tried is not None and tried.model is not None and tried.trial.candidate == champion:
            model, problem = tried.model, None  # promoted: it is in memory, and it answered
        else:
            model, problem = self._loaded(champion)
        if model is not None:
            self._put(name, Served(champion=champion, model=model, used_at=self._clock()))
            self._settle_trial(name)
        elif problem is not None:
            failure = _Failure(champion=champion, problem=problem, at=self._clock())
            with self._changing:
                self._failures = {**self._failures, name: failure}

    def _loaded(self, champion: Champion) -> tuple[Model | None, str | None]:
        """Return a model that has answered, or why there is none."""
        try:
            model = self._load(champion)
            # Lazy parts (dictionaries, page faults) are met here, not in a request, and a
            # model that cannot answer never serves.
            model.predict_many(_WARM_UP)
        except ClosedLoopError as error:
            problem = str(error)
        except Exception as error:  # a damaged file can fail in any way; all mean the same here
            problem = f"{type(error).__name__}: {error}"
        else:
            self._count(loads=1)
            return model, None
        self._count(load_failures=1)
        # The reason is shown to API clients, who need not know where files are.
        problem = problem.replace(champion.path, MODEL_FILE)
        logger.warning("%s version %d was not loaded: %s", champion.ref, champion.version, problem)
        return None, problem

    def _count(self, *, loads: int = 0, load_failures: int = 0) -> None:
        with self._changing:
            self.counts.loads += loads
            self.counts.load_failures += load_failures

    def _settle_trial(self, name: str) -> None:
        """Make what is on trial beside a model in memory what the catalog says.

        What is loaded stays where only its stage or its share changed; anything else is loaded
        by another thread.
        """
        with self._changing:
            served, trial = self._held.get(name), self._trials.get(name)
            if served is None:
                return
            held = served.trial
            if trial is None or trial.candidate == served.champion:
                self._attach(name, None)
            elif held is None or held.trial.candidate != trial.candidate:
                self._attach(name, OnTrial(trial=trial))
            else:
                self._attach(name, replace(held, trial=trial))
            waits = served.trial is not None and served.trial.model is None
            if waits and name not in self._trial_loads:
                self._trial_loads[name] = self._trial_loader.submit(self._load_trial, name)

    def _load_trial(self, name: str) -> None:
        candidate = None
        try:
            trial = self._trials.get(name)
            if trial is None or name not in self._held:
                return
            candidate = trial.candidate
            model, problem = self._loaded(candidate)
            with self._changing:
                served, now = self._held.get(name), self._trials.get(name)
                if served is not None and now is not None and now.candidate == candidate:
                    self._attach(name, OnTrial(trial=now, model=model, problem=problem))
        finally:
            with self._changing:
                del self._trial_loads[name]
                now = self._trials.get(name)
            if now is not None and candidate is not None and now.candidate != candidate:
                self._settle_trial(name)  # another version came while this one was loaded

    def _attach(self, name: str, on_trial: OnTrial | None) -> None:
        """Put a version on trial beside its champion; the caller holds `_changing`."""
        served = self._held[name]
        before = served.size_bytes
        served.trial = on_trial
        self._make_room(dict(self._held), self._held_bytes + served.size_bytes - before, name)

    def _put(self, name: str, served: Served) -> None:
        with self._changing:
            if self._wanted.get(name) != served.champion:
                return  # it moved, or is gone, since this was begun
            former = self._held.get(name)
            if former is not None and former.trial is not None and served.trial is None:
                self._inherit(former.trial, served)
            size = self._held_bytes + served.size_bytes - (former.size_bytes if former else 0)
            self.counts.swaps += former is not None and former.champion != served.champion
            self._make_room({**self._held, name: served}, size, name)

    def _inherit(self, held: OnTrial, served: Served) -> None:
        """Keep a loaded version on trial where only the champion beside it moved."""
        trial = self._trials.get(str(served.champion.ref))
        if trial is not None and trial.candidate == held.trial.candidate:
            served.trial = replace(held, trial=trial)

    def _make_room(self, held: dict[str, Served], size: int, name: str) -> None:
        """Hold these, without those used longest ago where memory is full; ``name`` stays."""
        if size > self._memory_bytes:
            by_use = sorted(held, key=lambda other: held[other].used_at)
            for other in by_use:
                if size <= self._memory_bytes:
                    break
                if other != name and not self._is_pinned(other):
                    size -= held.pop(other).size_bytes
                    self.counts.evictions += 1
        self._held, self._held_bytes = held, size

    def _let_go(self, name: str) -> None:
        with self._changing:
            held = dict(self._held)
            gone = held.pop(name, None)
            if gone is not None:
                self._held, self._held_bytes = held, self._held_bytes - gone.size_bytes
