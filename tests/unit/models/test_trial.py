from hypothesis import given
from hypothesis import strategies as st

from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.models.trial import Stage, Trial, place, subject_of

REF = ModelRef(tenant="retail", algorithm="intent", name="desk")
PERCENTS = st.floats(0, 100)


def trial(percent, version=2, stage=Stage.CANARY):
    candidate = Champion(ref=REF, version=version, path="", sha256="")
    return Trial(candidate=candidate, stage=stage, percent=percent)


@given(st.text(), st.integers(1, 99))
def test_a_place_is_a_percentage_and_always_the_same(subject, version):
    found = place(str(REF), version, subject)
    assert 0 <= found < 100
    assert found == place(str(REF), version, subject)


@given(st.text(), PERCENTS, PERCENTS)
def test_a_larger_share_only_adds_subjects(subject, one, other):
    smaller, larger = sorted((one, other))
    if trial(smaller).answers(subject):
        assert trial(larger).answers(subject)


@given(st.text())
def test_nobody_at_zero_everybody_at_a_hundred_and_nobody_in_the_shadow(subject):
    assert not trial(0).answers(subject)
    assert trial(100).answers(subject)
    assert not trial(100, stage=Stage.SHADOW).answers(subject)


def test_the_share_is_what_was_asked_for():
    users = [f"user u{i}" for i in range(20_000)]
    for percent in (1, 5, 50):
        share = sum(trial(percent).answers(user) for user in users) / len(users)
        assert abs(share - percent / 100) < 0.012


def test_every_version_is_tried_by_other_users():
    users = [f"user u{i}" for i in range(10_000)]
    first, second = (
        {user for user in users if trial(10, version=version).answers(user)} for version in (2, 3)
    )
    assert len(first & second) / len(first) < 0.2  # 0.1 by chance


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_user_counts_before_the_dialogue_before_the_request(user, dialogue):
    def of(user_id, dialogue_id, request_id):
        return subject_of(user_id=user_id, dialogue_id=dialogue_id, request_id=request_id)

    assert of(user, dialogue, "r1") == of(user, None, "r2")
    assert of(None, dialogue, "r1") == of(None, dialogue, "r2") != of(dialogue, None, "r1")
    assert of(None, None, "r1") != of("", "", "r2")
