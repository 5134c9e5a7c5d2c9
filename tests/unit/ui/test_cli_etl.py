"""``closedloop etl run`` before any engine starts: what is wrong is said at once."""

import sys

import pytest

from closedloop.ui.cli.main import main


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 3, "has no turns and no predictions yet"),
        (("--since", "yesterday"), 2, "'yesterday' is no date"),
        (("--since", "2026-02-30"), 2, "'2026-02-30' is no date"),
        (("--engine", "flink"), 2, "flink"),
    ],
)
def test_bad_input_is_one_message(monkeypatch, tmp_path, capfd, options, code, said):
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "argv", ["closedloop", "etl", "run", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capfd.readouterr().err
    assert ended.value.code == code
    assert said in " ".join(shown.split())
    assert "Traceback" not in shown


def test_a_lake_in_an_object_store_is_refused(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLOSEDLOOP_LAKE", "s3://bucket/lake")
    monkeypatch.setattr("closedloop.data.drain.drain_to_lake", lambda log, lake: 0)
    monkeypatch.setattr(sys, "argv", ["closedloop", "etl", "run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "a folder that every node shares" in " ".join(capfd.readouterr().err.split())
