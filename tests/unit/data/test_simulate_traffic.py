"""Streams of turns: equal for equal seeds, in order, with the truth about each."""

import csv
import json
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime
from itertools import islice, pairwise
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest

from closedloop.core.errors import InputError
from closedloop.data.simulate.catalogue import intents, tenants
from closedloop.data.simulate.dialogues import MAX_DIALOGUE_TURNS, SimulatedTurn, simulate_turns
from closedloop.data.simulate.feedback import simulate_user_feedback
from closedloop.data.simulate.logs import write_logs
from closedloop.data.simulate.personal import luhn_digit
from closedloop.data.simulate.scenario import Burst, Scenario


@pytest.fixture(scope="module")
def usual() -> list[SimulatedTurn]:
    return list(simulate_turns(Scenario(seed=5, turns=20_000, pii_share=0.2)))


def test_equal_scenarios_make_equal_traffic_in_another_process() -> None:
    program = (
        "import json\n"
        "from closedloop.data.simulate.dialogues import simulate_turns\n"
        "from closedloop.data.simulate.scenario import Scenario\n"
        "print(json.dumps([turn.text for turn in simulate_turns(Scenario(seed=9, turns=200))]))"
    )
    said = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program],
        capture_output=True,
        check=True,
        encoding="utf-8",
    ).stdout
    assert json.loads(said) == [turn.text for turn in simulate_turns(Scenario(seed=9, turns=200))]


def test_another_seed_makes_other_traffic() -> None:
    one, two = (
        [turn.text for turn in simulate_turns(Scenario(seed=seed, turns=100))] for seed in (1, 2)
    )
    assert one != two


def test_turns_come_in_time_and_dialogues_in_order(usual: list[SimulatedTurn]) -> None:
    assert len(usual) == 20_000
    assert all(one.ts <= two.ts for one, two in pairwise(usual))
    dialogues = defaultdict(list)
    for turn in usual:
        dialogues[turn.dialogue_id].append(turn)
    for turns in dialogues.values():
        assert [turn.turn for turn in turns] == list(range(len(turns)))
        assert len(turns) <= MAX_DIALOGUE_TURNS + 1
        assert len({(t.user_id, t.tenant, t.language, t.channel, t.merchant) for t in turns}) == 1
    assert 1.5 < len(usual) / len(dialogues) < 2.5


def test_traffic_covers_intents_tenants_languages_and_channels(usual: list[SimulatedTurn]) -> None:
    assert {turn.intent for turn in usual} == {intent.name for intent in intents()}
    assert {turn.tenant for turn in usual} == set(tenants())
    assert {turn.language for turn in usual} == {"en", "zh"}
    assert {turn.channel for turn in usual} == {"app", "web", "mini_program", "phone_transcript"}


def test_one_user_writes_one_language_from_one_region(usual: list[SimulatedTurn]) -> None:
    seen = defaultdict(set)
    for turn in usual:
        seen[turn.user_id].add((turn.language, turn.region))
    assert max(map(len, seen.values())) == 1


