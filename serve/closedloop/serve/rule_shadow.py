"""What the models would have said to a turn that a rule decided: asked behind the client's back.

In a turn a rule goes before the models, so that nobody would learn when a model has come to answer
as the rule does. So the models of the turn are asked afterwards, in a thread, and their answer is
noted in the rule's event, which is written then. Nothing waits for it: a replica asks a few times
a second and no more, only models that it holds in memory and that are well, and gives up what
takes long. A turn that found no place leaves its event without a model's answer.

The attributes of the event:

============================================ ==================================================
``shadow_model``, ``…_version``              the model that would have decided, else the surest
``shadow_prediction``, ``…_confidence``      its answer
``shadow_problem``                           in the place of these: why no model was asked
============================================ ==================================================
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial

from closedloop.data.event import Event
from closedloop.models.model_version import Champion
from closedloop.models.prediction import Prediction
from closedloop.serve.admission.access import RateLimit
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.model_host import ModelHost, Served
from closedloop.serve.trials.counts import TrialKey
from closedloop.serve.trials.outcome import Outcome
from closedloop.serve.trials.threads import Asked, Question, TrialThreads

_ANSWER_S = 1.0
_PLACES = 8
# Enough to judge a rule within minutes, and less than a hundredth of what a replica answers.
_PER_SECOND, _AT_ONCE = 10.0, 20
_EVERYBODY = ""


class RuleShadow:
    """Asks the models of a replica about turns that rules decided.

    Parameters
    ----------
    host : ModelHost
        The models.
    writer : EventWriter
        Where the rules' events go.
    problem : callable
        Tells of a champion why it is not to be asked, None where it is well.
    limit : RateLimit, optional
        How often models are asked.
    answer_s : float
        How long they may take.
    """

    def __init__(
        self,
        *,
        host: ModelHost,
        writer: EventWriter,
        problem: Callable[[Champion], str | None],
        limit: RateLimit | None = None,
        answer_s: float = _ANSWER_S,
    ) -> None:
        self._host = host
        self._writer = writer
        self._problem = problem
        if limit is None:
            limit = RateLimit(rate_per_s=_PER_SECOND, burst=_AT_ONCE)
        self._limit = limit
        self._threads = TrialThreads("rule-shadow", threads=1, places=_PLACES, limit_s=answer_s)
        self._open = 0
        self._changed = threading.Condition()

    def write(self, event: Event, models: Sequence[str], *, least: float) -> None:
        """Write a rule's event, with what the models say of its text as soon as they have.

        Parameters
        ----------
        event : Event
            Of a turn, admitted by the writer.
        models : sequence of str
            Who would have been asked, in their order.
        least : float
            The confidence from which an answer is given.
        """
        asked, reason = self._to_ask(models)
        if not asked:
            event.attributes["shadow_problem"] = reason
            self._writer.offer([event], admitted=True)
            return
        first = asked[0].champion
        chain = _Chain(asked, least)
        with self._changed:
            self._open += 1
        version = TrialKey(model=str(first.ref), champion=first.version, trial=first.version)
        question = self._threads.ask(Asked(version, "champion"), chain, [event.text or ""])
        question.outcome.add_done_callback(partial(self._noted, event, chain))
        self._watch(question)

    def flush(self, timeout_s: float) -> bool:
        """Wait until every event is with the writer; tell whether that came about in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout_s)

    def close(self) -> None:
        """Write the events that still wait for an answer, without it, and end the thread."""
        self._threads.close()

    def _to_ask(self, models: Sequence[str]) -> tuple[list[Served], str]:
        # A turn passes over a model that cannot be loaded.
        able = [model for model in models if self._host.problem(model) is None]
        held = [served for model in able if (served := self._host.get(model)) is not None]
        if len(held) < len(able) or not held:
            return [], "not asked: a model was not in memory"
        if any(self._problem(served.champion) is not None for served in held):
            return [], "not asked: a model is slow or fails"
        if self._limit.take(_EVERYBODY) > 0:
            return [], "not asked: enough others were"
        return held, ""

    def _noted(self, event: Event, chain: _Chain, done: Future[Outcome]) -> None:
        outcome = done.result()
        if outcome.problem:
            event.attributes["shadow_problem"] = outcome.problem
        elif chain.by is not None:
            (answer,) = outcome.answers
            event.attributes.update(
                shadow_model=str(chain.by.ref),
                shadow_version=str(chain.by.version),
                shadow_prediction=answer.label,
                shadow_confidence=f"{float(answer.confidence):.6g}",
            )
        try:
            self._writer.offer([event], admitted=True)
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def _watch(self, question: Question) -> None:
        """Give a question up once its time is over."""
        if not question.outcome.done():
            loop = asyncio.get_running_loop()
            loop.call_later(question.limit_s, self._sweep, question)

    def _sweep(self, question: Question) -> None:
        self._threads.sweep()
        self._watch(question)


class _Chain:
    """Models that are asked in turn until one is sure enough, as one model."""

    size_bytes = 0

    def __init__(self, asked: Sequence[Served], least: float) -> None:
        self._asked = asked
        self._least = least
        self.by: Champion | None = None  # who gave the answer

    def predict_many(self, texts: Sequence[str]) -> Sequence[Prediction]:
        best: Prediction | None = None
        for served in self._asked:
            (answer,) = served.model.predict_many(texts)
            if best is None or answer.confidence > best.confidence:
                best, self.by = answer, served.champion
            if answer.confidence >= self._least:
                break
        return [] if best is None else [best]
