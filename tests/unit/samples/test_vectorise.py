import numpy as np
import pytest

from closedloop.core.errors import InputError
from closedloop.samples.embedding import load_embedding
from closedloop.samples.normal_form import normalise
from closedloop.samples.vectorise import TextVectoriser

ENGLISH = ["where is my order", "my parcel is late", "cancel the order", "pay by card"] * 3
CHINESE = ["我的订单在哪里", "快递还没有到", "取消订单", "用银行卡付款"] * 3


def test_normalise_folds_width_case_and_space():
    assert normalise("  ＨＥＬＬＯ\t\n World　１２ ") == "hello world 12"


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE, ENGLISH + CHINESE])
def test_one_setting_serves_every_language(texts):
    views = TextVectoriser(latent_dimensions=4).fit(texts).transform(texts)
    assert len(views) == len(texts)
    np.testing.assert_allclose(np.linalg.norm(views.dense(), axis=1), 1, atol=1e-4)


def test_semantic_view_is_kept_where_the_table_covers_the_language():
    assert TextVectoriser().fit(ENGLISH).transform(ENGLISH).semantic.shape[1] == 256
    assert TextVectoriser().fit(CHINESE).transform(CHINESE).semantic.shape[1] == 0


def test_embedding_puts_paraphrases_nearer_than_strangers():
    a, b, c = load_embedding().embed(
        ["cancel my purchase", "call off the order", "the weather is nice"]
    )
    assert a @ b > a @ c


def test_embedding_coverage_orders_the_languages():
    embedding = load_embedding()
    assert embedding.coverage(["how do i pay for it"]) > 0.8
    assert embedding.coverage(["我的订单在哪里"]) < 0.1
    assert embedding.coverage([""]) == 0


def test_a_log_without_words_is_refused():
    with pytest.raises(InputError, match="None of the 2 texts"):
        TextVectoriser().fit(["!!", "…"])


def test_state_shows_the_same_views():
    fitted = TextVectoriser(latent_dimensions=3).fit(ENGLISH)
    again = TextVectoriser.from_state(fitted.state())
    probe = ["order is late?", ""]
    np.testing.assert_allclose(
        again.transform(probe).dense(), fitted.transform(probe).dense(), atol=1e-6
    )


def test_the_log_of_one_text_has_no_latent_view_and_no_error():
    assert TextVectoriser().fit(["hello"]).transform(["hello"]).latent.shape == (1, 0)
