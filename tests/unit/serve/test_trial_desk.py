"""A replica's trials: who answers whom, what the events say, what a bad version costs."""

import asyncio
import threading
from collections import Counter

import pytest

from closedloop.data.event_log.protocol import START
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.models.model_version import Champion
from closedloop.models.prediction import Prediction
from closedloop.models.reference import ModelRef
from closedloop.models.trial import Stage, Trial
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.http.messages import PredictRequest
from closedloop.serve.model_host import OnTrial, Served
from closedloop.serve.trials.counts import Tally, TrialKey
from closedloop.serve.trials.desk import TrialDesk
from closedloop.serve.trials.outcome import ask

REF = ModelRef(tenant="retail", algorithm="intent", name="desk")
KEY = TrialKey(model=str(REF), champion=1, trial=2)
PHONE = "13800138000"
PATIENCE_S = 20  # of the tests, never reached
USERS = [f"u{i}" for i in range(2_000)]


class Says:
    """A model that answers every text with one label, and remembers what it was asked."""

    size_bytes = 1

    def __init__(self, label, confidence=0.75):
        self.answer = Prediction(label=label, confidence=confidence, top=((label, confidence),))
        self.asked = []

    def predict_many(self, texts):
        self.asked += texts
        return [self.answer] * len(texts)


class Hangs(Says):
    """One that does not come back before it is let go."""

    def __init__(self, label="late"):
        super().__init__(label)
        self.entered, self.let_go = threading.Semaphore(0), threading.Event()

    def predict_many(self, texts):
        self.entered.release()
        assert self.let_go.wait(PATIENCE_S)
        return super().predict_many(texts)


class Raises(Says):
    def __init__(self, error):
        super().__init__("never")
        self.error = error

    def predict_many(self, texts):
        self.asked += texts
        raise self.error


