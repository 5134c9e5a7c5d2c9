from collections import Counter
from itertools import islice, repeat, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from closedloop.core.errors import InputError
from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Burst, Scenario
from closedloop.defence.micro_table import FILLED
from closedloop.defence.stream_clusters import StreamClusters, StreamSettings


def _found(texts, **changed):
    stream = StreamClusters(StreamSettings(**changed))
    placed = stream.add_all(texts)
    stream.refresh()
    return [stream.cluster_of(one) for one in placed]


@pytest.mark.parametrize("ordered", [False, True], ids=["mixed", "topic after topic"])
def test_topics_of_two_languages_are_found(topic_stream, ordered):
    texts, truth = topic_stream(1_500, ordered=ordered)
    found = _found(texts)
    assert normalized_mutual_info_score(truth, found) > 0.8
    assert adjusted_rand_score(truth, found) > 0.5


def test_equal_streams_give_equal_clusters(topic_stream):
    texts, _ = topic_stream(1_200)
    assert _found(texts) == _found(texts)


def test_memory_stays_within_the_setting():
    stream = StreamClusters(
        StreamSettings(micro_clusters=100, postings=8, terms=16, memory=200, patience=1.0)
    )
    for turn in simulate_turns(Scenario(seed=3, turns=3_000)):
        stream.add(turn.text)
        assert len(stream.micros) <= 100
    micros = stream.micros
    assert max(len(one.terms) for one in micros.micros.values()) <= 32
    assert set(micros.frequency) == {t for one in micros.micros.values() for t in one.terms}
    assert len(micros.names) < 3_000  # numbers of terms are used again
    table = micros.table
    assert table.blocks[:, FILLED].max() <= 16
    assert len(table.counts) <= 256
    assert len(table.slots) <= 65_536
    assert set(stream.lineage.homes) == set(micros.micros)
    assert len(stream.lineage.departed) <= 200
    assert len(stream.lineage.successors) <= 200


def test_what_is_long_past_weighs_nothing_and_is_forgotten():
    stream = StreamClusters(StreamSettings(half_life=60.0))
    for second in range(10):
        stream.add("old coupon trouble", at=float(second))
    stream.add("parcel lost", at=120.0)
    weights = {cluster.terms: cluster.weight for cluster in stream.clusters()}
    assert weights[("coupon", "old", "trouble")] == pytest.approx(
        sum(2 ** ((second - 120) / 60) for second in range(10))
    )
    stream.add("parcel lost", at=2_000.0)
    stream.refresh()
    assert [cluster.terms for cluster in stream.clusters()] == [("lost", "parcel")]


@pytest.mark.parametrize("jump", [100.0, 1e6, 1e12])
def test_time_may_jump_and_texts_may_come_late(jump):
    stream = StreamClusters(StreamSettings(half_life=1.0))
    first = stream.add("my coupon fails", at=0.0)
    stream.add("my parcel fails", at=jump)
    late = stream.add("my parcel fails", at=0.0)
    stream.refresh()
    (cluster,) = stream.clusters()
    assert cluster.texts == 2
    assert cluster.weight == pytest.approx(1.0)
    assert stream.cluster_of(late) == cluster.id
    assert stream.cluster_of(first) == first.cluster


def test_clusters_that_a_common_topic_joins_merge_and_their_names_resolve():
    stream = StreamClusters(StreamSettings(meaning=0.0, resolution=0.5))
    for n in range(40):
        stream.add(f"unrelated{n} matter{n}")
    one, two = stream.add("coupon broken"), stream.add("voucher refused")
    stream.refresh()
    assert stream.cluster_of(one) != stream.cluster_of(two)
    for n in range(5):
        for pair in ("coupon voucher", "broken voucher", "coupon refused", "broken refused"):
            stream.add(f"{pair} today{n}")
    stream.refresh()
    assert stream.cluster_of(one) == stream.cluster_of(two)
    assert {stream.lineage.resolve(p.cluster) for p in (one, two)} == {stream.cluster_of(one)}


