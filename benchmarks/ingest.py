"""How fast a file of logs becomes durable events on the embedded log, masking included.

python benchmarks/ingest.py --json FILE [--quick]

Simulated chats, English and Chinese, some with personal data, are written to a file before the
clock starts. Then, in turns and each into a new file of the same disk:

- closedloop: parse, check, mask, pseudonymise, derive ids, append (SQLite, WAL, fsync a batch),
  with as many processes as 'closedloop ingest' starts;
- the peer: parse, executemany into a plain SQLite table with the same pragmas and batches, and
  nothing else. It keeps every telephone number.

Beside them, without a peer: events through the door of the API (pydantic, the writer's queue;
no HTTP), and the drain into the lake.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from itertools import islice
from pathlib import Path

from closedloop.core.identity import ApiKey
from closedloop.core.privacy import mask
from closedloop.core.pseudonyms import KeyChain, Pseudonyms
from closedloop.data.drain import drain_to_lake
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.data.ingest import ingest_file, ingest_workers
from closedloop.data.lake import Lake
from closedloop.data.log_file import LogFile
from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.logs import write_logs
from closedloop.data.simulate.scenario import Scenario
from closedloop.serve.event_intake import EventIntake
from closedloop.serve.event_writer import EventWriter

_BATCH_ROWS = 5_000
_API_EVENTS = 1_000
_ROUNDS = 3
_TRUTH_ROWS = 40_000
_NAMES = Pseudonyms(KeyChain(first=b"benchmark"))


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="A fifth of the rows.")
    parser.add_argument("--data", type=Path, help="Folder for the files; default: a temporary one.")
    options = parser.parse_args()
    rows = 100_000 if options.quick else 500_000

    with tempfile.TemporaryDirectory(dir=options.data) as name:
        folder = Path(name)
        scenario = Scenario(turns=rows, pii_share=0.05, seed=11)
        print(f"simulating {rows:,} turns …", flush=True)
        logs = folder / "logs.csv"
        write_logs(scenario, logs, "csv")
        truth = [bool(turn.pii) for turn in islice(simulate_turns(scenario), _TRUTH_ROWS)]
        share_with_pii = sum(truth) / len(truth)
        # Detectors load their tables of numbering plans once a process.
        mask("call +49 30 901820, 13812345678 or mail ann@example.org, order 20251109123456")

        workers = ingest_workers(logs)
        ours, plain = [], []
        for number in range(_ROUNDS):
            seconds = closedloop_seconds(logs, folder / f"ours-{number}", rows, workers)
            ours.append(rows / seconds)
            plain.append(rows / plain_seconds(logs, folder / f"plain-{number}.db", rows))
            print(f"closedloop {ours[-1]:,.0f}/s, plain SQLite {plain[-1]:,.0f}/s", flush=True)
        api = api_rate(logs, folder / "api.db", min(rows, 40_000))
        drained, masked = drain_rate(folder / "ours-0")

    figures = {
        "events_per_second": round(statistics.median(ours)),
        "events_per_second_best": round(max(ours)),
        "plain_sqlite_per_second": round(statistics.median(plain)),
        "ratio_plain_sqlite": round(statistics.median(ours) / statistics.median(plain), 3),
        "api_events_per_second": round(api),
        "drained_per_second": round(drained),
        "rows": rows,
        "share_with_pii": round(share_with_pii, 4),
        "share_masked": round(masked / rows, 4),
        "rounds": _ROUNDS,
        "workers": workers,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[2], 2),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "quick": options.quick,
    }
    options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))
    if masked / rows < 0.9 * share_with_pii:
        sys.exit(f"{masked:,} rows were masked, of {rows:,} with {share_with_pii:.1%} to mask")


def closedloop_seconds(logs: Path, home: Path, rows: int, workers: int) -> float:
    """Load the file by the platform's own loader; its workers' start counts."""
    log = SqliteEventLog(home / "events.db")
    began = time.perf_counter()
    done = ingest_file(
        LogFile(path=logs, mapping={"label": "intent"}),
        log=log,
        lake=Lake(str(home / "lake")),
        tenant="shop",
        pseudonyms=_NAMES,
        workers=workers,
    )
    seconds = time.perf_counter() - began
    log.close()
    if (done.new, done.duplicates, done.refused) != (rows, 0, 0):
        sys.exit(f"{rows:,} rows became {done}")
    return seconds


def plain_seconds(logs: Path, file: Path, rows: int) -> float:
    """Load the file as a script of ten lines would."""
    began = time.perf_counter()
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE event (event_id TEXT PRIMARY KEY, payload TEXT NOT NULL)")
    with logs.open(encoding="utf-8", newline="") as lines:
        records = csv.DictReader(lines)
        while batch := list(islice(records, _BATCH_ROWS)):
            values = [(str(uuid.uuid4()), json.dumps(each, ensure_ascii=False)) for each in batch]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO event VALUES (?, ?)", values)
            connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    ((found,),) = connection.execute("SELECT count(*) FROM event").fetchall()
    connection.close()
    if found != rows:
        sys.exit(f"the peer stored {found:,} of {rows:,} rows")
    return seconds


def api_rate(logs: Path, file: Path, rows: int) -> float:
    """Return the rate of events through the API's door, a thousand a request, one at a time."""
    with logs.open(encoding="utf-8", newline="") as lines:
        sent = [
            {
                "event_id": str(uuid.uuid4()),
                "ts": each["ts"],
                "dialogue_id": each["dialogue_id"],
                "turn": int(each["turn"]),
                "user_id": each["user_id"],
                "channel": each["channel"],
                "text": each["text"],
                "attributes": {"merchant": each["merchant"], "region": each["region"]},
            }
            for each in islice(csv.DictReader(lines), rows)
        ]
    log = SqliteEventLog(file)
    writer = EventWriter(log)
    intake = EventIntake(mask=mask, pseudonym=lambda user, tenant: _NAMES.of(user, tenant=tenant))
    key = ApiKey(id="1", client="benchmark", tenant="shop", created_at=0.0)
    began = time.perf_counter()
    for begin in range(0, rows, _API_EVENTS):
        taken = intake.take(key, sent[begin : begin + _API_EVENTS])
        writer.store(taken.events).result()
    seconds = time.perf_counter() - began
    if log.size() != rows:
        sys.exit(f"the API's door stored {log.size():,} of {rows:,} events")
    writer.close()
    log.close()
    return rows / seconds


def drain_rate(home: Path) -> tuple[float, int]:
    """Return the rate of the drain into the lake, and how many texts it found masked."""
    log, lake = SqliteEventLog(home / "events.db"), Lake(str(home / "lake"))
    began = time.perf_counter()
    written = drain_to_lake(log, lake)
    seconds = time.perf_counter() - began
    if written != log.size() or lake.count("turns") != written:
        sys.exit(f"the drain wrote {written:,} of {log.size():,} events")
    marks = ("<PHONE>", "<EMAIL>", "<CARD>", "<RESIDENT_ID>", "<IBAN>", "<ADDRESS>", "<ORDER>")
    texts = lake.read("turns", columns=["text"])["text"].to_pylist()
    log.close()
    return written / seconds, sum(any(mark in text for mark in marks) for text in texts)


if __name__ == "__main__":
    main()
