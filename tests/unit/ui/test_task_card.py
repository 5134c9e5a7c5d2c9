import json

import pytest

from closedloop.samples.annotation_task import LeasedTask
from closedloop.ui.app.task_card import Act, card_data, proposed_labels, read_act


def task(**details: object) -> LeasedTask:
    return LeasedTask(
        token="t1",
        task_id=1,
        queue="demo.svm.intent",
        sample_id="s1",
        text="退款什么时候到账",
        reason="margin 0.02",
        suggestion="refund_status",
        details=dict(details),
        expires_at=1_060.0,
    )


def test_the_card_gets_what_it_shows() -> None:
    data = card_data(
        task(cluster=4, keywords=["退款"], neighbours=["到账了吗"], language="zh"),
        ["a", "b"],
        can_undo=True,
        now=1_000.0,
    )
    assert data == {
        "token": "t1",
        "text": "退款什么时候到账",
        "reason": "margin 0.02",
        "suggestion": "refund_status",
        "disliked": "",
        "cluster": 4,
        "keywords": ["退款"],
        "neighbours": ["到账了吗"],
        "language": "zh",
        "labels": ["a", "b"],
        "can_undo": True,
        "seconds_left": 60.0,
    }


def test_whatever_else_a_run_keeps_with_a_task_stays_on_the_server() -> None:
    data = card_data(
        task(label="secret truth", truth="secret truth", annotator={"x": "secret truth"}),
        [],
        can_undo=False,
        now=0.0,
    )
    assert "secret truth" not in json.dumps(data)


def test_an_expired_lease_has_no_time_left() -> None:
    assert card_data(task(), [], can_undo=False, now=2_000.0)["seconds_left"] == 0.0


def test_details_of_another_shape_do_not_break_the_card() -> None:
    data = card_data(task(keywords="one", neighbours=None), [], can_undo=False, now=0.0)
    assert (data["keywords"], data["neighbours"], data["cluster"]) == ([], [], None)


def test_labels_come_with_a_task_from_its_list_and_its_suggestion() -> None:
    assert proposed_labels(task(labels=["x", "y"])) == ["x", "y", "refund_status"]


@pytest.mark.parametrize("sent", [None, "label", {}, {"kind": "drop table"}, []])
def test_an_act_that_is_none_is_ignored(sent: object) -> None:
    assert read_act(sent) is None


def test_an_act_names_its_task() -> None:
    sent = {"kind": "label", "token": "t1", "label": "refund"}
    assert read_act(sent) == Act(kind="label", token="t1", label="refund")
