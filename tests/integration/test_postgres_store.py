"""The metadata store on a real PostgreSQL server: the contracts that SQLite passes, again.

The server is started here, in a folder of its own and on a Unix socket, and stopped after.
"""

import os
import pwd
import runpy
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from closedloop.core import schema
from closedloop.core.errors import Conflict, EngineError
from closedloop.core.identity import Identities, Role
from closedloop.core.store import Store
from closedloop.data.cube.filters import In, IsNull, Or
from closedloop.samples.slices import Slices
from closedloop.workflows.records import RunRecords

CONTRACTS = {
    "samples/test_annotation.py": ("clock", "queue"),
    "core/test_audit.py": (),
    "defence/rules/test_rule_book.py": ("now", "book"),
    "defence/issues/test_issue_book.py": ("issues",),
    "defence/test_shards.py": ("shards",),
    "defence/alerts/test_alert_book.py": ("now", "inbox", "alerts", "publish"),
}
for contract, fixtures in CONTRACTS.items():
    parts = runpy.run_path(str(Path(__file__).parents[1] / "unit" / contract))
    globals().update(
        {n: part for n, part in parts.items() if n.startswith("test_") or n in fixtures}
    )


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL server's URL, without a database name."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL here: install the Debian package postgresql")
    # The server refuses to run as root; a Unix socket's path must be short.
    account = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    as_account: list[str] = []
    if os.geteuid() == 0:
        # Not every PATH has the folders of the administrator's programs.
        runuser = shutil.which("runuser", path=f"{os.defpath}:/usr/sbin:/sbin")
        if runuser is None:
            pytest.skip("the server refuses to run as root, and there is no runuser")
        as_account = [runuser, "-u", account, "--"]
    folder = Path(tempfile.mkdtemp(prefix="cl-pg-", dir="/tmp"))
    shutil.chown(folder, account)
    control = [*as_account, str(binaries / "pg_ctl"), "-D", str(folder / "data")]

    def run(*command: str) -> None:
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=120)

    try:
        run(
            *as_account,
            *(str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "loop"),
            *("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"),
        )
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run(*control, "-w", "-o", options, "-l", str(folder / "log"), "start")
        try:
            yield f"postgresql+psycopg://loop@/{{name}}?host={folder}"
        finally:
            run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def migrated(server: str) -> Iterator[Store]:
    opened = Store.open(_new_database(server, "contract"))
    yield opened
    opened.close()


@pytest.fixture
def store(migrated: Store) -> Store:
    with migrated.write() as connection:
        names = ", ".join(table.name for table in schema.metadata.sorted_tables)
        connection.execute(sa.text(f"TRUNCATE {names} CASCADE"))
    return migrated


def _new_database(server: str, name: str) -> str:
    engine = sa.create_engine(server.format(name="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.format(name=name)


def test_processes_that_open_a_new_store_at_once_migrate_it_once(server: str) -> None:
    url = _new_database(server, "race")
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: Store.open(url), range(4)))
    with stores[0].read() as connection:
        tables = set(sa.inspect(connection).get_table_names())
    assert {table.name for table in schema.metadata.sorted_tables} < tables
    for opened in stores:
        opened.close()


def test_people_and_keys_are_kept(store: Store) -> None:
    people = Identities(store)
    people.add_user("ann", "correct horse", Role.ENGINEER)
    assert people.log_in("ann", "correct horse").role is Role.ENGINEER
    key, secret = people.add_key("shop", tenant="demo")
    assert people.check_key(secret) == key


def test_runs_and_stages_are_kept(store: Store) -> None:
    records = RunRecords(store)
    run = records.start("repair", "demo.svm.intent", {"seed": 1})
    with records.stage(run, 0, "replay") as outcome:
        outcome.rows = 7
    records.finish(run, {"accuracy_after": 0.9})
    found = records.get(run)
    assert (found.state, found.summary, found.stages[0].rows) == (
        "done",
        {"accuracy_after": 0.9},
        7,
    )


def test_slices_are_kept_replaced_and_renamed(store: Store) -> None:
    slices = Slices(store)
    where = Or(any_of=(In(field="language", values=("zh",)), IsNull(field="merchant")))
    slices.save("中文", where, saved_by="eve")
    with pytest.raises(Conflict):
        slices.save("中文", where)
    slices.save("中文", where, description="d", replace=True)
    slices.rename("中文", "Chinese")
    [found] = slices.all()
    assert (found.name, found.where, found.description) == ("Chinese", where, "d")
    slices.delete("Chinese")
    assert slices.all() == []


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(EngineError) as failed:
        Store.open("postgresql+psycopg://loop:secret@127.0.0.1:1/none")
    assert "127.0.0.1:1" in str(failed.value)
    assert "secret" not in str(failed.value)
