"""The models a replica holds in memory, and how a new champion takes the place of an old one.

Loading happens beside the requests, in a thread of the follower. A model is put in its place
by one assignment after it has been hashed, loaded and asked once; a request that began with
the old one ends with it. A champion that cannot be loaded changes nothing but the report: the
version before it goes on answering.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from closedloop.core.errors import ClosedLoopError
from closedloop.models.artifacts import MODEL_FILE
from closedloop.models.registry import Champion
from closedloop.serve.catalog import Catalog, difference

logger = logging.getLogger(__name__)

_WARM_UP = ("warm up 预热",)


class Ranked(Protocol):
    """A label and how sure the model is of it."""

    @property
    def label(self) -> str:
        """The class."""

    @property
    def confidence(self) -> float:
        """Calibrated probability, 0 to 1."""


class Prediction(Ranked, Protocol):
    """What a model answers for one text."""

    @property
    def top(self) -> Sequence[tuple[str, float]]:
        """The likeliest labels with their confidences, best first."""


class Model(Protocol):
    """What serving needs of a model."""

    def predict_many(self, texts: Sequence[str]) -> Sequence[Prediction]:
        """Answer every text, in order."""


Loader = Callable[[Champion], Model]


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A model in memory and the champion it was loaded as."""

    champion: Champion
    model: Model


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelState:
    """How one model stands: what should serve, what does, and why not."""

    champion: Champion
    serving: int | None
    problem: str | None = None


class ModelHost:
    """Holds models by name; `apply` changes what it holds, `get` never waits for that.

    Parameters
    ----------
    load : callable
        Makes a model of a champion, checking its hash; raises on anything wrong.
    """

    def __init__(self, load: Loader) -> None:
        self._load = load
        self._applying = threading.Lock()
        # Replaced as a whole, never changed in place: readers need no lock.
        self._served: dict[str, Served] = {}
        self._problems: dict[str, str] = {}
        self._catalog: Catalog | None = None

    @property
    def ready(self) -> bool:
        """Whether a first catalog has been applied."""
        return self._catalog is not None

    def get(self, name: str) -> Served | None:
        """Return what answers for a model now, None where nothing does."""
        return self._served.get(name)

    def apply(self, catalog: Catalog) -> None:
        """Load and drop models until this catalog is held; may take long, never raises.

        A champion that failed before is tried again.
        """
        with self._applying:
            held = {name: served.champion for name, served in self._served.items()}
            todo = difference(held, catalog)
            if todo.unload:
                kept = {n: s for n, s in self._served.items() if n not in todo.unload}
                self._served = kept
            problems: dict[str, str] = {}
            for champion in todo.load:
                problem = self._swap_in(champion)
                if problem is not None:
                    problems[str(champion.ref)] = problem
            self._problems = problems
            self._catalog = catalog

    def states(self) -> list[ModelState]:
        """Return how every model of the catalog stands, by name."""
        catalog, served, problems = self._catalog, self._served, self._problems
        if catalog is None:
            return []
        states = []
        for champion in catalog.champions:
            name = str(champion.ref)
            now = served.get(name)
            states.append(
                ModelState(
                    champion=champion,
                    serving=now.champion.version if now else None,
                    problem=problems.get(name),
                )
            )
        return states

    def _swap_in(self, champion: Champion) -> str | None:
        try:
            model = self._load(champion)
            # Lazy parts (dictionaries, thread pools) are built here, not in a request, and a
            # model that cannot answer never serves.
            model.predict_many(_WARM_UP)
        except ClosedLoopError as error:
            problem = str(error)
        except Exception as error:  # a damaged file can fail in any way; all mean the same here
            problem = f"{type(error).__name__}: {error}"
        else:
            served = Served(champion=champion, model=model)
            self._served = {**self._served, str(champion.ref): served}
            return None
        # The reason is shown to API clients, who need not know where files are.
        problem = problem.replace(champion.path, MODEL_FILE)
        logger.warning("%s version %d was not loaded: %s", champion.ref, champion.version, problem)
        return problem
