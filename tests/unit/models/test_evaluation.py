from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from closedloop.core.errors import InputError, TooFewLabels
from closedloop.core.proportion import wilson
from closedloop.models.evaluation import evaluate
from closedloop.models.paired import mcnemar_exact
from closedloop.models.verdict import ReleasePolicy

TRUTH = ["a"] * 40 + ["b"] * 40 + ["c"] * 20


def _wrong(indices, answer="zz"):
    return [answer if i in set(indices) else label for i, label in enumerate(TRUTH)]


def test_a_better_challenger_is_released_with_its_figures():
    found = evaluate(TRUTH, _wrong(range(5)), _wrong(range(20)))
    assert found.verdict.release
    assert (found.fixed, found.broken, found.rows) == (15, 0, 100)
    assert found.difference.value == pytest.approx(0.15)
    assert 0 < found.difference.low < 0.15 < found.difference.high
    assert found.p_value < 0.001


def test_a_clearly_worse_challenger_is_refused_with_the_reason():
    found = evaluate(TRUTH, _wrong(range(30)), _wrong(range(10)))
    assert not found.verdict.release
    assert "worse than the champion: accuracy -0.200" in found.verdict.reasons[0]


def test_a_small_loss_within_noise_passes_and_the_policy_can_forbid_it():
    answers = _wrong([1]), _wrong([])
    assert evaluate(TRUTH, *answers).verdict.release
    strict = ReleasePolicy(max_accuracy_drop=0.005)
    assert not evaluate(TRUTH, *answers, policy=strict).verdict.release


def test_a_class_that_collapses_refuses_a_release_that_improves_overall():
    found = evaluate(TRUTH, _wrong(range(80, 95), "a"), _wrong(range(40)))
    assert found.difference.value > 0.2
    assert not found.verdict.release
    assert "'c' collapses: recall 1.00 to 0.25 on 20 rows" in found.verdict.reasons[0]


def test_a_rare_class_is_not_judged_on_its_own():
    truth = ["a"] * 60 + ["rare"] * 5
    found = evaluate(truth, ["a"] * 65, ["b"] * 30 + ["a"] * 30 + ["rare"] * 5)
    assert found.verdict.release


def test_the_first_model_must_beat_the_majority_class():
    assert evaluate(TRUTH, _wrong(range(30))).verdict.release
    refused = evaluate(TRUTH, ["a"] * 100).verdict
    assert not refused.release
    assert "no better than a constant" in refused.reasons[0]
    assert evaluate(TRUTH, TRUTH).champion is None


def test_a_handful_of_gold_rows_decides_nothing():
    found = evaluate(["a", "b"] * 5, ["a", "b"] * 5)
    assert not found.verdict.release
    assert "10 gold rows decide nothing" in found.verdict.reasons[0]


def test_class_table_holds_both_models():
    found = evaluate(TRUTH, _wrong(range(10)), _wrong(range(20)))
    by_label = {score.label: score for score in found.classes}
    assert [score.support for score in found.classes] == [40, 40, 20]
    assert by_label["a"].recall == 0.75
    assert by_label["a"].champion_recall == 0.5
    assert by_label["a"].delta_recall == pytest.approx(0.25)
    assert by_label["b"].precision == 1


def test_unlike_lengths_and_no_row_are_refused():
    with pytest.raises(InputError, match="champion answered 1 of 100"):
        evaluate(TRUTH, TRUTH, ["a"])
    with pytest.raises(TooFewLabels, match="no gold row"):
        evaluate([], [])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1))
def test_macro_f1_is_that_of_the_classes_that_occur(pairs):
    truth, answers = (list(column) for column in zip(*pairs, strict=True))
    found = evaluate(truth, answers).challenger
    each = f1_score(truth, answers, labels=sorted(set(truth)), average=None, zero_division=0)
    assert found.macro_f1.value == pytest.approx(mean(each))
    assert found.accuracy.low <= found.accuracy.value <= found.accuracy.high


def test_intervals_and_tests_agree_with_published_values():
    interval = wilson(0, 10)
    assert (interval.low, round(interval.high, 3)) == (0.0, 0.278)
    assert mcnemar_exact(5, 5) == 1
    assert mcnemar_exact(0, 6) == pytest.approx(2 * 0.5**6)


def test_bootstrap_interval_holds_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    inside = 0
    for seed in range(60):
        better = generator.random(200) < 0.8
        worse = generator.random(200) < 0.7
        rows = ["a", "b"] * 100
        challenger = [row if ok else "x" for row, ok in zip(rows, better, strict=True)]
        champion = [row if ok else "x" for row, ok in zip(rows, worse, strict=True)]
        found = evaluate(rows, challenger, champion, seed=seed).difference
        inside += found.low <= 0.1 <= found.high
    assert inside >= 51, "57 of 60 expected, 51 is beyond three deviations"
