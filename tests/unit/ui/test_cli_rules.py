"""``closedloop rules`` from adding to restoring."""

import json

import pytest

ADD = ("rules", "add", "--tenant", "shop", "--name", "Coupon 之夜")


def test_a_rule_from_adding_to_restoring(closedloop, tmp_path):
    file = tmp_path / "rule.json"
    assert "No rule yet" in closedloop("rules", "list")[1]
    code, said = closedloop(
        *ADD,
        "--when",
        "coupon (fails OR 失效)",
        "--answer",
        "At it.",
        "--for",
        "90m",
        "--json",
        file,
    )
    assert code == 0
    assert "coupon AND (fails OR 失效) → answer: At it. (live until 2" in said
    rule = json.loads(file.read_text())
    short = rule["id"][:8]
    assert rule["revision"] == 1

    listed = closedloop("rules", "list", "--tenant", "shop")[1]
    assert short in listed
    assert "Coupon 之夜" in listed
    assert short not in closedloop("rules", "list", "--tenant", "other")[1]
    assert short in closedloop("rules", "try", "My COUPON fails", "--tenant", "shop")[1]
    assert "no rule decides" in closedloop("rules", "try", "coupon", "--tenant", "shop")[1]

    said = closedloop("rules", "change", short, "--when", "coupon*", "--dry-run")[1]
    assert "coupon* → answer: At it. (dry run until" in said
    assert "dry run" in closedloop("rules", "try", "coupons", "--tenant", "shop")[1]
    assert closedloop("rules", "retire", short, "--reason", "it works again")[0] == 0
    assert short not in closedloop("rules", "list")[1]
    assert "retired: it works again" in closedloop("rules", "list", "--retired")[1]
    assert "coupon AND (fails" in closedloop("rules", "restore", short, "--revision", 1)[1]
    file = tmp_path / "history.json"
    assert "it works again" in closedloop("rules", "history", short, "--json", file)[1]
    changes = json.loads(file.read_text())["changes"]
    assert [each["what"] for each in changes] == ["restored", "retired", "changed", "added"]


def test_a_rule_that_another_covers_is_told_at_once(closedloop):
    closedloop(*ADD, "--when", "coupon", "--hand-over")
    said = closedloop(*ADD[:-1], "Late", "--when", "coupon fails", "--intent", "refund")[1]
    assert "conflict: “Late” never decides" in said
    assert "conflict" in closedloop("rules", "check")[1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((*ADD, "--when", "coupon"), 2, "does nothing"),
        ((*ADD, "--when", "a", "--answer", "x", "--hand-over"), 2, "several things"),
        ((*ADD, "--when", "NOT a", "--hand-over"), 2, "none of its terms"),
        ((*ADD, "--when", "a", "--hand-over", "--for", "soon"), 2, "90m, 36h"),
        (("rules", "retire", "nope", "--reason", "x"), 3, "There is no rule 'nope'"),
        (("rules", "history", "nope"), 3, "There is no rule 'nope'"),
    ],
)
def test_what_cannot_be_is_explained(closedloop, words, code, said):
    assert (closedloop(*words)[0], said in closedloop(*words)[1]) == (code, True)
