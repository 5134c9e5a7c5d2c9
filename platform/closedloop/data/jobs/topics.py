"""MLlib job: samples → topics, by Word2Vec vectors and k-means.

The topics are the first map of an unknown log: what people ask about, before anybody has
labelled anything. References: Mikolov et al. 2013 (arXiv 1301.3781); Bahmani et al. 2012,
"Scalable K-Means++".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_VECTOR_SIZE = 32
_MIN_COUNT = 2
_ITERATIONS = 3


def with_topics(samples: DataFrame, *, topics: int, seed: int = 0) -> DataFrame:
    """Add a column ``topic`` (int, 0 ≤ topic < topics) to samples.

    One partition each for Word2Vec's training and k-means' input makes the result the same
    whatever number of executors takes part.
    """
    from pyspark.ml.clustering import KMeans
    from pyspark.ml.feature import Word2Vec
    from pyspark.sql import functions as f

    ordered = samples.coalesce(1).cache()
    word2vec = Word2Vec(
        inputCol="tokens",
        outputCol="vector",
        vectorSize=_VECTOR_SIZE,
        minCount=_MIN_COUNT,
        numPartitions=1,
        maxIter=_ITERATIONS,
        seed=seed,
    )
    kmeans = KMeans(featuresCol="vector", predictionCol="topic", k=topics, maxIter=20, seed=seed)
    vectors = word2vec.fit(ordered).transform(ordered).cache()
    placed = kmeans.fit(vectors).transform(vectors)
    return placed.select(
        *[column for column in samples.columns if column != "tokens"],
        f.col("topic").cast("int").alias("topic"),
    )