def test_a_few_users_write_much_of_it(usual: list[SimulatedTurn]) -> None:
    counts = sorted(Counter(turn.user_id for turn in usual).values(), reverse=True)
    assert sum(counts[: len(counts) // 100]) > 0.03 * len(usual)
    assert counts[0] < 0.02 * len(usual)


def test_questions_hardly_repeat(usual: list[SimulatedTurn]) -> None:
    opening = [turn.text for turn in usual if turn.intent == "order_cancel" and turn.turn == 0]
    assert len(set(opening)) > 0.85 * len(opening)


def test_spans_hold_what_they_say(usual: list[SimulatedTurn]) -> None:
    spans = [(turn.text[start:end], kind) for turn in usual for start, end, kind in turn.pii]
    assert {kind for _, kind in spans} == {
        "phone", "email", "card", "resident_id", "iban", "address", "order",
    }  # fmt: skip
    for value, kind in spans:
        digits = "".join(filter(str.isdigit, value))
        assert value == value.strip()
        if kind == "email":
            assert value.count("@") == 1
        if kind == "card":
            assert luhn_digit(digits[:-1]) == digits[-1]
        if kind == "phone":
            assert 9 <= len(digits) <= 14
    share = sum(bool(turn.pii) for turn in usual) / len(usual)
    assert 0.12 < share < 0.2  # greetings and thanks carry none


def test_no_personal_data_where_none_is_asked_for() -> None:
    assert not any(turn.pii for turn in simulate_turns(Scenario(turns=2_000, pii_share=0)))


def test_a_burst_has_its_share_while_it_lasts() -> None:
    burst = Burst(issue="checkout_crash", start_s=300, duration_s=600, share=0.3)
    scenario = Scenario(turns=20_000, rate_per_s=20, bursts=(burst,))
    inside, outside = [], []
    for turn in simulate_turns(scenario):
        age_s = (turn.ts - scenario.start).total_seconds()
        (inside if 330 <= age_s < 900 else outside if age_s < 300 else []).append(turn)
    share = sum(turn.burst is not None for turn in inside) / len(inside)
    assert 0.25 < share < 0.35
    assert not any(turn.burst for turn in outside)
    new = {turn.language for turn in inside if turn.intent == "checkout_crash"}
    assert new == {"en", "zh"}


def test_the_rate_is_the_mean_of_a_day() -> None:
    scenario = Scenario(turns=10**9, rate_per_s=0.25)
    day = 0
    hours: Counter[int] = Counter()
    for turn in simulate_turns(scenario):
        if (turn.ts - scenario.start).total_seconds() >= 86_400:
            break
        day += 1
        hours[(turn.ts.hour + 8) % 24] += 1
    assert day / 86_400 == pytest.approx(0.25, rel=0.06)
    assert hours[21] > 5 * hours[4]


def test_assistants_answer_where_asked() -> None:
    turns = list(simulate_turns(Scenario(turns=500, assistant_turns=True)))
    assert len(turns) == 500
    assert 0.35 < sum(turn.role == "assistant" for turn in turns) / 500 < 0.5


def test_a_long_stream_starts_at_once() -> None:
    assert len(list(islice(simulate_turns(Scenario(turns=10**12)), 10))) == 10


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"tenants": ("nobody",)}, "nobody"),
        ({"languages": ("fr",)}, "fr"),
        ({"languages": ()}, "no language"),
        ({"rate_per_s": 0}, "rate"),
        ({"turns": -1}, "-1 turns"),
        ({"pii_share": 2}, "pii_share"),
        ({"start": datetime(2025, 1, 1)}, "time zone"),
    ],
)
def test_impossible_scenarios_are_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        replace(Scenario(), **wrong)


@pytest.mark.parametrize(
    "wrong", [{"issue": "nothing"}, {"share": 1.0}, {"duration_s": 0}, {"start_s": -1}]
)
def test_impossible_bursts_are_refused(wrong: dict[str, object]) -> None:
    good = Burst(issue="depot_flood", start_s=0, duration_s=1, share=0.5)
    with pytest.raises(InputError):
        replace(good, **wrong)


def test_wrong_answers_are_thumbed_down_far_more_often(usual: list[SimulatedTurn]) -> None:
    rng = Random(3)
    right = Counter(simulate_user_feedback(turn, turn.intent, rng) for turn in usual)
    wrong = Counter(simulate_user_feedback(turn, "no such intent", rng) for turn in usual)
    assert right["up"] > 5 * right["down"] > 0
    assert wrong["down"] > 0.3 * len(usual)
    assert right[None] > 0.8 * len(usual)


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_logs_hold_every_turn(tmp_path: Path, format: str) -> None:
    scenario = Scenario(seed=2, turns=300)
    path = tmp_path / f"logs.{format}"
    counts: list[int] = []
    assert write_logs(scenario, path, format, progress=counts.append) == 300
    assert counts == [300]
    if format == "csv":
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    elif format == "jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    else:
        rows = pq.read_table(path).to_pylist()
    turns = list(simulate_turns(scenario))
    assert [row["text"] for row in rows] == [turn.text for turn in turns]
    assert [row["intent"] for row in rows] == [turn.intent for turn in turns]
    assert [int(row["turn"]) for row in rows] == [turn.turn for turn in turns]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_logs_without_labels_tell_no_truth(tmp_path: Path) -> None:
    path = tmp_path / "logs.jsonl"
    write_logs(Scenario(turns=3), path, "jsonl", with_labels=False)
    row = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    assert {"intent", "burst"}.isdisjoint(row)


def test_a_failed_write_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "logs.csv"
    path.write_text("older", encoding="utf-8")

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_logs(Scenario(turns=5), path, "csv", progress=stop)
    assert path.read_text(encoding="utf-8") == "older"
    assert [p.name for p in tmp_path.iterdir()] == ["logs.csv"]


def test_logs_need_a_folder_and_a_known_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder does not exist"):
        write_logs(Scenario(turns=1), tmp_path / "none" / "x.csv", "csv")
    with pytest.raises(InputError, match="xml"):
        write_logs(Scenario(turns=1), tmp_path / "x.xml", "xml")  # type: ignore[arg-type]
