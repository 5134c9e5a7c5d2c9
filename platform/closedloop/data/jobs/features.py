"""MLlib job: interactions → a vector a dialogue, of what the user said in it.

Schema in: `closedloop.data.interaction.SCHEMA`. Schema out: `FEATURES_SCHEMA`. The vector
counts tokens by the hashing trick (Weinberger et al. 2009, arXiv 0902.2206) and has length 1.
Nothing is fitted: an inverse document frequency would change every old row with each new day,
and an incremental run could never equal a rebuild.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from closedloop.data.jobs.signals import tokens

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DIMENSIONS = 128
FEATURES_SCHEMA = pa.schema(
    [
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("dialogue_id", pa.string(), nullable=False),
        pa.field("started", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),  # how many the vector counts
        pa.field("vector", pa.list_(pa.float32()), nullable=False),  # of DIMENSIONS
    ]
)


def features(rows: DataFrame) -> DataFrame:
    """Return the feature vectors of interactions' dialogues; one must be given whole.

    A dialogue without a word has a vector of zeros.
    """
    from pyspark.ml.feature import HashingTF, Normalizer
    from pyspark.ml.functions import vector_to_array
    from pyspark.sql import functions as f

    said = rows.groupBy("tenant", "dialogue_id").agg(
        f.min("ts").alias("started"), f.collect_list("text").alias("texts")
    )
    worded = said.select(
        "tenant",
        "dialogue_id",
        "started",
        tokens(f.array_join("texts", " ")).alias("words"),
    )
    hashing = HashingTF(inputCol="words", outputCol="counts", numFeatures=DIMENSIONS)
    normal = Normalizer(inputCol="counts", outputCol="unit", p=2.0)
    return normal.transform(hashing.transform(worded)).select(
        "tenant",
        "dialogue_id",
        "started",
        f.size("words").alias("tokens"),
        vector_to_array(f.col("unit"), "float32").alias("vector"),
    )
