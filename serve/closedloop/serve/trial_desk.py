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
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from closedloop.core.privacy import names_a_person
from closedloop.data.event import Event
from closedloop.models.prediction import Prediction
from closedloop.models.registry import Champion
from closedloop.models.trial import subject_of
from closedloop.serve.answer_events import prediction_events, trial_attributes
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.messages import PredictRequest
from closedloop.serve.model_host import Model, OnTrial, Served
from closedloop.serve.stamp import NEW, Stamp
from closedloop.serve.trial_counts import Tally, TrialKey

Side = Literal["champion", "trial"]
Answers = Sequence[Prediction]

_INLINE_CHARACTERS = 2_000  # as in `Predictor`: less is answered without a thread
_CANARIES = 8  # requests that wait for versions on trial at a time; more go to the champion
_BUSY = "not asked: the replica was busy"
_LOADING = "not asked: it was not in memory yet"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    """What asking a version gave: answers, or the problem."""

    answers: Answers = ()
    latency_ms: float = 0.0
    problem: str = ""
    error: bool = False  # the version's own fault


@dataclass(kw_only=True, slots=True, eq=False)
class _Question:
    """Masked texts for one version, asked in a thread."""

    key: TrialKey
    side: Side
    model: Model
    texts: Sequence[str]
    asked_at: float
    began_at: float | None = None
    ended: bool = False
    # Answered requests wait for the other version here: (their events, their answers).
    events: list[Event] = field(default_factory=list)
    answers: Answers = ()
    settled: bool = False


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
        How long a version on trial may take.
    backlog : int
        Answered requests that may wait for the other version.
    """

    def __init__(
        self,
        *,
        writer: EventWriter,
        mask: Callable[[str], str],
        pseudonym: Callable[[str, str], str],
        answer_s: float = 1.0,
        backlog: int = 32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._mask = mask
        self._pseudonym = pseudonym
        self._answer_s = answer_s
        self._backlog = backlog
        self._clock = clock
        self._changing = threading.Lock()
        self._tallies: dict[TrialKey, Tally] = {}
        self._beside: set[_Question] = set()  # not settled yet
        self._hanging: set[_Question] = set()  # out of time, and still in their threads
        self._canaries = 0
        self._long = ThreadPoolExecutor(2, thread_name_prefix="answer-on-trial")
        self._canary_pool = _canary_pool()
        self._beside_pool = _beside_pool()

    async def predict(
        self,
        served: Served,
        on_trial: OnTrial,
        request: PredictRequest,
        out: Callable[[str, Prediction], dict[str, Any]],
        stamp: Stamp = NEW,
    ) -> dict[str, Any]:
        """Answer texts by champion or canary and have the other version asked beside.

        Parameters
        ----------
        served, on_trial : Served, OnTrial
            The champion, and what is on trial beside it.
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
        inline = sum(map(len, texts)) <= _INLINE_CHARACTERS
        masked = await self._run(inline, lambda: [self._mask(text) for text in texts])

        subject = subject_of(
            user_id=request.user_id, dialogue_id=request.dialogue_id, request_id=request_id
        )
        by_trial = trial.answers(subject)
        problem = self._out_of_service(key, on_trial)
        first: _Outcome | None = None
        if by_trial and not problem:
            assert on_trial.model is not None
            first = await self._of_canary(key, on_trial.model, masked)
            problem, by_trial = first.problem, not first.problem
        if first is None or first.problem:
            by_trial = False
            try:
                first = await self._run(inline, lambda: _ask(served.model, masked))
            except Exception as error:
                self._count(key, "champion", _failure(error))
                if not problem and on_trial.model is not None:
                    # It is asked the same, or texts that nobody can answer would speak for it.
                    self._ask_beside(key, "trial", on_trial.model, masked)
                raise
        side: Side = "trial" if by_trial else "champion"
        self._count(key, side, first)
        answered_by = trial.candidate if by_trial else champion
        ids = [stamp.event_id(index) for index in range(len(first.answers))]
        events = self._events(
            answered_by, request, ids, masked, first, (time.perf_counter() - started) * 1000
        )
        for event, answer in zip(events, first.answers, strict=True):
            event.attributes.update(
                trial_attributes(
                    stage=trial.stage, champion=champion.version, trial=trial.version, by=side
                )
            )
            event.attributes.update(_told(side, answer) | stamp.attributes(answer))
        if problem:
            self._write(events, {"trial_problem": problem})
        else:
            other: Side = "champion" if by_trial else "trial"
            model = served.model if by_trial else on_trial.model
            assert model is not None
            self._ask_beside(key, other, model, masked, events, first.answers)
        return {
            "request_id": request_id,
            "model": str(trial.ref),
            "version": answered_by.version,
            "predictions": [out(i, answer) for i, answer in zip(ids, first.answers, strict=True)],
        }

    def take(self) -> dict[TrialKey, Tally]:
        """Return what was counted since the last time, and give up what is out of time."""
        self._sweep()
        with self._changing:
            taken, self._tallies = self._tallies, {}
        return taken

    def put_back(self, tallies: Mapping[TrialKey, Tally]) -> None:
        """Count again what could not be sent."""
        with self._changing:
            for key, tally in tallies.items():
                tally.add(self._tallies.get(key, Tally()))
                self._tallies[key] = tally

    def close(self) -> None:
        """Write the events that still wait for an answer, without it, and end the threads."""
        self._canary_pool.shutdown(wait=False)  # a request may still wait for it
        self._beside_pool.shutdown(wait=False, cancel_futures=True)
        for question in self._waiting():
            self._settle(question, _Outcome(problem="not asked: the replica ended"))
        self._long.shutdown(wait=True)

    async def _run(self, inline: bool, work: Callable[[], Any]) -> Any:
        if inline:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._long, work)

    def _out_of_service(self, key: TrialKey, on_trial: OnTrial) -> str:
        """Return why the version on trial is not asked at all, and count that; "" where it is."""
        if self._hanging and self._hangs(key):
            failed = _Outcome(problem="it hangs in an earlier request", error=True)
        elif on_trial.model is not None:
            return ""
        elif on_trial.problem is None:
            failed = _Outcome(problem=_LOADING)
        else:
            failed = _Outcome(problem=f"not loaded: {on_trial.problem[:200]}", error=True)
        self._count(key, "trial", failed)
        return failed.problem

    def _hangs(self, key: TrialKey) -> bool:
        with self._changing:
            return any(each.key == key and each.side == "trial" for each in self._hanging)

    async def _of_canary(self, key: TrialKey, model: Model, masked: Sequence[str]) -> _Outcome:
        """Ask the version on trial while the client waits; a failure is counted."""
        if self._canaries >= _CANARIES:
            failed = _Outcome(problem=_BUSY)
            self._count(key, "trial", failed)
            return failed
        question = _Question(
            key=key, side="trial", model=model, texts=masked, asked_at=self._clock()
        )
        self._canaries += 1
        try:
            answering: Future[_Outcome] = self._canary_pool.submit(self._work, question)
            outcome = await asyncio.wait_for(asyncio.wrap_future(answering), self._answer_s)
        except TimeoutError:
            outcome = self._out_of_time(question)
        except RuntimeError as error:  # the pool was replaced, or ended, this moment
            outcome = _Outcome(problem=f"not asked: {error}")
        finally:
            self._canaries -= 1
        if outcome.problem:
            self._count(key, "trial", outcome)
        return outcome

    def _ask_beside(
        self,
        key: TrialKey,
        side: Side,
        model: Model,
        masked: Sequence[str],
        events: list[Event] | None = None,
        answers: Answers = (),
    ) -> None:
        """Have a version asked in a thread; the events are written when it has answered."""
        question = _Question(
            key=key,
            side=side,
            model=model,
            texts=masked,
            asked_at=self._clock(),
            events=events or [],
            answers=answers,
        )
        with self._changing:
            room = len(self._beside) < self._backlog
            if room:
                self._beside.add(question)
        if not room:
            self._settle(question, _Outcome(problem=_BUSY))
            return
        try:
            self._beside_pool.submit(self._work, question).add_done_callback(
                lambda done: self._beside_done(question, done)
            )
        except RuntimeError as error:
            self._settle(question, _Outcome(problem=f"not asked: {error}"))

    def _work(self, question: _Question) -> _Outcome:
        """Ask, in a thread; never raises."""
        question.began_at = self._clock()
        try:
            outcome = _ask(question.model, question.texts)
            _check(outcome.answers, question.texts)
            return outcome
        except Exception as error:  # whatever a model does, the request has its answer
            return _failure(error)
        finally:
            with self._changing:
                question.ended = True
                self._hanging.discard(question)

    def _beside_done(self, question: _Question, done: Future[_Outcome]) -> None:
        try:
            outcome = done.result()
        except CancelledError:
            outcome = _Outcome(problem=_BUSY)
        self._settle(question, outcome)

    def _sweep(self) -> None:
        now = self._clock()
        for question in self._waiting():
            if now - question.asked_at > self._answer_s:
                began = question.began_at
                if began is None or now - began > self._answer_s:
                    self._settle(question, self._out_of_time(question))

    def _out_of_time(self, question: _Question) -> _Outcome:
        """Say what it means that there is no answer; a thread that hangs is given up."""
        if question.began_at is None:
            return _Outcome(problem=_BUSY)
        with self._changing:
            if not question.ended:
                self._hanging.add(question)
                # The thread is lost for others; there is at most one pool a version that hangs.
                if question in self._beside:
                    lost, self._beside_pool = self._beside_pool, _beside_pool()
                else:
                    lost, self._canary_pool = self._canary_pool, _canary_pool()
                lost.shutdown(wait=False)  # what it has begun, and what waits in it, goes on
        problem = f"no answer within {self._answer_s:g} s"
        return _Outcome(problem=problem, error=True)

    def _waiting(self) -> list[_Question]:
        with self._changing:
            return list(self._beside)

    def _settle(self, question: _Question, outcome: _Outcome) -> None:
        """Count the other version's answer and write the events; once for each question."""
        with self._changing:
            if question.settled:
                return
            question.settled = True
            self._beside.discard(question)
        self._count(question.key, question.side, outcome)
        if not question.events:
            return
        if outcome.problem:
            self._write(question.events, {f"{question.side}_problem": outcome.problem})
            return
        agreed = 0
        for event, first, answer in zip(
            question.events, question.answers, outcome.answers, strict=True
        ):
            event.attributes.update(_told(question.side, answer))
            agreed += first.label == answer.label
        with self._changing:
            tally = self._tallies.setdefault(question.key, Tally())
            tally.compared += len(question.events)
            tally.agreed += agreed
        self._write(question.events, {})

    def _count(self, key: TrialKey, side: Side, outcome: _Outcome) -> None:
        with self._changing:
            tally = self._tallies.setdefault(key, Tally())
            counts = tally.trial if side == "trial" else tally.champion
            if outcome.error:
                counts.failed()
                if side == "trial":
                    tally.last_error = outcome.problem
            elif outcome.problem:
                tally.dropped += 1
            else:
                counts.answered(outcome.latency_ms)

    def _events(
        self,
        answered_by: Champion,
        request: PredictRequest,
        ids: Sequence[str],
        masked: Sequence[str],
        outcome: _Outcome,
        latency_ms: float,
    ) -> list[Event]:
        tenant = answered_by.ref.tenant
        if request.dialogue_id and names_a_person(request.dialogue_id):
            dialogue_id = self._pseudonym(request.dialogue_id, tenant)
            request = request.model_copy(update={"dialogue_id": dialogue_id})
        return prediction_events(
            answered_by,
            request,
            zip(ids, masked, outcome.answers, strict=True),
            user_id=request.user_id and self._pseudonym(request.user_id, tenant),
            latency_ms=latency_ms,
        )

    def _write(self, events: Collection[Event], more: Mapping[str, str]) -> None:
        for event in events:
            event.attributes.update(more)
        self._writer.offer(list(events), admitted=True)


