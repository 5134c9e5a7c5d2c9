import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from closedloop.core import schema
from closedloop.core.errors import EngineError, InputError
from closedloop.core.schema import VERSION_TABLE
from closedloop.core.store import Store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "store.db"


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{file}")
    yield opened
    opened.close()


def add_user(connection: sa.Connection, name: str) -> None:
    connection.execute(
        sa.insert(schema.user).values(
            name=name, role="annotator", password_hash="", created_at=0.0, disabled=False
        )
    )


def user_names(store: Store) -> list[str]:
    with store.read() as connection:
        return list(connection.execute(sa.select(schema.user.c.name)).scalars())


def test_migrations_make_the_schema_that_the_code_reads(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, schema.metadata) == []


def test_the_version_table_is_not_mlflows(store: Store) -> None:
    with store.read() as connection:
        tables = sa.inspect(connection).get_table_names()
    assert VERSION_TABLE in tables
    assert "alembic_version" not in tables


def test_opening_again_keeps_what_is_there(store: Store) -> None:
    with store.write() as connection:
        add_user(connection, "ann")
    again = Store.open(store.url)
    assert user_names(again) == ["ann"]
    again.close()


def test_keys_from_before_scopes_go_on_doing_everything(file: Path) -> None:
    from alembic import command
    from alembic.config import Config

    from closedloop.core import store as module
    from closedloop.core.api_key import ALL, Action
    from closedloop.core.identity import Identities

    old = Store(f"sqlite:///{file}")
    config = Config()
    migrations = Path(module.__file__).with_name("migrations")
    config.set_main_option("script_location", str(migrations))
    config.set_main_option("version_table", VERSION_TABLE)
    with old.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(
            sa.text(
                "INSERT INTO api_key (id, client, tenant, secret_hash, created_at)"
                " VALUES ('17', 'bot', 'shop', :hash, 1.0)"
            ),
            {"hash": hashlib.sha256(b"secret").hexdigest()},
        )
    old.migrate()
    key = Identities(old).check_key("cl_17_secret")
    assert (key.actions, key.models) == (frozenset(Action), (ALL,))
    old.close()


def test_an_exception_rolls_back(store: Store) -> None:
    def fail_half_way() -> None:
        with store.write() as connection:
            add_user(connection, "ann")
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        fail_half_way()
    assert user_names(store) == []


def test_writers_wait_for_each_other(store: Store) -> None:
    start = threading.Barrier(8)

    def add_one(_: int) -> None:
        start.wait()
        with store.write() as connection:  # reads before it writes: a deferred lock would fail
            count = connection.execute(sa.select(sa.func.count()).select_from(schema.user))
            add_user(connection, f"user {count.scalar_one()}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_one, range(8)))
    assert sorted(user_names(store)) == [f"user {n}" for n in range(8)]


def test_a_reader_sees_one_moment_while_others_write(store: Store) -> None:
    count = sa.select(sa.func.count()).select_from(schema.user)
    with store.read() as reader:
        before = reader.execute(count).scalar_one()
        with store.write() as writer:
            add_user(writer, "ann")
        assert reader.execute(count).scalar_one() == before
    assert user_names(store) == ["ann"]


def test_every_connection_survives_power_loss_and_checks_references(store: Store) -> None:
    with store.read() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_threads_that_open_a_new_store_at_once_migrate_it_once(file: Path) -> None:
    start = threading.Barrier(4)

    def open_it(_: int) -> Store:
        start.wait()
        return Store.open(f"sqlite:///{file}")

    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(open_it, range(4)))
    assert all(user_names(store) == [] for store in stores)
    for opened in stores:
        opened.close()


def test_an_url_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Store.open("not a url")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    file.write_bytes(b"this is a text file, not a database" * 100)
    with pytest.raises(EngineError, match=r"store\.db cannot be opened"):
        Store.open(f"sqlite:///{file}")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EngineError, match="file"):
        Store.open(f"sqlite:///{tmp_path}/file/store.db")


def test_a_store_from_the_future_is_refused(store: Store, file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = 'later'")
    with pytest.raises(EngineError, match="newer"):
        Store.open(store.url)


def test_messages_never_show_the_password() -> None:
    store = Store("postgresql+psycopg://loop:secret@db.example/loop")
    assert store.engine_name == "postgresql+psycopg://loop:***@db.example/loop"


def test_a_database_that_does_not_answer_any_more_is_told_in_words(tmp_path):
    file = tmp_path / "store.db"
    store = Store.open(f"sqlite:///{file}")
    store.close()
    file.unlink()
    file.mkdir()
    for begin in (store.read, store.write):
        with pytest.raises(EngineError, match=r"store\.db does not answer"), begin():
            pass
