"""kill -9 of a replica, HAProxy, its keeper and Serve's controller while clients ask.

The benchmark does it, in a process and on a Ray of its own. It takes minutes, so that it runs when
asked for: ``make test ARGS="-m slow"``.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "serving_chaos.py"
VICTIMS = {"replica", "haproxy", "keeper", "controller"}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_client_gets_every_answer_whatever_is_killed(tmp_path):
    told = tmp_path / "chaos.json"
    run = subprocess.run(
        [sys.executable, PROGRAM, "--json", told, "--seconds", "12", "--rps", "10"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    figures = json.loads(told.read_text())
    assert figures["with_retries"] == dict.fromkeys(VICTIMS, 1.0), figures
    # HAProxy is the one way in: what comes while it, or its keeper, starts again needs retries.
    for victim in ("replica", "controller"):
        assert figures["availability"][victim] >= 0.999, figures
    assert set(figures["recovery_s"]) == VICTIMS