def _ask(model: Model, texts: Sequence[str]) -> _Outcome:
    """Return a model's answers and how long it took; raises what the model raises."""
    started = time.perf_counter()
    answers = model.predict_many(texts)
    latency_ms = (time.perf_counter() - started) * 1000
    return _Outcome(answers=answers, latency_ms=latency_ms)


def _check(answers: Answers, texts: Sequence[str]) -> None:
    """Raise ValueError on what could not be sent to a client, or written to the log."""
    if len(answers) != len(texts):
        raise ValueError(f"{len(answers)} answers to {len(texts)} texts")
    for answer in answers:
        for label, share in ((answer.label, answer.confidence), *answer.top):
            if not isinstance(label, str) or not 0 <= share <= 1:  # false for NaN too
                raise ValueError("a label that is no text, or a confidence that is no share")


def _failure(error: Exception) -> _Outcome:
    # The kind alone: what an error says may quote the text of a user.
    return _Outcome(problem=f"failed: {type(error).__name__}", error=True)


def _told(side: Side, answer: Prediction) -> dict[str, str]:
    return {
        f"{side}_prediction": answer.label,
        f"{side}_confidence": f"{float(answer.confidence):.6g}",
    }


def _canary_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, thread_name_prefix="canary")


def _beside_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="beside")
