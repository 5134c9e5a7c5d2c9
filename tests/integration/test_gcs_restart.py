"""kill -9 of Ray's GCS, in an embedded cluster of its own that keeps its state elsewhere."""

import shutil
import subprocess
import sys
import textwrap
import threading

import pytest

from closedloop.core.ports import free_port

pytestmark = pytest.mark.ray

PATIENCE_S = 240
# Twice: the second GCS to die is one that the keeper started.
SCRIPT = """
    import os, signal, sys
    from pathlib import Path
    import ray
    from closedloop.actors.cluster import ray_cluster
    from closedloop.actors.gcs_keeper import find_head
    from closedloop.core.ports import free_port
    from closedloop.core.settings import Settings

    home, state = sys.argv[1:]
    with ray_cluster(Settings(home=home, dashboard_port=free_port(), ray_state=state)) as cluster:

        @ray.remote(num_cpus=0.1, max_restarts=-1, max_task_retries=-1)
        class Counter:
            def __init__(self):
                self.count = 0

            def add(self):
                self.count += 1
                return self.count, os.getpid()

        counter = Counter.options(name="counter", lifetime="detached").remote()
        ray.get(counter.add.remote())
        for number in range(2):
            head = find_head(int(cluster.address.rpartition(":")[2]))
            os.kill(head.gcs, signal.SIGKILL)
            ray.get(counter.add.remote(), timeout=60)
            ray.get(Counter.remote().add.remote(), timeout=60)  # only a living GCS starts it
        count, process = ray.get(ray.get_actor("counter").add.remote())
        assert count == 4, count
        os.kill(process, signal.SIGKILL)
        assert ray.get(counter.add.remote(), timeout=60)[0] == 1  # started again by the new GCS
        found = find_head(int(cluster.address.rpartition(":")[2]))
        assert found.gcs != head.gcs
    print(found.session_folder)
"""


@pytest.fixture(params=["redis", "rocksdb"])
def state(request, tmp_path):
    if request.param == "rocksdb":
        yield str(tmp_path / "gcs")
        assert list((tmp_path / "gcs").iterdir()) == []
        return
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as redis:
        try:
            assert any("Ready to accept connections" in line for line in redis.stdout)
            rest = threading.Thread(target=redis.stdout.read)  # else the pipe may fill
            rest.start()
            yield f"redis://127.0.0.1:{port}"
            assert _ask_redis(port) == b":0\r\n"  # keys that are left
        finally:
            redis.terminate()
            rest.join()


def test_the_cluster_lives_on_and_leaves_nothing(state, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "home"), state],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stderr[-3_000:]
    session = ended.stdout.strip().splitlines()[-1]
    assert session.startswith("/tmp/cl-ray-")
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert session not in left.stdout


def _ask_redis(port):
    import socket

    with socket.create_connection(("127.0.0.1", port)) as asking:
        asking.sendall(b"DBSIZE\r\n")
        return asking.recv(64)
