"""The clusterer's shards on a real Ray: started again where they die, dealt anew, never two."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import httpx
import pytest
import ray

from closedloop.actors.stream_clusterer import (
    HostedShards,
    find_clusterer,
    host_clusterer,
    rebuild_clusterer,
    retire_clusterer,
)
from closedloop.core.errors import EngineError, InputError
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.data.event import Event, Kind
from closedloop.data.event_log.opening import open_event_log
from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Scenario
from closedloop.defence.checkpoint import SlotFiles
from closedloop.defence.cluster_state import load
from closedloop.defence.clusterer import Clusterer
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.watching import issue_watching
from closedloop.defence.shards import Shards, standing
from closedloop.defence.slots import SLOTS

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

EVENTS = 6_000
TENANTS = 7
DEADLINE_S = 120.0


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    yield Settings(home=tmp_path, store="", event_log="", ray_address="")
    retire_clusterer()


@pytest.fixture(scope="module")
def events() -> list[Event]:
    turns = islice(simulate_turns(Scenario(seed=4, turns=EVENTS)), EVENTS)
    return [
        Event(
            event_id=f"e{number}",
            ts=turn.ts,
            tenant=f"tenant {number % TENANTS}",
            kind=Kind.TURN,
            text=turn.text,
            channel=turn.channel,
        )
        for number, turn in enumerate(turns)
    ]


def append(settings: Settings, events: list[Event]) -> None:
    with closing(open_event_log(settings.event_log_url)) as log:
        log.append(events)


def texts_of(settings: Settings) -> int:
    """Return how many texts the slots' files have clustered."""
    return sum(load(saved.stream).texts for saved in saved_of(settings.defence_folder).values())


def saved_of(folder: Path) -> dict[str, object]:
    files = SlotFiles(folder / "slots", "any")
    files._check = lambda described, path: None  # type: ignore[method-assign]
    return {
        name: saved for slot in range(SLOTS) for name, saved in files.read(slot).tenants.items()
    }


def uninterrupted(folder: Path, events: list[Event]) -> dict[str, object]:
    with closing(open_event_log(f"sqlite:///{folder / 'whole.db'}")) as log:
        log.append(events)
        shard = Clusterer(
            log=log,
            files=SlotFiles(folder / "slots", log.identity),
            shard=0,
            slots=range(SLOTS),
            watching=issue_watching(),
        )
        while shard.step():
            pass
        shard.checkpoint()
    return saved_of(folder)


def wait_for(holds: Callable[[], bool], shards: HostedShards) -> None:
    """Ask until something holds; the shards are other processes, which nothing announces."""
    until = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < until, shards.figures()
        time.sleep(0.05)


def read_all(settings: Settings) -> bool:
    """Tell whether every slot was read and saved up to the log's end."""
    with closing(open_event_log(settings.event_log_url)) as log:
        positions = SlotFiles(settings.defence_folder / "slots", log.identity).positions()
        return all(dict(position) == dict(log.end()) for position in positions.values())


