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
from closedloop.defence.issues.sighting import Sighting, TypicalText
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


@pytest.fixture
def sighting() -> Callable[..., Sighting]:
    """Makes sightings that differ from a usual one in what is named."""

    def make(cluster: int = 1, **changes: Any) -> Sighting:
        said = [
            ("The coupon fails at checkout", "e1"),
            ("my coupon is not valid", "e2"),
            ("优惠券不能用", "e3"),
        ]
        texts = tuple(
            TypicalText(
                text=text,
                event_id=event_id,
                at=990.0,
                channel="app",
                answer="greeting",
                model="shop.intent.main",
            )
            for text, event_id in said
        )
        values: dict[str, Any] = {
            "tenant": "shop",
            "cluster": cluster,
            "began_at": 900.0,
            "seen_at": 1_000.0,
            "texts": 60,
            "window_s": 60.0,
            "rate_per_min": 40.0,
            "expected_per_min": 2.0,
            "surprise": 12.0,
            "false_alarms_per_day": 0.001,
            "novelty": 0.9,
            "channels": {"app": 40, "web": 20},
            "models": {"shop.intent.main": 60},
            "intents": {"greeting": 60},
            "terms": ("coupon", "fails", "valid"),
            "typical": texts,
            "samples": texts,
            "micros": (cluster * 10, cluster * 10 + 1),
            "series": (0, 1, 40),
        }
        return Sighting(**{**values, **changes})

    return make
