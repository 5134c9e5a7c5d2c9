"""Traffic over HTTP, as the workflows need it: replay with feedback, and probing during a swap."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from closedloop.core.errors import ClosedLoopError, EngineError
from closedloop.models.reference import ModelRef
from closedloop.serve.client import Client
from closedloop.workflows.context import (
    EVALUATION_CHANNEL,
    LabelledTexts,
    ReplayReport,
    StageProgress,
)

_CONNECTIONS = 4
_TEXTS_A_REQUEST = 8  # what one user session asks
_FOLLOW_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedbackHabits:
    """How often simulated users rate an answer, as shares of the answers of a kind."""

    down_if_wrong: float = 0.6
    down_if_right: float = 0.02
    up_if_right: float = 0.15

    def rate(self, *, right: bool, chance: float) -> Literal["up", "down"] | None:
        """Return ``up``, ``down`` or None for a draw of ``chance`` in [0, 1)."""
        if not right:
            return "down" if chance < self.down_if_wrong else None
        if chance < self.down_if_right:
            return "down"
        return "up" if chance < self.down_if_right + self.up_if_right else None


@dataclass(kw_only=True, slots=True)
class _Tally:
    requests: int = 0
    failed: int = 0
    liked: int = 0
    disliked: int = 0
    versions: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def report(self) -> ReplayReport:
        return ReplayReport(
            requests=self.requests,
            failed=self.failed,
            liked=self.liked,
            disliked=self.disliked,
            versions=tuple(sorted(self.versions)),
        )


class HttpServing:
    """The serving layer as its clients meet it; implements the workflows' ``Serving``.

    Parameters
    ----------
    base_url : str
        Of the API.
    key : str
        API key that reaches the models.
    habits : FeedbackHabits
        Of the simulated users of `replay`.
    """

    def __init__(
        self, base_url: str, key: str, *, habits: FeedbackHabits = FeedbackHabits()
    ) -> None:
        self._base_url = base_url
        self._key = key
        self._habits = habits

    def wait_until_serving(self, ref: ModelRef, version: int) -> float:
        """Ask until the version answers; the watcher follows the alias within a second or two."""
        began = time.monotonic()
        pause = threading.Event()
        with self._client() as client:
            while time.monotonic() - began < _FOLLOW_TIMEOUT_S:
                state = {model.model: model for model in client.models()}.get(str(ref))
                if state and state.serving == version:
                    return time.monotonic() - began
                pause.wait(0.05)
        problem = f" ({state.problem})" if state and state.problem else ""
        raise EngineError(
            f"{ref} version {version} was released but does not answer after "
            f"{_FOLLOW_TIMEOUT_S:.0f} s{problem}.",
            remedy="See 'closedloop status' and the replicas' logs.",
        )

    def predict(self, ref: ModelRef, texts: Sequence[str]) -> list[str]:
        """Return the label of each of up to 256 texts."""
        with self._client() as client:
            answers = client.predict(str(ref), texts, channel=EVALUATION_CHANNEL)
            return [answer.label for answer in answers.predictions]

    def replay(
        self, ref: ModelRef, traffic: LabelledTexts, *, seed: int, progress: StageProgress
    ) -> ReplayReport:
        """Send the traffic in small requests over a few connections, with feedback on answers."""
        tally = _Tally()
        asked = 0

        def session(client: Client, start: int) -> None:
            nonlocal asked
            chance = random.Random(f"{seed}:{start}")
            texts = traffic.texts[start : start + _TEXTS_A_REQUEST]
            labels = traffic.labels[start : start + _TEXTS_A_REQUEST]
            try:
                answers = client.predict(str(ref), texts)
                rated = [
                    (answer, self._habits.rate(right=answer.label == label, chance=chance.random()))
                    for answer, label in zip(answers.predictions, labels, strict=True)
                ]
                for answer, thumb in rated:
                    if thumb is not None:
                        client.feedback(answer.prediction_id, thumb)
            except ClosedLoopError:
                with tally.lock:
                    tally.failed += 1
                return
            with tally.lock:
                tally.requests += 1
                tally.versions.add(answers.version)
                tally.liked += sum(thumb == "up" for _, thumb in rated)
                tally.disliked += sum(thumb == "down" for _, thumb in rated)
                asked += len(texts)
                progress(asked, len(traffic))

        starts = range(0, len(traffic), _TEXTS_A_REQUEST)
        with self._client() as client, ThreadPoolExecutor(_CONNECTIONS) as pool:
            for _ in pool.map(lambda start: session(client, start), starts):
                pass
        return tally.report()

    def probe_during(
        self, ref: ModelRef, texts: Sequence[str], change: Callable[[], float]
    ) -> tuple[float, ReplayReport]:
        """Keep asking, without retries, while ``change`` runs and for a moment after it."""
        tally = _Tally()
        over = threading.Event()

        def ask() -> None:
            with Client(self._base_url, self._key, attempts=1) as client:
                for text in _endless(texts):
                    try:
                        answers = client.predict(str(ref), [text], channel=EVALUATION_CHANNEL)
                    except ClosedLoopError:
                        with tally.lock:
                            tally.failed += 1
                    else:
                        with tally.lock:
                            tally.versions.add(answers.version)
                    with tally.lock:
                        tally.requests += 1
                    if over.is_set():
                        return

        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            askers = [pool.submit(ask) for _ in range(_CONNECTIONS)]
            try:
                seconds = change()
            finally:
                over.set()
            for asker in askers:
                asker.result()
        return seconds, tally.report()

    def _client(self) -> Client:
        return Client(self._base_url, self._key)


def _endless(texts: Sequence[str]) -> Iterator[str]:
    while True:
        yield from texts
