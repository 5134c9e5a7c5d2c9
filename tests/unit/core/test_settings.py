from pathlib import Path

import pytest
from pydantic import ValidationError

from closedloop.core.settings import Settings


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings(home=Path("x")).environment():
        monkeypatch.delenv(name, raising=False)


def test_everything_embedded_is_below_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    for place in (
        settings.store_url,
        settings.event_log_url,
        settings.lake_url,
        settings.registry_url,
        settings.artifacts_url,
    ):
        assert str(tmp_path.resolve()) in place
    assert settings.registry_url != settings.store_url  # MLflow migrates its own database


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("CLOSEDLOOP_STORE", "postgresql+psycopg://db/loop")
    monkeypatch.setenv("CLOSEDLOOP_API_PORT", "9001")
    settings = Settings()
    assert (settings.store_url, settings.api_port) == ("postgresql+psycopg://db/loop", 9001)
    assert settings.root == tmp_path.resolve()


def test_another_process_sees_the_same_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = Settings(home=tmp_path, app_port=9002, ray_address="10.0.0.1:6379")
    for name, value in here.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    there = Settings()
    assert there.environment() == here.environment()
    assert there.root == here.root


@pytest.mark.parametrize("port", [0, 65_536, "http"])
def test_a_port_that_cannot_be_is_refused(port: object) -> None:
    with pytest.raises(ValidationError, match="api_port"):
        Settings(api_port=port)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().home = Path("elsewhere")
