"""What is kept of a refused row, and what a replay makes of it."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from closedloop.core.errors import InputError
from closedloop.core.pseudonyms import KeyChain, Pseudonyms
from closedloop.data.dead_letters import USER_FIELD, bury, dead_letters
from closedloop.data.drain import drain_to_lake
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.data.ingest import ingest_file
from closedloop.data.lake import Lake
from closedloop.data.log_file import LogFile, Refused
from closedloop.data.replay import replay

CHAIN = KeyChain(first=bytes(32))
NAMES = Pseudonyms(CHAIN)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATER = "2199-01-01T00:00:00Z"


@pytest.fixture
def log(tmp_path):
    opened = SqliteEventLog(tmp_path / "events.db")
    yield opened
    opened.close()


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def load(path, text, log, lake, **mapping):
    path.write_text(text, "utf-8")
    file = LogFile(path=path, mapping=mapping)
    return ingest_file(file, log=log, lake=lake, tenant="shop", pseudonyms=NAMES)


def again(letters, log, lake, names=NAMES, **options):
    return replay(letters, log=log, lake=lake, pseudonyms=names, **options)


def test_a_row_stays_a_row_and_its_user_a_pseudonym(tmp_path, log, lake):
    row = {"text": "call 13812345678", "ts": LATER, "user_id": "ann", "who": "ann@example.org"}
    load(tmp_path / "a.jsonl", json.dumps(row) + "\n", log, lake)
    [letter] = dead_letters(lake)
    assert letter.fields() == {
        "text": "call <PHONE>",
        "ts": LATER,
        "who": "<EMAIL>",
        USER_FIELD: NAMES.of("ann", tenant="shop"),
    }
    assert letter.tenant == "shop"


def test_a_dialogue_that_bears_a_phone_number_gets_a_pseudonym(tmp_path, log, lake):
    rows = [{"text": "hi", "dialogue_id": "+8613812345678"}, {"text": "ho", "dialogue_id": "d-1"}]
    rows += [{**row, "ts": LATER} for row in rows]
    load(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)) + "\n", log, lake)
    again(dead_letters(lake), log, lake, fixes={"ts": ""})
    drain_to_lake(log, lake)
    turns = lake.read("turns").to_pylist()
    dialogues = {(row["text"], row["dialogue_id"]) for row in turns}
    assert len(turns) == 4
    name = NAMES.of("+8613812345678", tenant="shop")
    assert dialogues == {("hi", name), ("ho", "d-1")}
    assert not any("138" in letter.raw for letter in dead_letters(lake, replayed=True))


def test_a_time_in_milliseconds_is_no_order_number(tmp_path, log, lake):
    row = {"text": "hi", "ts": 7258118400000, "phone": 13812345678}
    load(tmp_path / "a.jsonl", json.dumps(row) + "\n", log, lake)
    [letter] = dead_letters(lake)
    assert letter.fields() == {"text": "hi", "ts": 7258118400000, "phone": "<PHONE>"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,uid,ts\nhi,zoe77,2026-01-01,more\nok,x,\n"),  # a field too many
        ("a.csv", "text,uid,ts\nhi, there,zoe77,2026-01-01\nok,x,\n"),  # a comma in the text
        ("a.csv", 'text,uid,ts\n"hi,zoe77,2026-01-01\nok,x,\n'),  # a quote left open
        ("a.csv", "text,uid,ts\nhi,zoe77\nok,x,\n"),  # a field too few
        ("a.jsonl", '{"text": "ok"}\n{"text": "hi", "uid": "zoe77", \n'),
        ("a.jsonl", '{"text": "ok"}\n[{"text": "hi", "uid": "zoe77"}]\n'),
        ("a.jsonl", '{"text": "ok"}\n{"body": "hi", "uid": "zoe77"}\n'),
        ("a.jsonl", '{"text": "ok"}\n{"uid": "zoe77", "text": "' + "x" * 2_000_000 + '"}\n'),
        ("a.jsonl", '{"text": "ok"}\n{"body": "' + "x" * 900_000 + '", "uid": "zoe77"}\n'),
        ("a.jsonl", '{"text": "ok"}\n' + "{'uid': 'zoe77', 'text': 'hi'}\n"),
    ],
)
def test_no_malformed_line_gives_its_user_away(tmp_path, log, lake, name, content):
    loaded = load(tmp_path / name, content, log, lake, user_id="uid")
    assert (loaded.new, loaded.refused) == (1, 1)
    [letter] = dead_letters(lake)
    assert letter.raw
    assert "zoe77" not in letter.raw
    assert len(letter.raw) <= 65_536


def test_a_column_with_the_pseudonyms_name_holds_none(lake):
    raw = json.dumps({"text": "", USER_FIELD: "Ann Smith"})
    bury(
        lake,
        [Refused(line=1, reason="x", raw=raw)],
        source="a",
        tenant="shop",
        pseudonyms=NAMES,
        at=NOW,
    )
    assert USER_FIELD not in dead_letters(lake)[0].fields()


def test_a_huge_row_is_shortened_and_stays_a_row(lake):
    raw = json.dumps({"text": "退款 " * 50_000, "user_id": "u", "ts": LATER})
    bury(
        lake,
        [Refused(line=1, reason="x", raw=raw)],
        source="a",
        tenant="shop",
        pseudonyms=NAMES,
        at=NOW,
    )
    [letter] = dead_letters(lake)
    assert len(letter.raw) <= 65_536
    assert len(letter.fields()["text"]) > 60_000
    assert letter.fields()["ts"] == LATER


def test_letters_are_found_by_source_reason_and_the_beginning_of_their_id(tmp_path, log, lake):
    load(tmp_path / "a.csv", f"text,ts\nhi,{LATER}\n,\n", log, lake)
    load(tmp_path / "b.csv", f"text,ts\nho,{LATER}\n", log, lake)
    assert [each.line for each in dead_letters(lake, source="A.csv")] == [2, 3]
    assert [each.source for each in dead_letters(lake, reason="FUTURE")] == ["a.csv", "b.csv"]
    [chosen] = dead_letters(lake, source="b.csv")
    assert dead_letters(lake, ids=[chosen.id[:10]]) == [chosen]


def test_a_replayed_row_is_an_event_once_and_leaves_the_letters(tmp_path, log, lake):
    text = f"text,ts,user_id\nmy phone is 13812345678,{LATER},ann\n,,\n"
    load(tmp_path / "a.csv", text, log, lake)
    done = again(dead_letters(lake), log, lake, fixes={"ts": "2026-02-03T04:05:06Z"})
    assert (done.new, done.refused) == (1, 1)
    drain_to_lake(log, lake)
    [turn] = lake.read("turns").to_pylist()
    assert turn["text"] == "my phone is <PHONE>"
    assert turn["user_id"] == NAMES.of("ann", tenant="shop")
    assert turn["ts"] == datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert [each.reason for each in dead_letters(lake)] == ["the text is empty"]
    [passed] = dead_letters(lake, replayed=True)
    assert passed.event_id == turn["event_id"]


def test_the_file_loaded_again_buries_nothing_that_was_replayed(tmp_path, log, lake):
    text = f"text,ts\nhi,{LATER}\n"
    load(tmp_path / "a.csv", text, log, lake)
    again(dead_letters(lake), log, lake, fixes={"ts": ""})
    load(tmp_path / "a.csv", text, log, lake)
    assert dead_letters(lake) == []


def test_a_replay_that_died_before_its_mark_adds_nothing_the_next_time(
    tmp_path, log, lake, monkeypatch
):
    load(tmp_path / "a.csv", f"text,ts\nhi,{LATER}\nho,{LATER}\n", log, lake)
    letters = dead_letters(lake)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("closedloop.data.replay._mark", die)
        with pytest.raises(KeyboardInterrupt):
            again(letters, log, lake, fixes={"ts": ""})
    assert dead_letters(lake) == letters
    # Another correction the second time: still the same events.
    done = again(dead_letters(lake), log, lake, fixes={"ts": "2026-01-01T00:00:00Z"})
    assert (done.new, done.known) == (0, 2)
    drain_to_lake(log, lake)
    assert sorted(lake.read("turns")["text"].to_pylist()) == ["hi", "ho"]
    assert dead_letters(lake) == []


def test_a_row_refused_again_keeps_its_place_with_the_new_reason(tmp_path, log, lake):
    load(tmp_path / "a.csv", f"text,ts,turn\nhi,{LATER},\n", log, lake)
    again(dead_letters(lake), log, lake, fixes={"ts": "", "turn": "third"})
    [letter] = dead_letters(lake)
    assert "third" in letter.reason


def test_a_row_with_names_of_its_own_is_mapped(tmp_path, log, lake):
    content = '{"text": "ok"}\n{"body": "hi", "user_id": "ann"}\n'
    load(tmp_path / "a.jsonl", content, log, lake)
    assert again(dead_letters(lake), log, lake, keys={"text": "body"}).new == 1
    drain_to_lake(log, lake)
    turns = {row["text"]: row["user_id"] for row in lake.read("turns").to_pylist()}
    assert turns["hi"] == NAMES.of("ann", tenant="shop")


def test_a_row_refused_before_a_rotation_passes_under_the_newest_key(tmp_path, log, lake):
    load(tmp_path / "a.csv", f"text,ts,user_id\nhi,{LATER},ann\n", log, lake)
    newer = Pseudonyms(CHAIN.rotated("shop"))
    again(dead_letters(lake), log, lake, names=newer, fixes={"ts": ""})
    drain_to_lake(log, lake)
    assert lake.read("turns")["user_id"].to_pylist() == [newer.of("ann", tenant="shop")]


def test_a_field_that_rows_do_not_have_is_named(tmp_path, log, lake):
    load(tmp_path / "a.csv", f"text,ts\nhi,{LATER}\n", log, lake)
    with pytest.raises(InputError, match="'when'"):
        again(dead_letters(lake), log, lake, fixes={"when": ""})


def test_letters_of_an_earlier_release_are_read_and_replayed(tmp_path, log, lake):
    import pyarrow as pa
    from deltalake import write_deltalake

    row = {
        "id": "0" * 32,
        "ts": NOW - timedelta(days=9),
        "source": "a.csv",
        "line": 2,
        "reason": "the time lies in the future",
        "raw": '{"text": "hi", "user_id": "ann"}',
        "date": "2026-02-20",
    }
    names = ("id", "source", "reason", "raw", "date")
    schema = pa.schema(
        [(name, pa.string()) for name in names]
        + [("ts", pa.timestamp("us", tz="UTC")), ("line", pa.int64())]
    )
    table = pa.Table.from_pylist([row], schema=schema)
    write_deltalake(lake.uri("dead_letters"), table, partition_by=["date"])
    assert [each.line for each in dead_letters(lake)] == [2]
    load(tmp_path / "b.csv", f"text,ts\nhi,{LATER}\n", log, lake)
    assert again(dead_letters(lake), log, lake, fixes={"ts": ""}).new == 2
    drain_to_lake(log, lake)
    users = lake.read("turns")["user_id"].to_pylist()
    assert NAMES.of("ann", tenant="default") in users
