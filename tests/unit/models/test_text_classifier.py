import numpy as np
import pytest

from closedloop.core.errors import InputError, TooFewLabels
from closedloop.models.calibration import fit_temperature
from closedloop.models.folds import stratified_folds
from closedloop.models.text_classifier import TextClassifier

VERBS = ["where is", "please cancel", "i want to pay for", "send an invoice for"]
LABELS = ["track", "cancel", "pay", "invoice"]
THINGS = ["my order", "the parcel", "this phone", "two shirts", "a blue lamp", "my shoes"]
TEXTS = [f"{verb} {thing}" for verb in VERBS for thing in THINGS]
TRUTH = [label for label in LABELS for _ in THINGS]


@pytest.fixture(scope="module")
def model():
    return TextClassifier().fit(TEXTS, TRUTH)


def test_unseen_combinations_are_answered_with_calibrated_confidence(model):
    answers = model.predict_many(["please cancel a green chair", "where is a green chair"])
    assert [answer.label for answer in answers] == ["cancel", "track"]
    for answer in answers:
        assert answer.top[0] == (answer.label, answer.confidence)
        assert 0.5 < answer.confidence <= 1
        assert len(answer.top) == 3


def test_probabilities_sum_to_one_in_the_order_of_classes(model):
    probabilities = model.probabilities(TEXTS)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert [model.classes[i] for i in probabilities.argmax(axis=1)] == TRUTH


def test_strange_texts_get_an_answer_of_lower_confidence(model):
    strange, empty, known = model.predict_many(["zzqx", "", TEXTS[0]])
    assert max(strange.confidence, empty.confidence) < known.confidence
    assert model.predict_many([]) == []


def test_two_classes_and_a_label_seen_once(recwarn):
    model = TextClassifier().fit(["pay now", "pay later", "hello"], ["pay", "pay", "greet"])
    assert model.predict_many(["hello"])[0].label == "greet"
    assert model.predict_many(["pay"])[0].label == "pay"
    assert not recwarn.list


def test_chinese_works_with_the_same_setting():
    texts = ["我要退款", "请帮我退款", "退款什么时候到", "快递到哪了", "我的快递呢", "查一下快递"]
    model = TextClassifier().fit(texts, ["refund"] * 3 + ["track"] * 3)
    assert [answer.label for answer in model.predict_many(["退款吧", "快递"])] == [
        "refund",
        "track",
    ]


def test_one_class_and_uneven_lengths_are_refused():
    with pytest.raises(TooFewLabels, match="two classes"):
        TextClassifier().fit(["a", "b"], ["x", "x"])
    with pytest.raises(InputError, match="1 texts came with 2"):
        TextClassifier().fit(["a"], ["x", "y"])


def test_state_answers_alike_and_another_format_is_refused(model):
    again = TextClassifier.from_state(model.state())
    probe = ["cancel it", "where", "发票"]
    np.testing.assert_allclose(again.probabilities(probe), model.probabilities(probe), atol=1e-6)
    with pytest.raises(InputError, match="format 99"):
        TextClassifier.from_state(model.state() | {"format": 99})


def test_temperature_makes_confidence_equal_accuracy():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (4_000, 3))
    truth = np.array([generator.choice(3, p=np.exp(row) / np.exp(row).sum()) for row in logits])
    # Scores are the true logits shrunk five times, so that 1/5 is the temperature to find.
    assert fit_temperature(logits / 5, truth) == pytest.approx(0.2, rel=0.1)


def test_folds_spread_every_class_and_are_equally_large():
    targets = np.array([0] * 7 + [1] * 2 + [2] * 3)
    folds = stratified_folds(targets, 3, seed=4)
    assert np.bincount(folds).tolist() == [4, 4, 4]
    for target in range(3):
        counts = np.bincount(folds[targets == target], minlength=3)
        assert counts.max() - counts.min() <= 1