def test_shards_that_are_killed_and_dealt_anew_end_as_one_that_never_was(
    settings: Settings, events: list[Event], tmp_path: Path
) -> None:
    killed = set()
    parts = [events[begin : begin + EVENTS // 6] for begin in range(0, EVENTS, EVENTS // 6)]
    for part, count in zip(parts, (1, 2, 2, 3, 1, 1), strict=True):
        shards = host_clusterer(settings, shards=count)
        assert len(set(shards.process_ids())) == count
        append(settings, part)
        victim = shards.process_ids()[-1]
        os.kill(victim, signal.SIGKILL)
        killed.add(victim)
        wait_for(lambda s=shards: all(f.events for f in s.figures()), shards)
        assert victim not in shards.process_ids()
    assert len(killed) == len(parts)
    wait_for(lambda: read_all(settings), shards)
    retire_clusterer()
    assert saved_of(settings.defence_folder) == uninterrupted(tmp_path / "whole", events)


def test_a_second_host_call_finds_the_shards_that_run(settings: Settings) -> None:
    assert find_clusterer(settings) is None
    one = host_clusterer(settings)
    assert host_clusterer(settings).process_ids() == one.process_ids()
    found = find_clusterer(settings)
    assert found is not None
    assert found.epoch == one.epoch


def test_no_process_is_left_of_shards_that_were_retired(settings: Settings) -> None:
    shards = host_clusterer(settings, shards=2)
    processes = shards.process_ids()
    retire_clusterer()
    assert find_clusterer(settings) is None
    wait_for(lambda: not any(map(alive, processes)), shards)


def alive(process_id: int) -> bool:
    try:
        return "ray::" in Path(f"/proc/{process_id}/cmdline").read_text()
    except OSError:
        return False


def test_a_rebuild_reads_the_log_from_its_first_event(
    settings: Settings, events: list[Event]
) -> None:
    append(settings, events[:500])
    shards = host_clusterer(settings, shards=1)
    wait_for(lambda: read_all(settings), shards)
    again = rebuild_clusterer(settings)
    wait_for(lambda: texts_of(settings) == 500, again)
    lineage = load(next(iter(saved_of(settings.defence_folder).values())).stream).lineage  # type: ignore[attr-defined]
    assert min(lineage.homes.values()) >= 1_000_000_000


def test_how_the_shards_stand_is_known_without_ray(settings: Settings) -> None:
    store = Store.open(settings.store_url)
    with pytest.raises(EngineError, match="not running"):
        standing(store)
    shards = host_clusterer(settings, shards=2)
    wait_for(lambda: all(report.reported_at for report in Shards(store).reports()), shards)
    assert standing(store) == "0 tenants in 2 shards, 0 events behind"
    assert [f.process_id for f in shards.figures()] == shards.process_ids()
    store.close()


def test_rays_metrics_have_the_shards_figures(settings: Settings, events: list[Event]) -> None:
    append(settings, events[:200])
    shards = host_clusterer(settings)
    wait_for(lambda: shards.figures()[0].texts == 200, shards)
    [node] = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    ours: list[str] = []

    def told() -> bool:
        text = httpx.get(url, trust_env=False).text
        ours[:] = [line for line in text.splitlines() if "closedloop_clusterer_" in line]
        return any("clusterer_tenants" in line and line.endswith(" 7.0") for line in ours)

    wait_for(told, shards)
    assert any("clusterer_lag_events" in line and 'shard="0"' in line for line in ours)


def test_a_burst_becomes_an_issue_and_an_alert(settings: Settings, events: list[Event]) -> None:
    settings.root.mkdir(exist_ok=True)
    named = "receivers: [{name: log, kind: file, path: alerts.jsonl}]"
    (settings.root / "alerts.yaml").write_text(named)
    now = datetime.now(UTC)
    calm = [
        replace(event, tenant="shop", ts=now - timedelta(hours=3) + timedelta(seconds=5 * number))
        for number, event in enumerate(events[:2_100])
    ]
    burst = [
        replace(
            event,
            event_id=f"burst {number}",
            tenant="shop",
            ts=now - timedelta(seconds=number),
            text=f"the coupon fails with error 77 {'please' * (number % 2)}",
            user_id=f"u{number}",
        )
        for number, event in enumerate(events[:90])
    ]
    append(settings, [*calm, *reversed(burst)])
    shards = host_clusterer(settings)
    alerts = settings.root / "alerts.jsonl"
    wait_for(lambda: alerts.exists() and "coupon" in alerts.read_text(), shards)
    store = Store.open(settings.store_url)
    issues = IssueBook(store).board(tenant="shop")
    assert any({"coupon", "error"} & set(issue.sighting.terms) for issue in issues), issues
    store.close()


def test_another_installations_shards_are_left_alone(settings: Settings, tmp_path: Path) -> None:
    host_clusterer(settings)
    other = Settings(home=tmp_path / "other", store="", event_log="")
    with pytest.raises(EngineError, match="another metadata store"):
        host_clusterer(other)
    assert find_clusterer(settings) is not None


def test_no_shards_cannot_be_hosted_and_what_runs_goes_on(settings: Settings) -> None:
    shards = host_clusterer(settings)
    with pytest.raises(InputError, match="0 shards"):
        host_clusterer(settings, shards=0)
    assert host_clusterer(settings).process_ids() == shards.process_ids()
