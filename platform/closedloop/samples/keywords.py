"""Keywords of each cluster, by class-based TF-IDF.

All texts of a cluster count as one document. A term is a keyword where it is frequent in its
cluster and rare in the whole log: ``tf(term, cluster) · log(1 + A / f(term))`` with ``f`` the
term's count over all clusters and ``A`` the mean number of terms in a cluster.

References
----------
Grootendorst, M. (2022). BERTopic: neural topic modeling with a class-based TF-IDF procedure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from closedloop.core.errors import InputError
from closedloop.samples.normal_form import normalise
from closedloop.samples.terms import HAN

_RUN = re.compile(rf"[{HAN}]+|[^\W_{HAN}]+(?:['’-][^\W_{HAN}]+)*")
_FIRST_HAN = re.compile(rf"[{HAN}]")
# Chinese function words and what every customer says; English ones come from scikit-learn.
_CHINESE_STOP_WORDS = frozenset(
    "的了是我你您他她它们在有和与就也都还又很啊吗呢吧呀哦嗯把被给对从到这那能会要想请没不几上下里去来说让用得着过个"
) | {
    *("我们", "你们", "这个", "那个", "一个", "一下", "什么", "怎么", "怎样", "为什么", "哪里"),
    *("哪个", "可以", "能不能", "请问", "没有", "不是", "如何", "多少"),
}
_SHORTEST_WORD = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Keyword:
    """A term that tells its cluster from the others."""

    term: str
    score: float  # class-based TF-IDF, comparable within one cluster
    texts: int  # how many texts of the cluster hold it


def words(text: str) -> list[str]:
    """Split a text in words: Latin and digit runs as they are, Han runs by jieba.

    Examples
    --------
    >>> words("Where is my iPhone 订单在哪里")
    ['where', 'is', 'my', 'iphone', '订单', '在', '哪里']
    """
    return list(_words(normalise(text)))


def cluster_keywords(
    texts: Sequence[str], labels: npt.NDArray[np.intp], *, top: int = 8
) -> tuple[tuple[Keyword, ...], ...]:
    """Find the keywords of every cluster, best first.

    Parameters
    ----------
    texts : sequence of str, length n
    labels : ndarray of int, shape (n,)
        Cluster of each text, numbered from 0.
    top : int
        At most so many for a cluster; fewer where it holds fewer content words.

    Returns
    -------
    tuple of tuple of Keyword
        One for each cluster number from 0 to the largest.

    Raises
    ------
    InputError
        When texts and labels differ in length.

    Examples
    --------
    >>> found = cluster_keywords(["refund please", "my refund", "late parcel"], np.array([0, 0, 1]))
    >>> [keywords[0].term for keywords in found]
    ['refund', 'late']
    """
    if len(texts) != len(labels):
        raise InputError(
            f"{len(texts)} texts came with {len(labels)} cluster numbers.",
            remedy="Pass the labels of the same rows.",
        )
    clusters = int(labels.max()) + 1 if len(labels) else 0
    term_counts: list[Counter[str]] = [Counter() for _ in range(clusters)]
    text_counts: list[Counter[str]] = [Counter() for _ in range(clusters)]
    for text, cluster in zip(texts, labels.tolist(), strict=True):
        terms = [word for word in _words(normalise(text)) if _is_content(word)]
        term_counts[cluster].update(terms)
        text_counts[cluster].update(set(terms))
    overall: Counter[str] = Counter()
    for counts in term_counts:
        overall.update(counts)
    mean_terms = overall.total() / max(clusters, 1)
    return tuple(
        _best(counts, in_texts, overall, mean_terms, top)
        for counts, in_texts in zip(term_counts, text_counts, strict=True)
    )


def _best(
    counts: Counter[str],
    in_texts: Counter[str],
    overall: Counter[str],
    mean_terms: float,
    top: int,
) -> tuple[Keyword, ...]:
    total = max(counts.total(), 1)
    scored = (
        Keyword(
            term=term,
            score=count / total * float(np.log1p(mean_terms / overall[term])),
            texts=in_texts[term],
        )
        for term, count in counts.items()
    )
    return tuple(sorted(scored, key=lambda keyword: (-keyword.score, keyword.term))[:top])


def _words(text: str) -> Iterator[str]:
    for run in _RUN.findall(text):
        if _FIRST_HAN.match(run):
            yield from _segmenter().cut(run)
        else:
            yield run


def _is_content(word: str) -> bool:
    if _FIRST_HAN.match(word):
        return word not in _CHINESE_STOP_WORDS
    if len(word) < _SHORTEST_WORD or word.isdigit():
        return False
    return word not in ENGLISH_STOP_WORDS and word.split("'")[0].split("’")[0] not in _CONTRACTED


# What is left of an apostrophe in "don't", "i'm", "it's", "what's" …
_CONTRACTED = ENGLISH_STOP_WORDS | {
    *("don", "didn", "doesn", "isn", "aren", "wasn", "weren", "haven", "hasn", "hadn", "won"),
    *("wouldn", "shouldn", "couldn", "ain", "let"),
}


@lru_cache(maxsize=1)
def _segmenter() -> Any:
    # jieba builds its dictionary trie for about a second: only where there is Chinese.
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)
    segmenter = jieba.Tokenizer()
    segmenter.initialize()
    return segmenter
