"""Spark sessions: plain local Spark, or RayDP's Spark inside the Ray cluster. Same job code.

``local`` runs in this process's JVM and needs no Ray. ``ray`` asks the Ray cluster that this
process has joined for executors; `collect` then hands results over through Ray's object store
(``ray.data.from_spark``) instead of files.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from closedloop.core.engine_log import engine_log
from closedloop.core.errors import EngineError, first_line
from closedloop.core.java import prepare_environment

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_SHARED_CONF = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}

# Both: what is bound to the loopback must not be looked for at the machine's own address, where
# larger results of tasks are fetched from. RayDP sets the two for itself.
_LOCAL_CONF = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}

# The JVM that works. Throughput counts, pauses do not; with few cores, G1's threads compete.
_WORKER_JAVA = "-XX:+UseParallelGC"
# A JVM that only plans or keeps count: the quick compiler alone leaves the cores to the worker.
_IDLE_JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:CICompilerCount=1"
_RAY_APP = "closedloop"
_END_S = 5.0
_LOOK_S = 0.5
_FIRST_S = 60.0  # what an executor may take to start
# A fresh session is at work sooner than an executor that Ray starts again, if RayDP takes that
# one back at all (#364). While others live, it may.
_ALONE_S = 3.0


class Engine(StrEnum):
    """Where Spark runs."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, kw_only=True, slots=True)
class SparkSize:
    """What a session may take; bounded, because a lost executor is not replaced (RayDP #364)."""

    executors: int = 1
    cores: int = 1
    memory: str = "1g"


@contextmanager
def spark_session(
    engine: Engine, *, size: SparkSize = SparkSize(), log_file: Path | None = None
) -> Iterator[SparkSession]:
    """Open a session and close it again; the JVM's own messages go to ``log_file``.

    Raises
    ------
    EngineError
        Spark could not start.
    """
    started_ms = int(time.time() * 1000)
    if "JDK_JAVA_OPTIONS" not in os.environ:
        prepare_environment()
    with tempfile.TemporaryDirectory(prefix="closedloop-spark-") as scratch:
        conf = _SHARED_CONF | {
            "spark.local.dir": scratch,
            "spark.sql.warehouse.dir": f"{scratch}/warehouse",
        }
        with engine_log(log_file or Path(scratch, "spark.log")):
            session = (_on_ray if engine is Engine.RAY else _local)(size, conf)
        lost = threading.Event()
        try:
            with _executors_watched(session, lost):
                yield session
        except Exception as error:
            if type(error).__module__.split(".")[0] not in ("pyspark", "py4j"):
                raise
            # Its text lives in the JVM, which ends below.
            raise EngineError(
                "Spark lost its executors, and no other took their place."
                if lost.is_set()
                else f"The Spark job failed: {first_line(error)}",
                remedy="See logs/spark.log below the home, then run the same command again.",
            ) from None
        finally:
            if engine is Engine.RAY:
                _stop_on_ray(session, started_ms)
            else:
                session.stop()
            _end_jvm()


def collect(frame: DataFrame, engine: Engine, schema: pa.Schema) -> pa.Table:
    """Bring a result to this process as Arrow of ``schema``, in the frame's row order.

    On Ray it comes through the object store. Lists and maps cannot: Spark leaves the offsets
    of an empty one out, which Ray's serialiser refuses; they come through the driver's JVM.
    """
    if engine is Engine.RAY and any(pa.types.is_nested(field.type) for field in schema):
        batches = frame._collect_as_arrow()
        return pa.concat_tables(
            [schema.empty_table(), *(pa.Table.from_batches([b]).cast(schema) for b in batches)]
        )
    if engine is Engine.RAY:
        import ray

        with warnings.catch_warnings():  # RayDP uses a property that Spark deprecates
            warnings.simplefilter("ignore", UserWarning)
            dataset = ray.data.from_spark(frame)
        blocks = [block for block in ray.get(dataset.to_arrow_refs()) if block.num_rows]
        return pa.concat_tables([schema.empty_table(), *(b.cast(schema) for b in blocks)])
    with tempfile.TemporaryDirectory(prefix="closedloop-spark-out-") as folder:
        frame.write.mode("overwrite").parquet(f"{folder}/out")
        parts = sorted(Path(folder, "out").glob("part-*.parquet"))
        return pa.concat_tables([pq.read_table(part).cast(schema) for part in parts])


