"""The demonstration: simulated logs through a cold start and one repair, then the cube."""

from __future__ import annotations

import csv
import secrets
import shutil
import signal
import threading
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from closedloop.core.errors import Conflict
from closedloop.core.identity import Identities, Role
from closedloop.core.settings import Settings
from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Scenario
from closedloop.data.spark import Engine
from closedloop.ui.analysis import make_analysable
from closedloop.ui.console import check_json, console, runs_as_json, show_runs, write_json
from closedloop.ui.loop_runs import LoopRequest, run_request
from closedloop.ui.stack import running_stack

DEMO_USER = "demo"
_TENANT = "linden"
_MODEL = f"{_TENANT}.intent.assistant"
_LOG_TURNS = 5_000
_NEXT_WEEK_TURNS = 3_000
_HELDOUT_TURNS = 2_000
_LABELS = 1_000
_REPAIR_LABELS = 400
_ERROR_RATE = 0.02
_TRIALS = 6


def run_demo(*, once: bool, json_file: Path | None, engine: str, seed: int) -> None:
    """Close the loop once; without ``once``, stay up until Ctrl-C."""
    check_json(json_file)
    settings = _demo_settings()
    console.print(f"[dim]starting from an empty home in {settings.root} …")
    shutil.rmtree(settings.root, ignore_errors=True)
    settings.root.mkdir(parents=True)
    week1, week2, heldout = _write_logs(settings.root / "simulated", seed)
    request = LoopRequest(
        workflow="cold-start",
        logs=week1,
        mapping=("text=text", "label=intent"),
        model=_MODEL,
        labels=str(_LABELS),
        simulate_annotators=True,
        error_rate=_ERROR_RATE,
        heldout=heldout,
        engine=engine,
        trials=_TRIALS,
        seed=seed,
    )
    with running_stack(settings, app=True, tell=lambda s: console.print(f"[dim]{s} …")) as stack:
        password = secrets.token_urlsafe(9)
        Identities(stack.store).add_user(DEMO_USER, password, Role.ADMIN)
        console.print("\n[bold]0 → 1: cold start[/] (simulated annotators)")
        cold_start = run_request(stack, request)
        console.print("\n[bold]1 → 100: repair[/] (simulated customers and annotators)")
        repair = run_request(
            stack,
            replace(
                request,
                workflow="repair",
                logs=None,
                replay=week2,
                repair_labels=_REPAIR_LABELS,
            ),
        )
        console.print("\n[bold]What happened: the cube[/]")
        cube = make_analysable(
            settings, Engine.LOCAL, tell=lambda words: console.print(f"[dim]{words} …")
        )
        console.print(f"{cube.rows:,} interactions to explore")
        console.print()
        show_runs([cold_start, repair])
        write_json(json_file, runs_as_json([cold_start, repair]))
        if once:
            return
        _, key = Identities(stack.store).add_key("demo", tenant=_TENANT)
        console.print(
            f"\n[bold]The platform is up.[/]\n"
            f"  app        {stack.app_url}   login {DEMO_USER}, password {password}\n"
            f"  API        {stack.api_url}/docs   key {key}\n"
            f"  dashboard  {stack.dashboard_url}\n"
            f"Ctrl-C ends it.",
            soft_wrap=True,
        )
        wait_for_end()
        console.print("[dim]ending …")


def wait_for_end() -> None:
    """Return at Ctrl-C or a polite kill."""
    over = threading.Event()
    with ExitStack() as undo:
        for number in (signal.SIGINT, signal.SIGTERM):
            undo.callback(signal.signal, number, signal.signal(number, lambda *_: over.set()))
        over.wait()


def _demo_settings() -> Settings:
    """Return the demo's own home; ports come from the environment, places do not."""
    chosen = Settings()
    if chosen.ray_address:
        raise Conflict(
            "The demo starts its own embedded Ray, but CLOSEDLOOP_RAY_ADDRESS is set.",
            remedy="Unset it, or run 'closedloop run cold-start' on that cluster.",
        )
    return Settings(
        home=chosen.root / "demo", store="", event_log="", lake="", registry="", artifacts=""
    )


def _write_logs(folder: Path, seed: int) -> tuple[Path, Path, Path]:
    """Write three weeks of traffic; no text of the held-out one occurs in the others."""
    folder.mkdir(parents=True)
    first = Scenario(seed=seed, turns=_LOG_TURNS, tenants=(_TENANT,))
    week = timedelta(days=7)
    second = replace(first, seed=seed + 1, turns=_NEXT_WEEK_TURNS, start=first.start + week)
    third = replace(first, seed=seed + 2, turns=_HELDOUT_TURNS, start=first.start + 2 * week)
    seen: set[str] = set()
    paths = []
    for name, scenario in (("week1", first), ("week2", second), ("heldout", third)):
        path = folder / f"{name}.csv"
        paths.append(path)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            columns = ("text", "intent", "ts", "channel", "dialogue_id", "turn", "user_id")
            writer.writerow(columns)
            for turn in simulate_turns(scenario):
                folded = turn.text.strip().lower()
                if name == "heldout" and folded in seen:
                    continue
                seen.add(folded)
                writer.writerow(
                    turn.ts.isoformat() if c == "ts" else getattr(turn, c) for c in columns
                )
    return paths[0], paths[1], paths[2]
