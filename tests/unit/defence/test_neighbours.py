import numpy as np
import pytest

from closedloop.defence.meaning import TermMeaning
from closedloop.defence.micro_clusters import MicroClusters
from closedloop.defence.neighbours import Linking, neighbour_graph


def _graph(texts, *, neighbours, meaning=0.0, postings=64):
    micros = MicroClusters(
        similarity=0.95, half_life=1e9, limit=1_000, postings=64, terms=64, chance=2.5
    )
    for text in texts:
        micros.add(text.split(), 0.0)
    linking = Linking(neighbours=neighbours, postings=postings, meaning=meaning)
    return micros, neighbour_graph(micros, 1.0, linking, TermMeaning())


def test_each_is_linked_to_the_nearest_by_its_terms():
    random = np.random.default_rng(3)
    words = [f"w{n}" for n in range(40)]
    texts = [" ".join(random.choice(words, 6, replace=False)) for _ in range(60)]
    micros, graph = _graph(texts, neighbours=3)
    assert len(micros) == 60
    held = [one.terms for one in micros.micros.values()]
    rarity = {word: np.log1p(60 / micros.frequency[word]) for word in words}
    vectors = np.array([[one.get(w, 0.0) * rarity[w] for w in words] for one in held])
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, 0.0)
    expected = np.zeros((60, 60))
    for row, near in enumerate(np.argsort(-cosines, axis=1)[:, :3]):
        expected[row, near] = cosines[row, near]
    size = 6.0 * np.log1p(1 / 6)
    np.testing.assert_allclose(graph.links.toarray(), (expected + expected.T) * size, rtol=1e-9)


def test_what_means_the_same_is_nearer_than_its_words_say():
    texts = ["my refund money", "my cashback payment", "my parcel courier", "my umbrella colour"]
    _, by_form = _graph(texts, neighbours=3)
    _, by_both = _graph(texts, neighbours=3, meaning=0.5)
    form, both = by_form.links.toarray(), by_both.links.toarray()
    assert form[0, 1] == pytest.approx(form[0, 3])
    assert both[0, 1] > both[0, 3]


def test_nothing_has_no_links():
    _, graph = _graph([], neighbours=3)
    assert graph.links.shape == (0, 0)
