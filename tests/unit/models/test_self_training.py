import numpy as np
import pytest

from closedloop.core.errors import InputError
from closedloop.models.self_training import SelfTraining, self_train
from closedloop.samples.vectorise import TextVectoriser

LABELLED = [
    ("refund my order", "refund"),
    ("refund please", "refund"),
    ("i want a refund", "refund"),
    ("track my parcel", "track"),
    ("track it please", "track"),
    ("i want to track", "track"),
]
# The word "courier" has no label, but it keeps company with "track".
TRAFFIC = ["track the courier", "track my courier now", "please track courier"] * 3
LABELS = [label for _, label in LABELLED]


@pytest.fixture(scope="module")
def views():
    texts = [text for text, _ in LABELLED]
    vectoriser = TextVectoriser(latent_dimensions=4).fit([*texts, *TRAFFIC])
    return vectoriser, vectoriser.transform(texts), vectoriser.transform(TRAFFIC)


def _score_of_track(found, vectoriser):
    return found.model.scores(vectoriser.transform(["courier"]))[0, 1]


def test_traffic_teaches_a_word_that_no_label_holds(views):
    vectoriser, labelled, traffic = views
    options = SelfTraining(min_confidence=0.6, weight=0.5)
    alone = self_train(labelled, LABELS, unlabelled=traffic.rows([]), options=options)
    taught = self_train(labelled, LABELS, unlabelled=traffic, options=options)
    assert (alone.weak_labels, taught.weak_labels) == (0, 9)
    assert _score_of_track(taught, vectoriser) > _score_of_track(alone, vectoriser) + 0.1
    assert taught.model.temperature == alone.model.temperature


def test_doubted_answers_are_not_repeated_but_others_are(views):
    _, labelled, traffic = views
    options = SelfTraining(min_confidence=0.6)
    doubted = ["track"] * 4 + ["refund"] * 2 + [None] * 3
    found = self_train(labelled, LABELS, unlabelled=traffic, doubted=doubted, options=options)
    assert (found.weak_labels, found.doubted) == (5, 4)


def test_an_unsure_teacher_labels_nothing(views):
    _, labelled, traffic = views
    found = self_train(
        labelled, LABELS, unlabelled=traffic, options=SelfTraining(min_confidence=1.01)
    )
    assert found.weak_labels == 0
    assert found.model.classes == ("refund", "track")


def test_traffic_is_capped(views):
    _, labelled, traffic = views
    options = SelfTraining(min_confidence=0.0, max_rows=2)
    found = self_train(labelled, LABELS, unlabelled=traffic, options=options)
    assert found.weak_labels == 2


def test_people_outweigh_weak_labels_that_contradict_them(views):
    _, labelled, _ = views
    options = SelfTraining(min_confidence=0.0, weight=0.01)
    found = self_train(labelled, LABELS, unlabelled=labelled, options=options)
    best = found.model.scores(labelled).argmax(axis=1)
    assert [found.model.classes[i] for i in best] == LABELS
    assert np.isfinite(found.model.probabilities_of(labelled)).all()


def test_doubts_must_be_of_the_same_texts(views):
    _, labelled, traffic = views
    with pytest.raises(InputError, match="9 unlabelled texts came with 1"):
        self_train(labelled, LABELS, unlabelled=traffic, doubted=[None])
