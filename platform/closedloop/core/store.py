"""The metadata store: users, keys, tasks, votes and workflow runs.

SQLite serves one machine, PostgreSQL a team; both run the same schema and the same tests.
SQLite is opened in WAL mode with ``synchronous=FULL``: a label that was acknowledged
survives a power loss. Writers begin with ``BEGIN IMMEDIATE``, so that two of them wait for
each other instead of failing half-way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from closedloop.core import sqlite
from closedloop.core.errors import EngineError, InputError, first_line
from closedloop.core.schema import VERSION_TABLE


class Lock(IntEnum):
    """What is done by one transaction at a time: PostgreSQL's advisory locks."""

    MIGRATION = 7305108
    REGISTRY = 7305109
    ANNOTATION = 7305110
    AUDIT = 7305111
    RULES = 7305112
    ISSUES = 7305113
    ALERTS = 7305114
    CLUSTERER = 7305115


class Store:
    """A connection pool to the metadata store.

    Parameters
    ----------
    url : str
        SQLAlchemy URL, ``sqlite:///FILE`` or ``postgresql+psycopg://…``.

    Examples
    --------
    >>> store = Store.open("sqlite:////tmp/store.db")  # doctest: +SKIP
    >>> with store.write() as connection:              # doctest: +SKIP
    ...     connection.execute(sa.insert(schema.user).values(...))
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = _engine(url)

    @classmethod
    def open(cls, url: str) -> Store:
        """Connect and bring the schema up to date.

        Raises
        ------
        InputError
            The URL cannot be understood.
        EngineError
            The database cannot be reached or written.
        """
        store = cls(url)
        store.migrate()
        return store

    def migrate(self) -> None:
        """Apply the alembic revisions that this database lacks."""
        from alembic import command
        from alembic.config import Config
        from alembic.util.exc import CommandError

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        config.set_main_option("version_table", VERSION_TABLE)
        try:
            with self._writing() as connection:
                # Two processes that start together must not both create the tables.
                one_at_a_time(connection, Lock.MIGRATION)
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except sa.exc.SQLAlchemyError as error:
            raise EngineError(
                f"The metadata store {self.engine_name} cannot be opened: {first_line(error)}",
                remedy="Check CLOSEDLOOP_STORE, free disk space and the database's permissions.",
            ) from error
        except CommandError as error:
            raise EngineError(
                f"The metadata store {self.engine_name} was made by a newer closedloop: {error}",
                remedy="Install that version or a later one, or set CLOSEDLOOP_STORE to another.",
            ) from error

    @property
    def engine_name(self) -> str:
        """The URL without its password, for messages."""
        return sa.make_url(self.url).render_as_string(hide_password=True)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One read-write transaction; commits on leaving, rolls back on an exception.

        Raises
        ------
        EngineError
            The database does not answer.
        """
        with self._answering(), self._writing() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One read-only transaction; raises as `write`."""
        with self._answering(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        writer = self._engine.connect().execution_options(closedloop_write=True)
        with writer as connection, connection.begin():
            yield connection

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
            raise EngineError(
                f"The metadata store {self.engine_name} does not answer: {first_line(error)}",
                remedy="Check that the database runs and has disk space; then try again.",
            ) from error

    def close(self) -> None:
        """Give the pool's connections back."""
        self._engine.dispose()


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise InputError(
            f"The metadata store URL {url!r} cannot be read.",
            remedy="Write it as sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME.",
        ) from error
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, pool_pre_ping=True)

    if parsed.database:
        folder = Path(parsed.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineError(
                f"The folder {folder} of the metadata store cannot be made: {error.strerror}.",
                remedy="Check CLOSEDLOOP_HOME and CLOSEDLOOP_STORE and the folder's permissions.",
            ) from error
    engine = sa.create_engine(parsed, connect_args={"timeout": sqlite.BUSY_TIMEOUT_S})

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        sqlite.prepare(connection)  # SQLAlchemy's BEGIN below is the only one

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("closedloop_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def one_at_a_time(connection: sa.Connection, lock: Lock) -> None:
    """Keep others that name this lock out until the transaction ends; in SQLite they are."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(int(lock))))
