"""Measures how well personal data is found: recall and precision a kind, and texts a second.

    python benchmarks/privacy.py --json privacy.json [--turns 200000] [--quick]

The texts come from the traffic simulator, which writes personal data by the standards and knows
where it is; it shares no pattern with the detectors. Everything else in its texts (prices, dates,
sizes, times, product models) must stay. A value counts as found where one span of its kind covers
all of it; a span counts as wrong where it touches no value of its kind. The peer is one pattern
for any number or address with ``@``, as a first attempt would have it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from closedloop.core.privacy import KINDS, Span, find_pii, mask_many
from closedloop.data.simulate.dialogues import SimulatedTurn, simulate_turns
from closedloop.data.simulate.scenario import Scenario

_NAIVE = re.compile(r"\S+@\S+|\+?\d[\d -]{6,}\d")


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--quick", action="store_true", help="a tenth of the turns")
    options = parser.parse_args()
    turns = options.turns // 10 if options.quick else options.turns

    dense = list(simulate_turns(Scenario(seed=options.seed, turns=turns, pii_share=0.3)))
    usual = [turn.text for turn in simulate_turns(Scenario(seed=options.seed + 1, turns=turns))]
    mask_many(usual[:100])  # loads the numbering plans
    started = time.perf_counter()
    mask_many(usual)
    texts_per_s = len(usual) / (time.perf_counter() - started)
    figures = {
        **quality(dense, find_pii),
        "texts_per_s": round(texts_per_s),
        "peer": quality(dense, _naive),
        "turns": turns,
        "seed": options.seed,
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in ("phonenumbers", "python-stdnum")},
    }
    options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    print(f"{'kind':12} {'recall':>7} {'precision':>10} {'values':>8}")
    for kind, row in figures["kinds"].items():
        print(f"{kind:12} {row['recall']:7.4f} {row['precision']:10.4f} {row['values']:8}")
    print(f"{'overall':12} {figures['recall']:7.4f} {figures['precision']:10.4f}")
    print(f"{texts_per_s:,.0f} texts/s; the naive pattern finds {figures['peer']['recall']:.2f}")


def quality(
    turns: Iterable[SimulatedTurn], find: Callable[[str], Iterable[Span]]
) -> dict[str, Any]:
    """Return recall and precision, overall and by kind, of a finder of personal data."""
    values: Counter[str] = Counter()
    found: Counter[str] = Counter()
    spans: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for turn in turns:
        claimed = tuple(find(turn.text))
        for start, end, kind in turn.pii:
            values[kind] += 1
            found[kind] += any(
                span.kind == kind and span.start <= start and end <= span.end for span in claimed
            )
        for span in claimed:
            spans[span.kind] += 1
            right[span.kind] += any(
                span.kind == kind and span.start < end and start < span.end
                for start, end, kind in turn.pii
            )
    return {
        "recall": found.total() / values.total(),
        "precision": right.total() / max(1, spans.total()),
        "kinds": {
            kind: {
                "recall": found[kind] / max(1, values[kind]),
                "precision": right[kind] / max(1, spans[kind]),
                "values": values[kind],
            }
            for kind in KINDS
        },
    }


def _naive(text: str) -> list[Span]:
    return [
        Span(hit.start(), hit.end(), "email" if "@" in hit[0] else "phone")
        for hit in _NAIVE.finditer(text)
    ]


if __name__ == "__main__":
    main()
