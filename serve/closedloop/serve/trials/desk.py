"""Answers the requests of a model that has a version on trial.

One version answers, and the other is asked beside it, in a thread of its own, so that the
client does not wait; the prediction's event is written once both have answered. What is asked
beside is bounded: where too much waits, a request is not compared, and that is counted.

The version on trial never costs a request. It answers in a thread with a time limit, and where
it fails, takes too long or is not in memory, the champion gives the answer. A version that hangs
is not asked again until it has come back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from closedloop.core.errors import Overloaded
from closedloop.data.event import Event
from closedloop.models.prediction import Prediction
from closedloop.models.trial import subject_of
from closedloop.serve.answer_events import prediction_events
from closedloop.serve.answer_threads import AnswerThreads
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.http.messages import PredictRequest
from closedloop.serve.model_host import Model, OnTrial, Served
from closedloop.serve.rulings import Rules, Rulings, no_rules
from closedloop.serve.stamp import NEW, Stamp
from closedloop.serve.trials.counts import Tallies, Tally, TrialKey
from closedloop.serve.trials.events import note_answers, note_problem, note_trial
from closedloop.serve.trials.outcome import Answers, Outcome, Side, failure
from closedloop.serve.trials.threads import Asked, Question, TrialThreads

_CANARIES = 8  # requests that wait for versions on trial at a time; more go to the champion
_LOADING = Outcome(problem="not asked: it was not in memory yet")
_HANGS = Outcome(problem="it hangs in an earlier request", error=True)


class TrialDesk:
    """One replica's trials.

    Parameters
    ----------
    writer : EventWriter
        Where predictions go.
    mask : callable
        Replaces personal data in a text.
    pseudonym : callable
        Takes (user id, tenant) and returns what is stored for the user.
    answer_s : float
        How long a version on trial may take; see `TrialThreads`.
    backlog : int
        Answered requests that may wait for the other version.
    rules : callable, optional
        Returns the keyword rules that apply now.
    """

    def __init__(
        self,
        *,
        writer: EventWriter,
        mask: Callable[[str], str],
        pseudonym: Callable[[str, str], str],
        answer_s: float = 1.0,
        backlog: int = 32,
        rules: Rules = no_rules,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._mask = mask
        self._pseudonym = pseudonym
        self._rules = rules
        self._tallies = Tallies()
        self._masking = AnswerThreads("mask-on-trial")
        self._canary = TrialThreads(
            "canary", threads=2, places=_CANARIES, limit_s=answer_s, clock=clock
        )
        self._beside = TrialThreads(
            "beside", threads=1, places=backlog, limit_s=answer_s, clock=clock
        )

    async def predict(
        self,
        served: Served,
        on_trial: OnTrial,
        request: PredictRequest,
        ask_champion: Callable[[], Awaitable[Outcome]],
        out: Callable[[str, Prediction], dict[str, Any]],
        stamp: Stamp = NEW,
    ) -> dict[str, Any]:
        """Answer texts by champion or canary and have the other version asked beside.

        Parameters
        ----------
        served, on_trial : Served, OnTrial
            The champion, and what is on trial beside it.
        ask_champion : callable
            Returns the champion's answers, or raises; guarded as those of any other model.
        out : callable
            Makes a prediction's part of the response of (its id, the answer).
        stamp : Stamp
            The ids of the call, and what its events say of it.
        """
        started = time.perf_counter()
        champion, trial = served.champion, on_trial.trial
        key = TrialKey(model=str(trial.ref), champion=champion.version, trial=trial.version)
        request_id = stamp.request_id()
        texts = request.all_texts
        masked = await self._masking.run(texts, lambda: [self._mask(text) for text in texts])
        subject = subject_of(
            user_id=request.user_id, dialogue_id=request.dialogue_id, request_id=request_id
        )
        side: Side = "champion"
        problem = self._absent(key, on_trial)
        if not problem and trial.answers(subject):
            first = await self._ask_canary(Asked(key, "trial"), on_trial.model, masked)
            problem = first.problem
            side = "champion" if problem else "trial"
        if side == "champion":
            try:
                first = await ask_champion()
            except Overloaded:  # it was not asked
                raise
            except Exception as error:
                self._tallies.count(key, "champion", failure(error))
                if not problem:
                    # It is asked the same, or texts that nobody can answer would speak for it.
                    self._ask(self._beside, Asked(key, "trial"), on_trial.model, masked)
                raise
            self._tallies.count(key, "champion", first)
        answered_by = champion if side == "champion" else trial.candidate
        ids = [stamp.event_id(index) for index in range(len(first.answers))]
        events = prediction_events(
            answered_by,
            request,
            zip(ids, masked, first.answers, strict=True),
            pseudonym=self._pseudonym,
            latency_ms=(time.perf_counter() - started) * 1000,
            stamp=stamp,
        )
        note_trial(events, key, trial.stage, by=side)
        note_answers(events, side, first.answers)
        rulings = Rulings(self._rules(), masked, tenant=trial.ref.tenant, channel=request.channel)
        events = rulings.noted(events)
        if problem:
            note_problem(events, "trial", problem)
            self._writer.offer(events, admitted=True)
        else:
            other: Side = "trial" if side == "champion" else "champion"
            model = on_trial.model if side == "champion" else served.model
            asked = self._ask(self._beside, Asked(key, other), model, masked)
            asked.outcome.add_done_callback(
                partial(self._compare, asked.asked, events, first.answers)
            )
        return {
            "request_id": request_id,
            "model": str(trial.ref),
            "version": answered_by.version,
            "predictions": rulings.answers(
                [out(i, answer) for i, answer in zip(ids, first.answers, strict=True)]
            ),
        }

    def sweep(self) -> None:
        """Give up what is out of time; call it twice a second, or events wait for ever."""
        self._canary.sweep()
        self._beside.sweep()

    def take(self) -> dict[TrialKey, Tally]:
        """Return what was counted since the last time."""
        return self._tallies.take()

    def close(self) -> None:
        """Write the events that still wait for an answer, without it, and end the threads."""
        self._canary.close()
        self._beside.close()
        self._masking.close()

    def _absent(self, key: TrialKey, on_trial: OnTrial) -> str:
        """Return why the version on trial cannot be asked, and count that; "" where it can."""
        if on_trial.model is not None:
            return ""
        missing = _LOADING
        if on_trial.problem is not None:
            missing = Outcome(problem=f"not loaded: {on_trial.problem[:200]}", error=True)
        self._tallies.count(key, "trial", missing)
        return missing.problem

    async def _ask_canary(
        self, asked: Asked, model: Model | None, masked: Sequence[str]
    ) -> Outcome:
        """Ask the version on trial while the client waits."""
        question = self._ask(self._canary, asked, model, masked)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(question.outcome), question.limit_s)
        except TimeoutError:
            self._canary.give_up(question)
            return question.outcome.result()

    def _ask(
        self, threads: TrialThreads, asked: Asked, model: Model | None, masked: Sequence[str]
    ) -> Question:
        """Have a version asked in a thread; whatever comes of it is counted, once."""
        assert model is not None
        hangs = self._canary.hangs(asked) or self._beside.hangs(asked)
        question = threads.ask(asked, model, masked, instead=_HANGS if hangs else None)
        question.outcome.add_done_callback(
            lambda done: self._tallies.count(asked.key, asked.side, done.result())
        )
        return question

    def _compare(
        self, other: Asked, events: Sequence[Event], answers: Answers, done: Future[Outcome]
    ) -> None:
        """Write the events of an answered request once the other version has answered."""
        outcome = done.result()
        if outcome.problem:
            note_problem(events, other.side, outcome.problem)
        else:
            note_answers(events, other.side, outcome.answers)
            self._tallies.compare(other.key, answers, outcome.answers)
        self._writer.offer(events, admitted=True)
