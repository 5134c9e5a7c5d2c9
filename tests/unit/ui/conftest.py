"""A real cube without Spark: no cuboids, and segments built in this process."""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from closedloop.data.cube.cube import Cube
from closedloop.data.cube.declaration import DEFAULT, CubeDeclaration
from closedloop.data.cube.refresh import refresh
from closedloop.data.interaction import SCHEMA
from closedloop.data.lake import Lake
from closedloop.ui.cli.main import main

FIRST = datetime(2026, 10, 1, tzinfo=UTC)
DAYS = 6


class InThisProcess:
    """As much of a Spark session as building segments asks for."""

    def __init__(self) -> None:
        self.sparkContext = self

    def parallelize(self, items: list[Any], _slices: int) -> Any:
        return SimpleNamespace(
            map=lambda do: SimpleNamespace(collect=lambda: [do(item) for item in items])
        )


def interactions(rows: int = 600) -> pa.Table:
    intents = ["refund", "退款", "delivery", "coupon", "hello", None]
    return pa.Table.from_pylist(
        [
            {
                "event_id": f"e{i:04}",
                "ts": FIRST + timedelta(days=i % DAYS, minutes=i),
                "tenant": ("shop", "bank")[i % 5 == 0],
                "channel": ("app", "web", None)[i % 3],
                "dialogue_id": f"d{i // 3}",
                "turn": i % 3 + 1,
                "user_id": f"u{i * i % 41}",
                "language": ("en", "zh")[i % 2],
                "text": f"text {i * i % 97}",
                "model": "shop.intent.main",
                "model_version": 1 + i % 2,
                "intent": intents[(i * i) % 11 % 6],
                "confidence": i % 10 / 10,
                "latency_ms": float(i % 50),
                "rephrased": False,
                "handover": False,
                "abandoned": False,
                "low_confidence": i % 10 < 5,
                "bad": i % 4 == 0,
                "merchant": f"m{i * i % 53}",
            }
            for i in range(rows)
        ],
        schema=SCHEMA,
    )


@pytest.fixture(scope="session")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    @contextmanager
    def session() -> Iterator[Any]:
        yield InThisProcess()

    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    lake.append("interactions", interactions())
    declaration = CubeDeclaration(dimensions=DEFAULT.dimensions, cuboids=())
    refresh(lake, declaration, open_spark=session)
    return Cube(lake)


@pytest.fixture
def closedloop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run the command in a fresh home; returns its exit code and all that it printed."""
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path / "home"))
    shown = io.StringIO()  # the command's own console keeps the terminal of the first test
    monkeypatch.setattr("closedloop.ui.console.console", Console(file=shown, width=250))

    def run(*words: object) -> tuple[int, str]:
        shown.seek(0)
        shown.truncate()
        monkeypatch.setattr(sys, "argv", ["closedloop", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return int(ended.value.code or 0), shown.getvalue() + said.out + said.err

    return run
