"""Stage: vectorise the samples, cluster them, and name each cluster by its keywords."""

from __future__ import annotations

from closedloop.samples.cluster import cluster_texts
from closedloop.samples.keywords import cluster_keywords
from closedloop.samples.vectorise import TextVectoriser
from closedloop.workflows.context import LoopContext, StageProgress
from closedloop.workflows.records import StageOutcome

_SHOWN = 5


def cluster(context: LoopContext, outcome: StageOutcome, progress: StageProgress) -> None:
    """Group the samples by meaning."""
    parameters, state = context.parameters, context.state
    texts = state.samples["text"].to_pylist()
    state.vectoriser = TextVectoriser(seed=parameters.seed).fit(texts)
    progress(1, 3)
    state.views = state.vectoriser.transform(texts)
    state.clustering = cluster_texts(
        state.views.dense(), clusters=parameters.clusters, seed=parameters.seed
    )
    progress(2, 3)
    found = cluster_keywords(texts, state.clustering.labels)
    state.keywords = tuple(tuple(word.term for word in words) for words in found)
    progress(3, 3)
    largest = state.clustering.sizes.argsort()[::-1][:_SHOWN]
    outcome.rows = len(texts)
    outcome.details = {
        "clusters": state.clustering.clusters,
        "largest": "; ".join(
            f"{' '.join(state.keywords[c][:3])} ({state.clustering.sizes[c]})" for c in largest
        ),
    }
