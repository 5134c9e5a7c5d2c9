import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.core.errors import InputError
from closedloop.models.reference import MAX_PART_CHARS, ModelRef

PARTS = st.from_regex(r"[A-Za-z0-9零售][A-Za-z0-9零售_-]{0,20}", fullmatch=True)


@given(tenant=PARTS, algorithm=PARTS, name=PARTS)
def test_text_and_reference_are_two_forms_of_one_thing(tenant, algorithm, name):
    ref = ModelRef(tenant=tenant, algorithm=algorithm, name=name)
    assert ModelRef.parse(str(ref)) == ref
    assert pickle.loads(pickle.dumps(ref)) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        "retail",
        "retail.intent",
        "retail.intent.desk.more",
        "retail..desk",
        "re tail.intent.desk",
        "retail.intent.desk\n",
        "retail.intent.-desk",
        "../etc.intent.desk",
        "retail.intent.desk:predict",
        "retail.intent.d/esk",
        f"retail.intent.{'d' * (MAX_PART_CHARS + 1)}",
    ],
)
def test_anything_else_is_refused_with_a_remedy(text):
    with pytest.raises(InputError) as caught:
        ModelRef.parse(text)
    assert caught.value.remedy


def test_the_message_names_the_part_that_is_wrong():
    with pytest.raises(InputError, match="'in tent' cannot be the algorithm"):
        ModelRef.parse("retail.in tent.desk")
