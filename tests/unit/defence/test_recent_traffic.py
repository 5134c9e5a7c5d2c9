import pyarrow as pa
import pytest

from closedloop.defence.recent_traffic import SCHEMA, RecentTraffic


@pytest.fixture
def recent(tmp_path):
    return RecentTraffic(tmp_path / "recent")


def rows(first, count, *, begin=1_000.0):
    return pa.table(
        {
            "at": [begin + n for n in range(first, first + count)],
            "event_id": [f"e{n}" for n in range(first, first + count)],
            "text": [f"文 text {n}" for n in range(first, first + count)],
            "channel": ["web"] * count,
            "model": [None] * count,
            "prediction": ["refund"] * count,
            "confidence": [0.5] * count,
            "micro": list(range(first, first + count)),
        },
        schema=SCHEMA,
    )


def test_texts_come_back_in_their_order(recent):
    recent.append("shop", rows(10, 5), name="0010")
    recent.append("shop", rows(0, 10), name="0000")
    found = recent.read("shop", since=0.0)
    assert found["event_id"].to_list() == [f"e{n}" for n in range(15)]
    assert found.columns == SCHEMA.names
    assert recent.read("shop", since=1_012.0)["micro"].to_list() == [12, 13, 14]


def test_an_unknown_tenant_has_no_texts_but_all_columns(recent):
    found = recent.read("nobody", since=0.0)
    assert (found.height, found.columns) == (0, SCHEMA.names)


def test_writing_again_after_a_crash_doubles_nothing(recent):
    recent.append("shop", rows(0, 4), name="0000")
    recent.append("shop", rows(4, 2), name="0004")
    recent.append("shop", rows(0, 9), name="0000")  # other pages than before
    assert recent.read("shop", since=0.0)["event_id"].to_list() == [f"e{n}" for n in range(9)]


def test_a_sample_is_uniform_and_repeatable(recent):
    recent.append("shop", rows(0, 2_000), name="0000")
    one = recent.read("shop", since=0.0, limit=400, seed=3)
    assert one.equals(recent.read("shop", since=0.0, limit=400, seed=3))
    assert not one.equals(recent.read("shop", since=0.0, limit=400, seed=4))
    assert one.height == 400
    assert one["at"].is_sorted()
    assert abs(one["micro"].mean() - 1_000) < 150


def test_texts_older_than_the_hour_before_the_newest_go(tmp_path):
    recent = RecentTraffic(tmp_path, keep_s=100.0)
    recent.append("shop", rows(0, 10), name="0000")
    recent.append("shop", rows(10, 10), name="0010")
    recent.append("shop", rows(20, 1, begin=1_095.0), name="0020")
    assert recent.read("shop", since=0.0)["micro"].to_list() == [*range(10, 20), 20]


def test_many_small_files_are_put_together_and_lose_nothing(tmp_path):
    recent = RecentTraffic(tmp_path, keep_s=10_000.0)
    for number in range(200):
        recent.append("shop", rows(number, 1), name=f"{number:06}")
    recent.append("shop", rows(0, 1), name=f"{0:06}")  # a restart writes the first one again
    assert recent.read("shop", since=0.0)["micro"].to_list() == list(range(200))
    assert len(list(tmp_path.glob("*/*.parquet"))) <= 70


def test_a_file_that_a_power_loss_left_empty_is_passed_over_and_goes(recent, tmp_path):
    recent.append("shop", rows(0, 5), name="0000")
    (file,) = tmp_path.glob("recent/*/0000.parquet")
    file.write_bytes(b"")
    assert recent.read("shop", since=0.0).height == 0
    recent.append("shop", rows(5, 5), name="0005")
    assert recent.read("shop", since=0.0)["micro"].to_list() == [5, 6, 7, 8, 9]
    assert not file.exists()


def test_tenants_of_any_name_have_texts(recent):
    for tenant in ("shop", "../etc", "零售 / x", "a" * 300):
        recent.append(tenant, rows(0, 1), name="0")
    assert recent.tenants() == sorted(["shop", "../etc", "零售 / x", "a" * 300])
    recent.remove_all()
    assert recent.tenants() == []
