"""Small streams with known clusters, in English and Chinese."""

from random import Random

import pytest

_STEMS = [
    *("coupon", "parcel", "refund", "invoice", "password"),
    *("size", "battery", "address", "membership", "warranty"),
]
_ABOUT = {
    stem: [stem + part for part in ("", "er", "ing", "al", "ish", "ous", "ite", "oid")]
    for stem in _STEMS
}
_CHINESE = {
    "优惠": ["优惠券用不了", "优惠券领不到", "优惠券显示失效", "领的优惠券不能用", "优惠券过期了"],
    "快递": ["快递还没到货", "快递几天到货", "快递一直不动", "我的快递到货慢", "快递到货了吗"],
    "发票": ["发票怎么开具", "开具电子发票", "发票抬头开具错", "补开发票开具", "发票开具不了"],
}
_FILLER = [
    *("please", "hello", "the", "my", "is", "not", "how"),
    *("can", "why", "with", "today", "still", "again", "now"),
]


def _said(topic, random):
    if topic in _CHINESE:
        return random.choice(_CHINESE[topic]) + random.choice(["", "，请看看", "？", "，谢谢"])
    words = random.sample(_ABOUT[topic], 4) + random.sample(_FILLER, 2)
    random.shuffle(words)
    return " ".join(words)


@pytest.fixture(scope="session")
def topic_stream():
    """Return a function that makes texts about thirteen topics, and each text's topic."""

    def make(texts, *, seed=0, ordered=False):
        random = Random(seed)
        topics = [*_ABOUT, *_CHINESE]
        truth = [random.choice(topics) for _ in range(texts)]
        if ordered:
            truth.sort(key=topics.index)
        return [_said(topic, random) for topic in truth], truth

    return make
