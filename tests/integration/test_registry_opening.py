import subprocess
import sys

# Loaded and ready, each says so and waits for a line: both then open the store together.
OPEN = """
import sys
from closedloop.models.registry import Registry
print("ready", flush=True)
sys.stdin.readline()
Registry(*sys.argv[1:]).models()
"""


def test_processes_that_open_a_new_store_together_all_succeed(tmp_path):
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    places = (f"sqlite:///{tmp_path / 'new' / 'registry.db'}", str(tmp_path / "artifacts"))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, *places],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert not list(cwd.iterdir())  # nothing was written to the current folder
