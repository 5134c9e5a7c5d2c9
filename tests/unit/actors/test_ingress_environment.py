"""What Ray Serve is told about HAProxy."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from closedloop.actors.cluster import node_environment, prepare_ray
from closedloop.core.errors import Conflict
from closedloop.core.settings import Settings


@pytest.fixture
def settings(tmp_path):
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith("RAY_SERVE_"):
            del os.environ[name]
    yield Settings(home=tmp_path)
    folder = os.environ.get("RAY_SERVE_HAPROXY_SERVER_STATE_BASE")
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    os.environ.clear()
    os.environ.update(before)


def test_haproxy_has_a_keeper_that_only_this_user_can_change(settings):
    prepare_ray(settings)
    keeper = Path(os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"])
    assert keeper.parent == settings.root
    assert stat.S_IMODE(keeper.stat().st_mode) == 0o700
    assert "ingress_keeper.py" in keeper.read_text()
    prepare_ray(settings)  # again, as each command does
    assert list(settings.root.glob("haproxy-keeper*")) == [keeper]


def test_the_folder_of_the_admin_socket_is_closed_to_others(settings):
    prepare_ray(settings)
    folder = Path(os.environ["RAY_SERVE_HAPROXY_SOCKET_PATH"]).parent
    assert not folder.exists()  # who only asks a cluster leaves none behind
    node_environment(settings)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    node_environment(settings)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_somebody_else_put_there_is_refused(settings, tmp_path):
    prepare_ray(settings)
    folder = Path(os.environ["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"])
    folder.symlink_to(tmp_path)
    try:
        with pytest.raises(Conflict, match="belongs to another"):
            node_environment(settings)
    finally:
        folder.unlink()


def test_a_keeper_does_not_keep_a_keeper(settings):
    """What `closedloop env` told a shell comes back to the next command of that shell."""
    prepare_ray(settings)
    keeper = Path(os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"])
    before = keeper.read_text()
    assert str(keeper) not in before
    prepare_ray(settings)
    assert keeper.read_text() == before
