"""Opens MLflow's store so that it keeps to the places it is given.

MLflow by itself reports usage, makes ``./mlruns`` in the current folder and migrates its
database without a lock, so that two processes that open a fresh one together both fail. Its
tracking (trials) and its registry (versions, aliases) share one database, apart from the
metadata store: both call their migration table ``alembic_version``.

The MLflow server is never started by the platform; whoever starts one to look at the registry
keeps it on loopback (CVE-2025-11201).
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from closedloop.core.errors import EngineError, InputError
from closedloop.core.store import Lock

if TYPE_CHECKING:
    from mlflow import MlflowClient


def open_mlflow(registry_url: str, artifacts_url: str) -> MlflowClient:
    """Return a client of the store at ``registry_url``, made and migrated where it is new.

    The first opening of a new store takes seconds; processes that open it together wait for
    the one that migrates.

    Parameters
    ----------
    registry_url : str
        SQLAlchemy URL, ``sqlite:////FILE`` or ``postgresql+psycopg://…``.
    artifacts_url : str
        Folder below which MLflow keeps what trials log as files.

    Raises
    ------
    InputError
        The URL is not a database's.
    EngineError
        The database cannot be reached or written.
    """
    if "://" not in registry_url or registry_url.startswith(("http", "file")):
        raise InputError(
            f"The registry URL {registry_url!r} is not supported.",
            remedy="Set CLOSEDLOOP_REGISTRY to sqlite:////FILE or postgresql+psycopg://….",
        )
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # Without it MLflow makes ./mlruns for the default experiment; there is no public setting
    # for a client that talks to the database itself.
    os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = f"{artifacts_url.rstrip('/')}/runs"
    for name in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)

    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    try:
        with _one_at_a_time(registry_url):
            return MlflowClient(tracking_uri=registry_url, registry_uri=registry_url)
    except (OSError, SQLAlchemyError, MlflowException) as error:
        raise EngineError(
            f"The model registry cannot be opened: {str(error).splitlines()[0]}",
            remedy="Check CLOSEDLOOP_REGISTRY, free disk space and the database's permissions.",
        ) from error


@contextmanager
def _one_at_a_time(registry_url: str) -> Iterator[None]:
    """Hold a lock that every process which opens this store takes."""
    file = sqlite_file(registry_url)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{file}.lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    elif registry_url.startswith("postgresql"):
        import sqlalchemy as sa

        engine = sa.create_engine(registry_url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_lock(int(Lock.REGISTRY))))
            yield  # closing the connection gives the lock back
    else:
        yield


def sqlite_file(registry_url: str) -> Path | None:
    """Return the file of a SQLite URL, None for any other database."""
    scheme, _, path = registry_url.partition(":///")
    return Path(path) if scheme.startswith("sqlite") and path else None
