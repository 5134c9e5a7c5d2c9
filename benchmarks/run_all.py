"""Runs every benchmark and puts each one's figures into a folder, one JSON file a claim.

python benchmarks/run_all.py --out build/bench [--quick] [--data ../shared/data]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Run the benchmarks one after another; the exit code tells whether all ran."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    default = os.environ.get("CLOSEDLOOP_DATA", HERE.parent / "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    intents = options.data / "banking77"
    loop = ["--logs", str(intents / "train.csv"), "--heldout", str(intents / "test.csv")]
    titles = options.data / "news-stream" / "News-T"
    commands = {
        "privacy": [],
        "ingest": [],
        "etl": [],
        "cube": [],
        "serving": [],
        "serving_multiplexed": [],
        "defence": [],
        "loop": loop,
        "stream_clustering": ["--data", str(titles)],
    }
    if not intents.exists():
        print(f"loop: left out, there is no {intents} (set CLOSEDLOOP_DATA or --data)")
        del commands["loop"]
    if not titles.exists():
        print(f"stream_clustering: left out, there is no {titles} (set CLOSEDLOOP_DATA or --data)")
        del commands["stream_clustering"]
    failed = []
    for name, words in commands.items():
        figures = options.out / f"{name}.json"
        print(f"== {name} → {figures}", flush=True)
        quick = ["--quick"] if options.quick else []
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(figures)]
        if subprocess.run([*command, *words, *quick]).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