class Returns(Says):
    def __init__(self, answers):
        super().__init__("never")
        self.answers = answers

    def predict_many(self, texts):
        return self.answers


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Desk:
    """A desk with a real log behind it, one champion and one version on trial."""

    def __init__(self, folder, **options):
        self.clock = Clock()
        self.log = SqliteEventLog(folder / "events.db")
        self.writer = EventWriter(self.log)
        self.desk = TrialDesk(
            writer=self.writer,
            mask=lambda text: text.replace(PHONE, "<PHONE>"),
            pseudonym=lambda user_id, tenant: f"p-{user_id}",
            clock=self.clock,
            **options,
        )
        self.totals = {}

    async def ask(self, champion, trial, *texts, stage=Stage.CANARY, percent=100.0, **more):
        """Return whose version answered, and the labels."""
        one, two = (Champion(ref=REF, version=v, path="", sha256="") for v in (1, 2))
        on_trial = Trial(candidate=two, stage=stage, percent=percent)
        held = more.pop("held", OnTrial(trial=on_trial, model=trial))
        request = PredictRequest(texts=list(texts or ("where is my parcel",)), **more)

        async def ask_champion():
            return ask(champion, [text.replace(PHONE, "<PHONE>") for text in request.all_texts])

        response = await self.desk.predict(
            Served(champion=one, model=champion),
            held,
            request,
            ask_champion,
            lambda id_, answer: {"prediction_id": id_, "label": answer.label},
        )
        return response["version"], [each["label"] for each in response["predictions"]]

    async def tally(self, of=lambda tally: True):
        """Return all that was counted, once it is as awaited."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for key, counted in self.desk.take().items():
                    self.totals.setdefault(key, Tally()).add(counted)
                found = self.totals.get(KEY, Tally())
                if of(found):
                    return found
                await asyncio.sleep(0.001)

    def events(self):
        assert self.writer.flush(PATIENCE_S)
        return [logged.event for logged in self.log.read(START, limit=5_000).events]

    def close(self):
        self.desk.close()
        self.writer.close()
        self.log.close()


@pytest.fixture
def make(tmp_path):
    made = []

    def one(**options):
        made.append(Desk(tmp_path, **options))
        return made[-1]

    yield one
    for desk in made:
        desk.close()


def both(count):
    return lambda tally: min(tally.champion.requests, tally.trial.requests) == count


def test_in_the_shadow_the_champion_answers_and_both_answers_are_in_the_events(make):
    desk = make()
    champion, trial = Says("refund"), Says("delivery", 0.5)
    texts = (f"call {PHONE}", "包裹在哪里")

    async def run():
        answered = await desk.ask(champion, trial, *texts, stage=Stage.SHADOW, user_id="ann")
        return answered, await desk.tally(both(1))

    answered, tally = asyncio.run(run())
    assert answered == (1, ["refund", "refund"])
    assert champion.asked == trial.asked == ["call <PHONE>", "包裹在哪里"]
    assert (tally.compared, tally.agreed, tally.dropped) == (2, 0, 0)
    events = desk.events()
    assert [(e.model_version, e.prediction, e.user_id) for e in events] == [
        (1, "refund", "p-ann")
    ] * 2
    assert events[0].attributes == {
        "trial_stage": "shadow",
        "champion_version": "1",
        "trial_version": "2",
        "answered_by": "champion",
        "champion_prediction": "refund",
        "champion_confidence": "0.75",
        "trial_prediction": "delivery",
        "trial_confidence": "0.5",
    }


def test_a_canary_answers_its_users_and_the_events_name_its_version(make):
    desk = make()

    async def run():
        answered = await desk.ask(Says("refund"), Says("refund"), percent=100, user_id="ann")
        return answered, await desk.tally(both(1))

    answered, tally = asyncio.run(run())
    assert answered == (2, ["refund"])
    assert (tally.compared, tally.agreed) == (1, 1)
    (event,) = desk.events()
    assert (event.model_version, event.attributes["answered_by"]) == (2, "trial")
    assert event.attributes["champion_prediction"] == event.attributes["trial_prediction"]


def test_the_share_is_near_the_percentage_and_users_stay_while_it_grows(make):
    desk = make(backlog=len(USERS))

    async def run(percent):
        sides = {}
        for user in USERS:
            version, (label,) = await desk.ask(
                Says("one"), Says("two"), percent=percent, user_id=user
            )
            assert label == {1: "one", 2: "two"}[version]
            sides[user] = version == 2
        return sides

    small, again, large = (asyncio.run(run(percent)) for percent in (10, 10, 25))
    assert small == again
    assert all(large[user] for user in USERS if small[user])
    for sides, percent in ((small, 10), (large, 25)):
        # 4.5 standard deviations of a binomial share
        bound = 4.5 * (percent / 100 * (1 - percent / 100) / len(USERS)) ** 0.5
        assert abs(sum(sides.values()) / len(USERS) - percent / 100) < bound


def test_without_a_user_a_dialogue_stays_on_one_side(make):
    desk = make(backlog=1_000)

    async def run(dialogue):
        versions = [
            (await desk.ask(Says("a"), Says("a"), percent=50, dialogue_id=dialogue))[0]
            for _ in range(10)
        ]
        return set(versions)

    found = Counter(frozenset(asyncio.run(run(f"d{i}"))) for i in range(20))
    assert set(found) == {frozenset({1}), frozenset({2})}


def test_a_shadow_that_hangs_delays_no_answer_and_its_event_is_written_without_it(make):
    desk, shadow = make(), Hangs()

    async def run():
        async with asyncio.timeout(PATIENCE_S):
            answered = [await desk.ask(Says("a"), shadow, stage=Stage.SHADOW) for _ in range(3)]
        await asyncio.to_thread(shadow.entered.acquire)
        assert desk.events() == []  # they wait for it
        desk.clock.now = 1.5
        desk.desk.sweep()
        tally = await desk.tally()
        later = await desk.ask(Says("a"), shadow, stage=Stage.SHADOW)
        return answered, tally, later, await desk.tally()

    answered, tally, later, after = asyncio.run(run())
    assert answered == [(1, ["a"])] * 3
    assert later == (1, ["a"])
    problems = Counter(event.attributes["trial_problem"] for event in desk.events())
    assert problems == {
        "no answer within 1 s": 1,
        "not asked: the replica was busy": 2,
        "it hangs in an earlier request": 1,
    }
    assert (tally.champion.requests, tally.dropped, after.trial.errors) == (4, 2, 2)
    shadow.let_go.set()


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (Raises(ZeroDivisionError(PHONE)), "failed: ZeroDivisionError"),
        (Raises(SystemExit(1)), "failed: SystemExit"),
        (Says("a", float("nan")), "failed: ValueError"),
        (Says("a", 1.5), "failed: ValueError"),
        (Says(None), "failed: ValueError"),
        (Returns([]), "failed: ValueError"),
        (Returns(None), "failed: TypeError"),
        (Returns(["refund"]), "failed: AttributeError"),
    ],
    ids=["raises", "exits", "nan", "no share", "no label", "too few", "nothing", "no predictions"],
)
@pytest.mark.parametrize("stage", Stage)
def test_a_bad_version_costs_no_request(make, bad, problem, stage):
    desk = make()

    async def run():
        answered = [await desk.ask(Says("a"), bad, "x y", stage=stage) for _ in range(20)]
        return answered, await desk.tally(lambda tally: tally.trial.errors == 20)

    answered, tally = asyncio.run(run())
    assert answered == [(1, ["a"])] * 20
    assert (tally.champion.errors, tally.trial.requests) == (0, 20)
    assert tally.last_error == problem
    events = desk.events()
    assert {event.attributes["trial_problem"] for event in events} == {problem}
    assert {event.model_version for event in events} == {1}
    assert len(events) == 20


def test_a_canary_that_hangs_costs_one_wait_and_one_thread(make):
    desk, canary = make(answer_s=0.05), Hangs()
    threads = threading.active_count()

    async def run():
        answered = [await desk.ask(Says("a"), canary) for _ in range(50)]
        hanging = await desk.tally()
        canary.let_go.set()
        # It has come back, and is asked again.
        async with asyncio.timeout(PATIENCE_S):
            while (await desk.ask(Says("a"), canary))[0] == 1:
                await asyncio.sleep(0.001)
        return answered, hanging

    answered, hanging = asyncio.run(run())
    assert answered == [(1, ["a"])] * 50
    assert hanging.trial.errors == 50
    assert canary.entered.acquire(blocking=False)
    assert threading.active_count() - threads < 10


def test_a_client_that_goes_away_does_not_hide_that_a_version_hangs(make):
    desk, canary = make(answer_s=30), Hangs()

    async def run():
        request = asyncio.create_task(desk.ask(Says("a"), canary))
        await asyncio.to_thread(canary.entered.acquire)
        request.cancel()
        await asyncio.wait([request])
        desk.clock.now = 31
        desk.desk.sweep()
        return await desk.ask(Says("a"), canary), await desk.tally()

    answered, tally = asyncio.run(run())
    assert answered == (1, ["a"])
    assert tally.trial.errors == 2
    assert tally.last_error == "it hangs in an earlier request"
    canary.let_go.set()


def test_a_champion_that_hangs_beside_a_canary_costs_one_thread(make):
    desk, champion = make(), Hangs()

    async def run():
        assert await desk.ask(champion, Says("b")) == (2, ["b"])
        await asyncio.to_thread(champion.entered.acquire)
        desk.clock.now = 2
        desk.desk.sweep()
        return [await desk.ask(champion, Says("b")) for _ in range(20)], await desk.tally()

    answered, tally = asyncio.run(run())
    assert answered == [(2, ["b"])] * 20
    assert (tally.champion.errors, tally.trial.requests) == (21, 21)
    assert not champion.entered.acquire(blocking=False)
    champion.let_go.set()


def test_more_canaries_than_threads_go_to_the_champion(make):
    desk, canary = make(answer_s=PATIENCE_S), Hangs()

    async def run():
        waiting = [asyncio.create_task(desk.ask(Says("a"), canary)) for _ in range(8)]
        await asyncio.to_thread(canary.entered.acquire)
        one_more = await desk.ask(Says("a"), canary)
        canary.let_go.set()
        return one_more, await asyncio.gather(*waiting)

    one_more, others = asyncio.run(run())
    assert one_more == (1, ["a"])
    assert others == [(2, ["late"])] * 8


def test_a_full_backlog_is_counted_and_not_compared(make):
    desk, shadow = make(backlog=2), Hangs()

    async def run():
        answered = [await desk.ask(Says("a"), shadow, stage=Stage.SHADOW) for _ in range(5)]
        dropped = (await desk.tally()).dropped
        shadow.let_go.set()
        return answered, dropped, await desk.tally(lambda tally: tally.compared == 2)

    answered, dropped, tally = asyncio.run(run())
    assert answered == [(1, ["a"])] * 5
    assert dropped == 3
    assert (tally.trial.requests, tally.trial.errors) == (2, 0)


@pytest.mark.parametrize(
    ("told", "problem", "errors"),
    [
        (None, "not asked: it was not in memory yet", 0),
        ("InputError: model.skops hashes to abc", "not loaded: InputError: model.skops", 1),
    ],
)
def test_a_version_that_is_not_in_memory_is_not_waited_for(make, told, problem, errors):
    desk = make()
    candidate = Champion(ref=REF, version=2, path="", sha256="")
    trial = Trial(candidate=candidate, stage=Stage.CANARY, percent=100.0)
    held = OnTrial(trial=trial, problem=told)

    async def run():
        return await desk.ask(Says("a"), None, held=held), await desk.tally()

    answered, tally = asyncio.run(run())
    assert answered == (1, ["a"])
    assert (tally.trial.errors, tally.dropped) == (errors, 1 - errors)
    (event,) = desk.events()
    assert event.attributes["trial_problem"].startswith(problem)


def test_texts_that_nobody_can_answer_speak_against_neither(make):
    desk = make()
    champion, shadow = Raises(ValueError("a")), Raises(ValueError("b"))

    async def run(stage):
        with pytest.raises(ValueError, match="a"):
            await desk.ask(champion, shadow, stage=stage)

    for stage in Stage:
        asyncio.run(run(stage))
    tally = asyncio.run(desk.tally(both(2)))
    assert (tally.champion.errors, tally.trial.errors) == (2, 2)
    assert desk.events() == []


def test_a_long_text_has_a_limit_in_proportion(make):
    desk, shadow = make(), Hangs()
    texts = ["包裹" * 4_000] * 25  # 200,000 characters

    async def run():
        assert await desk.ask(Says("a"), shadow, *texts, stage=Stage.SHADOW) == (1, ["a"] * 25)
        await asyncio.to_thread(shadow.entered.acquire)
        desk.clock.now = 1.9
        desk.desk.sweep()
        assert (await desk.tally()).trial.errors == 0
        shadow.let_go.set()
        return await desk.tally(lambda tally: tally.compared == 25)

    assert asyncio.run(run()).trial.errors == 0


def test_closing_writes_what_waits_without_the_other_answer(make):
    desk, shadow = make(), Hangs()
    asyncio.run(desk.ask(Says("a"), shadow, stage=Stage.SHADOW))
    desk.desk.close()
    (event,) = desk.events()
    assert event.attributes["trial_problem"] == "not asked: the replica ended"
    assert asyncio.run(desk.ask(Says("a"), Says("b"))) == (1, ["a"])
    shadow.let_go.set()
