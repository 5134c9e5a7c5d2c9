"""Measures stream clustering against river's TextClust on a stream with known clusters.

    python benchmarks/stream_clustering.py --data ../shared/data/news-stream/News-T --json out.json
        [--documents 1000000] [--quick]

The file is JSON Lines in the order of arrival (``textCleaned`` or ``text``; ``clusterNo`` or
``cluster``). Clusters are unseen until the pass is over. A document is judged by the cluster that
its micro-cluster belongs to at the end of the pass; ``*_at_arrival`` judges what was said when it
came. The peer gets the same texts in the same process; it too is timed until it has said each
text's cluster, which it does not do while it learns. Both run on one core and are judged by the
CPU time that they take, which other programs on the machine do not change; ``*_by_clock`` is by
the clock. Then simulated traffic of both languages shows whether time and memory stay flat.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Scenario
from closedloop.defence.cluster_state import dump
from closedloop.defence.stream_clusters import StreamClusters, StreamSettings
from closedloop.samples.embedding import load_embedding

_FLAT_FROM = 100_000
_PEER_RADIUS = 0.85  # the best of those tried for short titles


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="JSON Lines with known clusters")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--documents", type=int, default=1_000_000, help="of simulated traffic")
    parser.add_argument("--runs", type=int, default=3, help="of ours; the median counts")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, one run")
    options = parser.parse_args()
    texts, truth = read_stream(options.data)
    documents, runs = options.documents, options.runs
    peer_texts = len(texts)
    if options.quick:
        documents, runs, peer_texts = documents // 10, 1, min(len(texts), 1_500)

    report = ours(texts, truth, runs)
    print(
        f"{len(texts):,} texts: NMI {report['nmi']:.3f}, ARI {report['ari']:.3f},"
        f" {report['clusters']} clusters, {report['docs_per_second']:,.0f} a second",
        flush=True,
    )
    report |= peer(texts[:peer_texts], truth[:peer_texts])
    if report["river_docs_per_second"]:
        for suffix in ("", "_by_clock"):
            ours_, peers = f"docs_per_second{suffix}", f"river_docs_per_second{suffix}"
            report[f"ratio{suffix}"] = report[ours_] / report[peers]
        print(
            f"{report['ratio']:.0f} times river's TextClust by CPU time,"
            f" {report['ratio_by_clock']:.0f} times by the clock",
            flush=True,
        )
    report |= flatness(documents)
    print(
        f"simulated traffic: a text takes {report['time_ratio']:.2f} times as long in"
        f" {documents:,} as in the first {report['flat_from']:,}",
        flush=True,
    )
    report |= {
        "settings": asdict(StreamSettings()),
        "texts": len(texts),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=2), encoding="utf-8")


def read_stream(path: Path) -> tuple[list[str], list[str]]:
    """Return texts and their true clusters."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    texts = [row["textCleaned"] if "textCleaned" in row else row["text"] for row in rows]
    return texts, [str(row["clusterNo"] if "clusterNo" in row else row["cluster"]) for row in rows]


def quality(truth: list[str], found: list[int | None]) -> dict[str, float]:
    """Return NMI (arithmetic mean) and ARI."""
    labels = [-1 if one is None else one for one in found]
    return {
        "nmi": float(normalized_mutual_info_score(truth, labels)),
        "ari": float(adjusted_rand_score(truth, labels)),
    }


def ours(texts: list[str], truth: list[str], runs: int) -> dict[str, Any]:
    """Cluster the stream in one pass with the default settings; the last grouping is timed."""
    began = time.perf_counter()
    load_embedding()
    warm = StreamClusters()
    warm.add_all(texts[:10])  # reads the compiled code, or compiles it
    warm.refresh()
    ready = time.perf_counter() - began  # once a process
    seconds: list[float] = []
    cpu: list[float] = []
    online: list[float] = []
    for _ in range(runs):
        stream = StreamClusters()
        began, began_cpu = time.perf_counter(), time.process_time()
        placed = [stream.add(text) for text in texts]
        online.append(time.process_time() - began_cpu)
        stream.refresh()
        cpu.append(time.process_time() - began_cpu)
        seconds.append(time.perf_counter() - began)
    found = [stream.cluster_of(one) for one in placed]
    arrival = quality(truth, [one.cluster for one in placed])
    return quality(truth, list(found)) | {
        "nmi_at_arrival": arrival["nmi"],
        "ari_at_arrival": arrival["ari"],
        "clusters": len(set(found)),
        "micro_clusters": len(stream.micros),
        "ready_seconds": ready,
        "docs_per_second": len(texts) / median(cpu),
        "docs_per_second_by_clock": len(texts) / median(seconds),
        "docs_per_second_without_last_grouping": len(texts) / median(online),
        "state_bytes": len(dump(stream)),
    }


def peer(texts: list[str], truth: list[str]) -> dict[str, Any]:
    """Cluster the stream with river's TextClust."""
    try:
        from river.cluster import TextClust
        from river.feature_extraction import BagOfWords
    except ImportError:
        print("river is not installed: no ratio (make setup installs it)")
        return {"river_docs_per_second": None, "ratio": None}
    bag = BagOfWords(lowercase=True)
    model = TextClust(radius=_PEER_RADIUS, real_time_fading=False)
    learning, answering, found = 0.0, 0.0, []
    began_clock = time.perf_counter()
    for text in texts:
        began = time.process_time()
        words = bag.transform_one(text)
        model.learn_one(words)
        learned = time.process_time()
        found.append(model.predict_one(words, type="micro"))
        learning += learned - began
        answering += time.process_time() - learned
    clock = time.perf_counter() - began_clock
    figures = quality(truth, found)
    return {
        "river_docs_per_second_by_clock": len(texts) / clock,
        "river_docs_per_second": len(texts) / (learning + answering),
        "river_docs_per_second_learning_only": len(texts) / learning,
        "river_nmi": figures["nmi"],
        "river_ari": figures["ari"],
        "river_texts": len(texts),
        "river_version": version("river"),
    }


def flatness(documents: int) -> dict[str, Any]:
    """Cluster simulated traffic of both languages, and compare its beginning with all of it."""
    first = min(_FLAT_FROM, documents // 10)
    stream = StreamClusters()
    traffic = _traffic(documents)
    marks: list[tuple[int, float, int]] = []
    spent, done = 0.0, 0
    while batch := list(islice(traffic, first)):
        began = time.process_time()
        for text in batch:
            stream.add(text)
        spent += time.process_time() - began
        done += len(batch)
        marks.append((done, spent, len(stream.micros)))
    state = len(dump(stream))
    at_first = marks[0][1] / marks[0][0]
    return {
        "flat_from": first,
        "flat_to": done,
        "seconds_per_doc_first": at_first,
        "seconds_per_doc_all": spent / done,
        "seconds_per_doc_last": (spent - marks[-2][1]) / (done - marks[-2][0]),
        "time_ratio": (spent / done) / at_first,
        "flat_docs_per_second": done / spent,
        "flat_micro_clusters": marks[-1][2],
        "flat_state_bytes": state,
    }


def _traffic(documents: int) -> Iterator[str]:
    return (turn.text for turn in simulate_turns(Scenario(seed=5, turns=documents)))


if __name__ == "__main__":
    main()
