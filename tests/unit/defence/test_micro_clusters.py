import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.defence.micro_clusters import MicroClusters
from closedloop.defence.micro_table import FILLED, HOLDERS, SIZE, START


def _micros(**changed):
    figures = {"similarity": 0.6, "half_life": 50.0, "limit": 100, "postings": 64, "terms": 64}
    return MicroClusters(**figures | {"chance": 2.5} | changed)


_TEXTS = st.lists(
    st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=5, unique=True), max_size=40
)


class _ByHand:
    """The same with dictionaries of terms, one text at a time, compared with every micro-cluster.

    It never forgets and keeps every term.
    """

    def __init__(self, similarity, half_life):
        self.similarity, self.half_life = similarity, half_life
        self.mass, self.frequency, self.sums = 0.0, {}, []

    def add(self, terms, at):
        now = 2 ** (at / self.half_life)
        self.mass += now
        for term in terms:
            self.frequency[term] = self.frequency.get(term, 0.0) + now
        text = {term: math.log(1 + self.mass / self.frequency[term]) for term in terms}
        length = math.sqrt(sum(w * w for w in text.values()))
        text = {term: w / length for term, w in text.items()}
        cosines = [
            sum(w * held.get(term, 0.0) for term, w in text.items())
            / math.sqrt(sum(w * w for w in held.values()))
            for held in self.sums
        ]
        best = max(cosines, default=0.0)
        if best < self.similarity:
            self.sums.append({})
            best, micro = 0.0, len(self.sums) - 1
        else:
            micro = max(n for n, one in enumerate(cosines) if one == best)
        for term, weight in text.items():
            self.sums[micro][term] = self.sums[micro].get(term, 0.0) + weight * now
        rivals = [one for n, one in enumerate(cosines) if n != micro]
        return micro, any(abs(one - max(best, self.similarity)) < 1e-9 for one in rivals)


@settings(max_examples=60, deadline=None)
@given(_TEXTS)
def test_a_text_joins_the_one_it_resembles_most_or_founds_one(texts):
    micros, expected = _micros(), _ByHand(0.6, 50.0)
    for at, terms in enumerate(texts):
        micro, tie = expected.add(terms, at)
        landing = micros.add(terms, float(at))
        if tie:
            break  # rounding decides
        assert landing.micro == micro


@settings(max_examples=40, deadline=None)
@given(_TEXTS, st.integers(2, 6))
def test_what_is_held_and_what_leads_to_it_agree_while_room_is_made(texts, limit):
    micros = _micros(limit=limit, postings=2, terms=3, half_life=5.0)
    for at, terms in enumerate(texts):
        if micros.needs_grouping:
            micros.settle(list(range(len(micros))))
        micros.add(terms, 30.0 * at)
        table = micros.table
        assert 1 <= len(micros) <= limit
        held = [set(one.terms) for one in micros.micros.values()]
        assert set(micros.numbers) == set().union(*held)
        for term, number in micros.numbers.items():
            start, _, filled, holders = table.blocks[number].tolist()
            assert holders == sum(term in one for one in held)
            assert filled <= 4
            slots = table.slots[start : start + filled].tolist()
            assert len(set(slots)) == filled
            assert set(slots) <= set(micros.places.values())
        blocks = table.blocks[table.blocks[:, SIZE] > 0]
        ordered = blocks[blocks[:, START].argsort()]
        ends = ordered[:, START] + ordered[:, SIZE]
        assert (ends[:-1] <= ordered[1:, START]).all(), "blocks overlap"
        assert (blocks[:, FILLED] <= blocks[:, SIZE]).all()
        assert (blocks[:, HOLDERS] >= blocks[:, FILLED]).all()
        assert not table.products.any()


def test_a_new_one_is_put_beside_one_of_the_cluster_it_resembles():
    micros = _micros(chance=1.0)
    first = micros.add(["coupon", "code", "rejected"], 0.0)
    beside = micros.add(["coupon", "voucher", "rejected"], 1.0)
    alone = micros.add(["parcel", "late"], 2.0)
    assert (first.new, first.nearest) == (True, -1)
    assert (beside.new, beside.nearest) == (True, first.micro)
    assert (alone.new, alone.nearest) == (True, -1)


def test_frequencies_and_micro_clusters_can_be_looked_up():
    micros = _micros()
    micro = micros.add(["coupon", "late"], 0.0).micro
    micros.add(["coupon", "late"], 0.0)
    assert micros.frequency.get("coupon") == 2.0
    assert micros.frequency.get("parcel", 0.0) == 0.0
    one = micros.micros[micro]
    assert (one.texts, one.mass, one.terms) == (2, 2.0, {"coupon": 2.0, "late": 2.0})
    assert micros.micros.get(99) is None
    with pytest.raises(KeyError):
        micros.micros[99]