@contextmanager
def _executors_watched(session: SparkSession, lost: threading.Event) -> Iterator[None]:
    """Cancel the jobs of a session that has no executor left: Spark would wait for ever.

    Plain local Spark has none to lose.
    """
    ended = threading.Event()
    context = session.sparkContext

    def watch() -> None:
        seen, patience_s = time.monotonic(), _FIRST_S
        while not ended.wait(_LOOK_S):
            # The driver counts as one.
            if context._jsc.sc().getExecutorMemoryStatus().size() > 1:
                seen, patience_s = time.monotonic(), _ALONE_S
            elif time.monotonic() - seen > patience_s:
                lost.set()
                context.cancelAllJobs()

    watcher = threading.Thread(target=watch, name="spark-executors", daemon=True)
    if not (context.master or "").startswith("local"):
        watcher.start()
    try:
        yield
    finally:
        ended.set()
        if watcher.is_alive():
            watcher.join()


def _local(size: SparkSize, conf: dict[str, str]) -> SparkSession:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{size.executors * size.cores}]")
    builder = builder.appName("closedloop").config("spark.driver.memory", size.memory)
    conf = conf | _LOCAL_CONF | {"spark.driver.extraJavaOptions": _WORKER_JAVA}
    for key, value in conf.items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:
        raise EngineError(
            f"Spark did not start: {first_line(error)}",
            remedy="See 'closedloop status' for Java's state.",
        ) from error
    session.sparkContext.setLogLevel("ERROR")
    return session


def _on_ray(size: SparkSize, conf: dict[str, str]) -> SparkSession:
    import ray
    import raydp

    if not ray.is_initialized():
        raise EngineError(
            "Spark on Ray needs a Ray cluster and this process has joined none.",
            remedy="Use --engine local, or start the platform with 'closedloop up'.",
        )
    try:
        session = raydp.init_spark(
            app_name=f"{_RAY_APP}-{uuid.uuid4().hex[:8]}",  # names its master, which ends later
            num_executors=size.executors,
            executor_cores=size.cores,
            executor_memory=size.memory,
            configs=conf
            | {
                "spark.executor.extraJavaOptions": _WORKER_JAVA,
                "spark.driver.extraJavaOptions": _IDLE_JAVA,
                "spark.ray.raydp_app_master.extraJavaOptions": _IDLE_JAVA,
            },
        )
    except Exception as error:
        with suppress(Exception):  # else the next session would find half of this one
            raydp.stop_spark()
        _end_jvm()
        raise EngineError(
            f"Spark on Ray did not start: {first_line(error)}",
            remedy="Look for free CPUs and memory in 'closedloop status', or use --engine local.",
        ) from error
    session.sparkContext.setLogLevel("ERROR")
    return session


def _stop_on_ray(session: SparkSession, started_ms: int) -> None:
    import ray
    import raydp

    master = f"{session.sparkContext.appName}_SPARK_MASTER"
    raydp.stop_spark()
    with suppress(ValueError):  # it ended as it should
        actor = ray.get_actor(master)
        # It fails to end itself where it lost what it should end first.
        with suppress(ray.exceptions.RayError):
            ray.wait([actor.get_actor_id.remote()], timeout=_END_S)
        ray.kill(actor)
    # Each Ray JVM of this session unpacked its native library into a folder named after the
    # moment, whatever temp folder Ray was given; nothing else removes them.
    for folder in Path("/tmp/ray").glob("[0-9]" * 13):
        if int(folder.name) >= started_ms and (folder / "libcore_worker_library_java.so").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _end_jvm() -> None:
    """End this process's JVM: its class path fits one engine only, and it holds memory."""
    from pyspark import SparkContext

    if SparkContext._gateway is None:
        return
    jvm = getattr(SparkContext._gateway, "proc", None)
    SparkContext._gateway.shutdown()
    SparkContext._gateway = SparkContext._jvm = None
    if jvm is not None:
        jvm.stdin.close()  # the JVM that pyspark started ends when its input does
        jvm.wait(timeout=30)
