"""What rises by its clusters, by its words, or by one of the two only."""

from functools import partial

import pytest

from closedloop.defence.issues.fold import swells
from closedloop.defence.issues.growth import Growth


@pytest.fixture
def burst(make_traffic):
    """Return traffic with a new subject, how it grows, and what folds it to issues."""
    usual = dict.fromkeys(("parcel", "refund", "invoice", "password", "battery"), 60.0)
    traffic = make_traffic(seed=9)
    traffic.flow(1800, usual)
    traffic.flow(60, {**usual, "flood": 60.0})
    watch, stream = traffic.watch, traffic.stream
    clusters = watch._clusters(stream, {})
    growth = watch.model.rising(watch.tally, traffic.now, clusters, alarms=1.0)
    fold = partial(swells, tally=watch.tally, clusters=clusters, stream=stream, alarms=1.0)
    words = partial(watch.terms.rising, traffic.now)
    return growth, partial(fold, vocabulary=len(watch.terms.tally.slots)), words


def test_what_rises_by_both_is_one_issue(burst):
    growth, fold, words = burst
    (issue,) = fold(growth, rising=words)
    assert any(word.startswith("flood") for word in issue.words)


def test_a_word_that_rises_alone_is_an_issue(burst):
    growth, fold, words = burst
    (issue,) = fold(Growth(micros={}, clusters={}, seen=growth.seen), rising=words)
    assert all(word.startswith("flood") for word in issue.words)


def test_clusters_whose_words_do_not_rise_are_no_issue(burst):
    growth, fold, _ = burst
    assert growth.clusters
    assert fold(growth, rising=lambda window_s: {}) == []
