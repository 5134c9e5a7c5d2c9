import multiprocessing

from closedloop.models.registry import Registry


def _open(places, folder, barrier, answers):
    import os

    os.chdir(folder)
    barrier.wait()
    try:
        Registry(*places).models()
        answers.put(sorted(os.listdir(folder)))
    except Exception as error:  # the parent asserts on what happened
        answers.put(repr(error))


def test_processes_that_open_a_new_store_together_all_succeed(tmp_path):
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    places = (f"sqlite:///{tmp_path / 'new' / 'registry.db'}", str(tmp_path / "artifacts"))
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_open, args=(places, str(cwd), barrier, answers)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    found = [answers.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    assert found == [[], []]  # and nothing was written to the current folder
