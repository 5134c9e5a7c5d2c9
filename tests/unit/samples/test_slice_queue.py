"""A slice becomes tasks; the cube is one of files without cuboids, which need Spark."""

from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pytest

from closedloop.core.errors import InputError
from closedloop.core.store import Store
from closedloop.data.cube.declaration import DEFAULT
from closedloop.data.cube.filters import EVERYTHING, In, to_expression
from closedloop.data.cube.frames import with_dimensions
from closedloop.data.interaction import SCHEMA
from closedloop.data.lake import LABEL_SCHEMA, Lake
from closedloop.samples.annotation import AnnotationQueue
from closedloop.samples.slice_queue import Sent, send_slice
from closedloop.samples.slice_sample import Sampling, Weight

MODEL = "shop.intent.main"
DAYS = ("2026-10-01", "2026-10-02")


class FramesAsCube:
    """The part of a cube that sampling uses, over a frame in memory."""

    declaration = DEFAULT
    days = DAYS

    def __init__(self, table: pa.Table) -> None:
        self._frame = pl.DataFrame(pl.from_arrow(table))

    def lazy_interactions(self, where):
        return with_dimensions(self._frame.lazy(), DEFAULT).filter(to_expression(where))


def interaction(place, text, **values):
    return {
        "event_id": f"e{place}",
        "ts": datetime.fromisoformat(DAYS[place % 2]).replace(tzinfo=UTC),
        "tenant": "shop",
        "language": "zh" if text > "\u4e00" else "en",
        "text": text,
        "model": MODEL,
        "model_version": 3,
        "intent": "refund",
        "confidence": 0.4,
        **dict.fromkeys(("rephrased", "handover", "abandoned", "low_confidence", "bad"), False),
        **values,
    }


ROWS = [
    interaction(0, "where is my money"),
    interaction(1, "Where is my  money"),
    interaction(2, "退款什么时候到账", feedback="down", bad=True),
    interaction(3, "a secret of the bank's", tenant="bank"),
    interaction(4, "asked of another model", model="shop.svm.old", intent="other"),
    interaction(5, "no model answered", model=None, intent=None, confidence=None),
    interaction(6, "labelled already"),
]


@pytest.fixture
def places(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/store.db")
    cube = FramesAsCube(pa.Table.from_pylist(ROWS, schema=SCHEMA))
    yield cube, Lake(str(tmp_path / "lake")), AnnotationQueue(store)
    store.close()


def send(places, **changes):
    asked = {
        "name": "all",
        "where": EVERYTHING,
        "model": MODEL,
        "sampling": Sampling(count=50),
        **changes,
    }
    return send_slice(*places, **asked)


def tasks(queue):
    return {task.text: task for task in queue.lease("ann", limit=50)}


def test_a_slice_becomes_tasks_that_say_where_they_come_from(places):
    assert send(places, name="zh refunds") == Sent(sent=5, known=0, turns=6)
    found = tasks(places[2])
    chinese = found["退款什么时候到账"]
    assert chinese.reason == "slice “zh refunds”, uniform"
    assert chinese.suggestion == "refund"
    assert chinese.details["disliked answer"] == "refund"
    assert chinese.details["slice"] == "zh refunds"
    assert chinese.details["language"] == "zh"


def test_no_other_tenants_turn_is_drawn(places):
    send(places)
    assert "a secret of the bank's" not in tasks(places[2])


def test_only_the_models_own_answer_is_suggested(places):
    send(places)
    found = tasks(places[2])
    assert found["asked of another model"].suggestion is None
    assert found["asked of another model"].details["answered_by"] == "shop.svm.old"
    assert found["no model answered"].suggestion is None


def test_what_is_labelled_or_queued_is_known(places):
    _, lake, _ = places
    label = {
        "sample_id": "x",
        "ts": datetime(2026, 10, 1, tzinfo=UTC),
        "model": MODEL,
        "text": "Labelled  already",
        "label": "refund",
        "votes": 1,
        "agreement": 1.0,
        "simulated": False,
        "split": "gold",
        "run_id": "r",
    }
    other = label | {"model": "shop.intent.other", "text": "no model answered"}
    lake.append("labels", pa.Table.from_pylist([label, other], schema=LABEL_SCHEMA))
    assert send(places, where=In(field="language", values=("en",))).sent == 3
    assert send(places) == Sent(sent=1, known=4, turns=6)
    assert send(places) == Sent(sent=0, known=5, turns=6)


def test_weights_make_priorities(places):
    send(places, sampling=Sampling(count=50, weight=Weight.BAD))
    first, *_ = tasks(places[2])
    assert first == "退款什么时候到账"


def test_progress_tells_every_day(places):
    told = []
    send(places, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_an_unknown_stratum_is_named(places):
    with pytest.raises(InputError, match="'colour'"):
        send(places, sampling=Sampling(count=5, by="colour"))
