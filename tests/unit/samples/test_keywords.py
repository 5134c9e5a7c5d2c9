import numpy as np
import pytest

from closedloop.core.errors import InputError
from closedloop.samples.keywords import cluster_keywords


def test_keywords_tell_clusters_apart_in_both_languages():
    texts = [
        "I want a refund",
        "refund my order please",
        "我要退款",
        "退款什么时候到账",
        "the parcel is late",
        "where's my parcel",
        "快递到哪里了",
        "快递太慢了",
    ]
    found = cluster_keywords(texts, np.array([0, 0, 0, 0, 1, 1, 1, 1]), top=3)
    assert {"refund", "退款"} <= {keyword.term for keyword in found[0]}
    assert {"parcel", "快递"} <= {keyword.term for keyword in found[1]}


def test_a_word_of_every_cluster_scores_below_a_word_of_one():
    texts = ["order refund", "order refund", "order parcel", "order parcel"]
    first = cluster_keywords(texts, np.array([0, 0, 1, 1]))[0]
    assert [keyword.term for keyword in first] == ["refund", "order"]
    assert first[0].texts == 2


def test_function_words_and_numbers_are_no_keywords():
    found = cluster_keywords(["I don't have the 12345 的 了 请问"], np.array([0]))
    assert found == ((),)


def test_empty_clusters_keep_their_place():
    found = cluster_keywords(["refund"], np.array([2]))
    assert [len(keywords) for keywords in found] == [0, 0, 1]


def test_lengths_must_agree():
    with pytest.raises(InputError, match="2 texts came with 1"):
        cluster_keywords(["a", "b"], np.array([0]))
