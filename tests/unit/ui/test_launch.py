import json
import tomllib
from pathlib import Path

from closedloop.core.settings import Settings
from closedloop.ui.app import launch
from closedloop.ui.app.launch import app_command, app_environment


def test_the_app_listens_on_this_machine_only_unless_told_otherwise() -> None:
    assert "--server.address=127.0.0.1" in app_command(Settings())
    assert "--server.address=0.0.0.0" in app_command(Settings(), address="0.0.0.0")
    assert "--server.port=9000" in app_command(Settings(app_port=9000))


def test_every_setting_of_the_file_is_an_option_that_streamlit_knows() -> None:
    from streamlit import config

    options = config.get_config_options(force_reparse=True)
    flags = [flag for flag in app_command(Settings()) if flag.startswith("--")]
    for flag in flags:
        name, _, value = flag.removeprefix("--").partition("=")
        assert name in options, flag
        if name.endswith("headingFontSizes"):
            assert json.loads(value)  # lists are handed over as JSON
    assert "--browser.gatherUsageStats=false" in flags
    assert "--client.toolbarMode=minimal" in flags
    file = tomllib.loads(Path(launch.__file__).with_name("config.toml").read_text())
    assert len(flags) == 2 + sum(
        len([v for v in t.values() if not isinstance(v, dict)])
        + sum(len(v) for v in t.values() if isinstance(v, dict))
        for t in file.values()
    )


def test_the_script_that_is_run_exists() -> None:
    command = app_command(Settings())
    assert Path(command[command.index("run") + 1]).is_file()


def test_the_apps_process_sees_the_callers_settings(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, app_port=9000, ray_address="10.0.0.1:6379")
    environment = app_environment(settings, environ={"PATH": "/bin", "CLOSEDLOOP_HOME": "old"})
    assert environment["PATH"] == "/bin"
    assert environment["CLOSEDLOOP_HOME"] == str(tmp_path.resolve())
    assert environment["CLOSEDLOOP_RAY_ADDRESS"] == "10.0.0.1:6379"
