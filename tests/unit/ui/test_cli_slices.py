"""``closedloop slices`` from saving to deleting, on a store without a cube."""

import io
import json
import sys

import pytest

WHERE = "language = 'zh' AND (intent = '退款' OR bad)"


def test_a_slice_from_saving_to_deleting(closedloop, tmp_path):
    file = tmp_path / "slices.json"
    assert "No slice yet" in closedloop("slices", "list")[1]
    code, said = closedloop("slices", "save", "中文", "--where", WHERE, "--description", "d")
    assert code == 0
    assert "language is zh and (intent is 退款 or bad is yes)" in said

    assert closedloop("slices", "save", "中文", "--where", WHERE)[0] == 5
    assert closedloop("slices", "save", "中文", "--where", "bad", "--replace")[0] == 0
    code, said = closedloop("slices", "show", "中文")
    assert code == 0
    assert "bad = TRUE" in said
    assert "has no cube yet" in said

    assert closedloop("slices", "rename", "中文", "new")[0] == 0
    closedloop("slices", "list", "--json", file)
    [kept] = json.loads(file.read_text("utf-8"))["slices"]
    assert (kept["name"], kept["filter"]) == ("new", {"in": {"field": "bad", "values": [True]}})

    assert closedloop("slices", "delete", "new", "--yes")[0] == 0
    assert closedloop("slices", "delete", "new", "--yes")[0] == 3


def test_deleting_asks_first(closedloop, monkeypatch):
    closedloop("slices", "save", "a", "--where", "bad")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert closedloop("slices", "delete", "a")[0] == 1
    assert closedloop("slices", "show", "a")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("save", "a", "--where", "language = "), 2, "not understood"),
        (("save", " ", "--where", "bad"), 2, "0 characters"),
        (("show", "nothing"), 3, "no slice 'nothing'"),
        (("rename", "nothing", "b"), 3, "no slice 'nothing'"),
        (("send", "nothing", "--model", "shop"), 2, "not a model reference"),
        (("send", "nothing", "--model", "shop.intent.main"), 3, "no slice 'nothing'"),
        (
            ("send", "a", "--model", "shop.intent.main", "--sample", "stratified"),
            2,
            "needs a dimension",
        ),
        (("send", "a", "--model", "shop.intent.main", "--by", "intent"), 2, "needs a dimension"),
        (
            ("send", "a", "--model", "shop.intent.main", "--sample", "weighted"),
            2,
            "needs a weight",
        ),
        (("send", "a", "--model", "shop.intent.main", "--weight", "bad"), 2, "has no weights"),
        (("send", "a", "--model", "shop.intent.main", "--count", "1000000"), 2, "cannot be drawn"),
    ],
)
def test_bad_requests_are_told_in_words(closedloop, words, code, said):
    found, message = closedloop("slices", *words)
    assert (found, said in message) == (code, True), message


def test_sending_without_a_cube_says_how_to_build_one(closedloop):
    closedloop("slices", "save", "a", "--where", "bad")
    code, said = closedloop("slices", "send", "a", "--model", "shop.intent.main")
    assert code == 3
    assert "closedloop cube refresh" in said
