"""Reads Parquet files of a lake table's version into a frame of a schema that is known.

Giving Spark the schema spares the job it would start to look at a file's footer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType


def read_rows(session: SparkSession, files: Sequence[str], schema: pa.Schema) -> DataFrame:
    """Return the rows of Parquet files, or an empty frame where there are no files.

    Parameters
    ----------
    session : SparkSession
        Where to read.
    files : sequence of str
        Paths, as `Lake.files` and `dated_files` give them.
    schema : pyarrow.Schema
        The columns to read; others in the files are left out.
    """
    columns = spark_schema(schema)
    if not files:
        return session.createDataFrame([], columns)
    return session.read.schema(columns).parquet(*files)


def spark_schema(schema: pa.Schema) -> StructType:
    """Return Spark's form of an Arrow schema; everything nullable, as files are to Spark."""
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import StructField, StructType

    return StructType([StructField(f.name, from_arrow_type(f.type), True) for f in schema])
