"""Where the GCS is told to keep the cluster's state."""

import os

import pytest

from closedloop.actors.cluster import node_environment
from closedloop.actors.gcs_state import lasting_state, state_environment
from closedloop.core.errors import EngineError, InputError
from closedloop.core.ports import free_port
from closedloop.core.settings import Settings


def test_two_clusters_share_a_redis():
    one, other = (state_environment("redis://10.0.0.5:6379", name) for name in ("one", "other"))
    assert one["RAY_REDIS_ADDRESS"] == other["RAY_REDIS_ADDRESS"] == "redis://10.0.0.5:6379"
    assert one["RAY_external_storage_namespace"] != other["RAY_external_storage_namespace"]


def test_each_home_has_its_own_state_and_finds_it_again(tmp_path):
    def of(home):
        settings = Settings(home=tmp_path / home, ray_state="redis://10.0.0.5")
        return node_environment(settings)["RAY_external_storage_namespace"]

    assert of("one") == of("one") != of("other")


def test_encryption_and_the_usual_port_are_kept():
    found = state_environment("rediss://cache.example", "one")
    assert found["RAY_REDIS_ADDRESS"] == "rediss://cache.example:6379"


def test_nothing_is_set_where_the_state_stays_in_memory():
    assert state_environment("", "one") == {}


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("redis://:secret@10.0.0.5:6379", "would show"),
        ("redis://10.0.0.5:port", "no address"),
        ("redis://10.0.0.5:6379/3", "no address"),
        ("etcd://10.0.0.5:2379", "etcd"),
    ],
)
def test_what_ray_cannot_use_is_refused(state, says):
    with pytest.raises(InputError, match=says) as refused:
        state_environment(state, "one")
    assert "secret" not in str(refused.value)


def test_a_redis_that_does_not_answer_is_told_before_ray_starts():
    with (
        pytest.raises(EngineError, match="does not answer"),
        lasting_state(f"redis://127.0.0.1:{free_port()}", "one"),
    ):
        raise AssertionError("the block must not run")


def test_an_embedded_cluster_leaves_nothing_behind(tmp_path):
    before = dict(os.environ)
    told = state_environment(str(tmp_path), "one")
    with lasting_state(str(tmp_path), "one"):
        assert told.items() <= os.environ.items()
        (tmp_path / "one").mkdir()
    assert list(tmp_path.iterdir()) == []
    assert dict(os.environ) == before
