import json

import pytest

from closedloop.defence.alerts.json_lines import JsonLines
from closedloop.defence.alerts.sink import NotDelivered


def test_alerts_are_lines_behind_each_other(tmp_path, an_alert):
    sink = JsonLines(path=tmp_path / "deep" / "alerts.jsonl")
    sink.send(an_alert)
    sink.send(an_alert)
    lines = sink.path.read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [an_alert.to_json()] * 2


def test_a_file_that_cannot_be_written_is_named(tmp_path, an_alert):
    with pytest.raises(NotDelivered, match=r"Is a directory"):
        JsonLines(path=tmp_path).send(an_alert)
