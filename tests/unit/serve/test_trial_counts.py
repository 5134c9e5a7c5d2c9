from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from closedloop.models.prediction import Prediction
from closedloop.serve.trials.counts import Counts, Tallies, Tally, TrialKey
from closedloop.serve.trials.outcome import Outcome

KEY = TrialKey(model="retail.intent.desk", champion=1, trial=2)
OUTCOMES = st.one_of(
    st.builds(Outcome, latency_ms=st.floats(0.01, 5_000)),
    st.just(Outcome(problem="failed: ValueError", error=True)),
    st.just(Outcome(problem="not asked: the replica was busy")),
)
STEPS = st.lists(st.tuples(st.sampled_from(["champion", "trial"]), OUTCOMES), max_size=30)


def tally_of(steps):
    tallies = Tallies()
    for side, outcome in steps:
        tallies.count(KEY, side, outcome)
    return tallies.take().get(KEY, Tally())


def total(tallies):
    sum_ = Tally()
    for tally in tallies:
        sum_.add(tally)
    return sum_


@given(STEPS, st.randoms(), st.integers(1, 4))
def test_counts_of_replicas_add_up_in_any_order(steps, random, replicas):
    parts = [tally_of(steps[i::replicas]) for i in range(replicas)]
    random.shuffle(parts)
    assert total(parts) == tally_of(steps)


@given(STEPS)
def test_every_request_is_counted_as_what_it_was(steps):
    tally = tally_of(steps)
    for side, counts in (("champion", tally.champion), ("trial", tally.trial)):
        of_side = [outcome for told, outcome in steps if told == side]
        assert counts.errors == sum(outcome.error for outcome in of_side)
        assert counts.requests == sum(o.error or not o.problem for o in of_side)
        assert sum(counts.latencies.values()) == counts.requests - counts.errors
    assert tally.dropped == sum(bool(o.problem) and not o.error for _, o in steps)


def test_what_was_taken_is_not_taken_again():
    tallies = Tallies()
    tallies.count(KEY, "trial", Outcome(latency_ms=1))
    assert tallies.take()[KEY].trial.requests == 1
    assert tallies.take() == {}


@given(st.lists(st.floats(0.01, 5_000), min_size=1, max_size=200))
def test_the_95th_percentile_is_exact_to_one_per_cent(latencies):
    counts = Counts()
    for latency in latencies:
        counts.answered(latency)
    within = sorted(latencies)[-(-95 * len(latencies) // 100) - 1]  # nearest rank
    assert abs(counts.p95_ms / within - 1) < 0.011
    assert counts.slower_than(max(latencies)) == 0
    assert counts.slower_than(min(latencies) * 0.97) == len(latencies)


def test_nothing_answered_has_no_percentile_and_no_agreement():
    assert Counts().p95_ms is None
    assert Tally().agreement is None


def test_agreement_is_of_labels_text_by_text():
    tallies = Tallies()
    one = [Prediction(label=label, confidence=0.9, top=()) for label in ("a", "b", "c", "d")]
    other = [replace(one[0], confidence=0.1), *one[2:], one[3]]
    tallies.compare(KEY, one, other)
    tallies.compare(KEY, one[:1], one[:1])
    tally = tallies.take()[KEY]
    assert (tally.compared, tally.agreed) == (5, 3)
    assert tally.agreement == 0.6


def test_the_last_error_is_the_one_that_came_last():
    first, second = tally_of([]), tally_of([("trial", Outcome(problem="failed: B", error=True))])
    first.add(second)
    first.add(Tally())
    assert first.last_error == "failed: B"