def test_a_cluster_splits_when_its_parts_grow_apart():
    stream = StreamClusters(StreamSettings(meaning=0.0, resolution=1.0))
    words = {"a": "coupon code checkout discount", "b": "parcel courier depot delivery"}
    both = "coupon parcel"
    first = stream.add(f"{words['a']} {both}"), stream.add(f"{words['b']} {both}")
    stream.refresh()
    assert stream.cluster_of(first[0]) == stream.cluster_of(first[1])
    for part in "ab":
        chosen = words[part].split()
        for n in range(12):
            stream.add(" ".join([chosen[n % 4], chosen[(n + 1) % 4], f"{part}{n % 3}"]))
    stream.refresh()
    assert stream.cluster_of(first[0]) != stream.cluster_of(first[1])


def test_a_cluster_keeps_its_name_while_its_texts_go_on(topic_stream):
    texts, _ = topic_stream(3_000)
    stream = StreamClusters()
    stream.add_all(texts)
    stream.refresh()
    before = {c.id for c in stream.clusters() if c.texts > 50}
    stream.add_all(topic_stream(1_000, seed=1)[0])
    stream.refresh()
    after = {cluster.id for cluster in stream.clusters()}
    assert {stream.lineage.resolve(name) for name in before} <= after
    assert len(before & after) >= 0.8 * len(before) > 4


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("issue", ["depot_flood", "lottery_prize_missing"])
def test_a_burst_of_a_new_issue_is_a_few_clusters_as_its_texts_arrive(issue, language):
    burst = Burst(issue=issue, start_s=8, duration_s=12, share=0.02)
    traffic = Scenario(
        seed=1, turns=30_000, rate_per_s=1_000, languages=(language,), bursts=(burst,)
    )
    stream = StreamClusters()
    told: list[int] = []
    others: Counter[int] = Counter()
    start = traffic.start.timestamp()
    for turn in takewhile(lambda turn: turn.ts.timestamp() - start < 20, simulate_turns(traffic)):
        at = turn.ts.timestamp() - start
        cluster = stream.add(turn.text, at).cluster
        if turn.intent == issue and turn.turn == 0:
            told.append(cluster)
        elif at >= burst.start_s:
            others[cluster] += 1
    assert 50 < len(told) < 300
    (main, most), *_ = ranked = Counter(told).most_common(3)
    assert sum(texts for _, texts in ranked) > 0.75 * len(told)
    assert others[main] < most
    assert main in told[:10]


def test_a_new_text_goes_to_the_cluster_whose_sum_it_resembles_most():
    stream = StreamClusters(StreamSettings(meaning=0.0, resolution=1.0))
    coupon = [stream.add(f"coupon {part} rejected") for part in ("code", "voucher", "discount")]
    parcel = [stream.add(f"parcel {part} delayed") for part in ("courier", "depot", "delivery")]
    assert len({one.cluster for one in coupon}) == len({one.cluster for one in parcel}) == 1
    # It shares a word with each coupon text, and one with a parcel text.
    near = stream.add("code voucher discount depot")
    assert near.micro not in {one.micro for one in coupon + parcel}
    assert near.cluster == coupon[0].cluster != parcel[0].cluster


def test_where_all_texts_share_words_new_topics_still_found_clusters(topic_stream):
    stream = StreamClusters()
    texts, _ = topic_stream(400)
    placed = stream.add_all(f"please help me with my order {text}" for text in texts)
    assert len({one.cluster for one in placed}) > 5


@pytest.mark.parametrize("text", ["", "   ", "？！", "😀"])
def test_a_text_without_words_is_placed(text):
    stream = StreamClusters()
    placed = list(islice(map(stream.add, repeat(text)), 3))
    stream.refresh()
    assert all(stream.cluster_of(one) is not None for one in placed)


@settings(max_examples=25)
@given(st.lists(st.text(alphabet="ab 券不", max_size=8), max_size=40))
def test_any_texts_are_counted_once(texts):
    stream = StreamClusters(StreamSettings(micro_clusters=100))
    stream.add_all(texts)
    stream.refresh()
    assert sum(cluster.texts for cluster in stream.clusters()) == len(texts)


@pytest.mark.parametrize(
    "changed",
    [{"similarity": 0.0}, {"micro_clusters": 0}, {"half_life": 0.0}, {"meaning": 1.5}],
)
def test_settings_out_of_range_are_refused(changed):
    with pytest.raises(InputError, match="cannot cluster"):
        StreamSettings(**changed)


def test_a_time_that_is_no_time_is_refused():
    with pytest.raises(InputError, match="nan"):
        StreamClusters().add("text", at=float("nan"))
