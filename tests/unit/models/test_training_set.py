import numpy as np
import pytest

from closedloop.core.errors import InputError, TooFewLabels
from closedloop.models.training_set import LabelledText, choose_gold, make_training_set


def _rows(*pairs):
    return [
        LabelledText(row_id=str(i), text=text, label=label) for i, (text, label) in enumerate(pairs)
    ]


def test_gold_rows_and_their_copies_never_train():
    made = make_training_set(
        _rows(("Hi", "greet"), ("hi ", "greet"), ("bye", "leave"), ("hey", "greet")),
        gold_ids=["0"],
    )
    assert [row.row_id for row in made.gold] == ["0", "1"]
    assert [row.row_id for row in made.train] == ["2", "3"]
    assert made.classes == ("greet", "leave")


def test_a_label_seen_once_trains_with_a_warning():
    made = make_training_set(_rows(("a", "x"), ("b", "x"), ("c", "rare")))
    assert made.labels == ["x", "x", "rare"]
    assert any("single training text" in text and "'rare'" in text for text in made.warnings)


def test_a_label_only_in_gold_is_said():
    made = make_training_set(_rows(("a", "x"), ("b", "y"), ("c", "z")), gold_ids=["2"])
    assert any("evaluation split only" in text and "'z'" in text for text in made.warnings)


def test_conflicting_copies_keep_the_majority_and_in_a_tie_the_latest():
    made = make_training_set(
        _rows(("a", "x"), ("A", "y"), ("a", "x"), ("b", "x"), ("b", "y"), ("c", "y"))
    )
    assert {(row.text, row.label) for row in made.train} == {("a", "x"), ("b", "y"), ("c", "y")}
    assert any("2 texts were labelled in several ways" in text for text in made.warnings)


@pytest.mark.parametrize(
    ("rows", "gold", "message"),
    [
        ([], [], "no labelled text"),
        ([("a", "x"), ("b", "x")], [], "all 2 are labelled 'x'"),
        ([("a", "x"), ("b", "y")], ["1"], r"all 1 are labelled 'x' \(1 more are kept"),
        ([("a", "x")], ["0"], "none is left"),
        ([("  ", "x"), ("b", " ")], [], "no labelled text"),
    ],
)
def test_too_few_labels_are_refused_with_a_remedy(rows, gold, message):
    with pytest.raises(TooFewLabels, match=message) as caught:
        make_training_set(_rows(*rows), gold_ids=gold)
    assert caught.value.remedy


def test_gold_is_a_stable_share_and_grows_by_its_own_order():
    texts = [f"text {i}" for i in range(3_000)]
    gold = choose_gold(texts, labels_budget=1_000)
    assert len(gold) == 120
    assert gold == choose_gold(texts, labels_budget=1_000)
    assert set(gold) < set(choose_gold(texts, labels_budget=2_000))
    assert len(choose_gold(texts, labels_budget=10**6, share=0.5)) == 500
    assert gold != choose_gold(texts, labels_budget=1_000, salt="other")


def test_gold_does_not_depend_on_the_order_of_the_log():
    texts = [f"text {i}" for i in range(400)]
    shuffled = [texts[i] for i in np.random.default_rng(0).permutation(400)]
    one = {texts[i] for i in choose_gold(texts, labels_budget=100)}
    assert one == {shuffled[i] for i in choose_gold(shuffled, labels_budget=100)}


def test_gold_is_spread_evenly_over_the_log():
    gold = choose_gold([f"text {i}" for i in range(5_000)], labels_budget=5_000, share=0.1)
    counts = np.histogram(gold, bins=5, range=(0, 5_000))[0]
    assert counts.min() > 70, "100 expected in each fifth, 70 is three deviations below"


def test_copies_count_once_and_a_share_of_nothing_is_refused():
    assert len(choose_gold(["a", "A ", "b"] * 10, labels_budget=30, share=0.9)) == 2
    with pytest.raises(InputError, match="between 0 and 1"):
        choose_gold(["a"], labels_budget=1, share=1.5)
