"""Rules and issues measured: how soon a rule is obeyed, how soon a new issue is on the board.

    python benchmarks/defence.py --json defence.json [--models 300 --rules 10000] [--quick]

The rules are of all tenants and are made of words that customers write, so that texts bring up
many of them. A rule is live from the first answer behind which no replica answers without it.
What 10,000 rules cost a request is measured as well. Bursts are seen end to end by
`defence_live.py`; calm traffic, and bursts faster than by the clock, by `defence_issues.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import defence_issues
import defence_live
import httpx
import numpy as np
from serving_models import pipelines, texts

from closedloop.actors.cluster import ray_cluster
from closedloop.core.identity import Identities
from closedloop.core.ports import free_port
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.defence.rules.rule import ALL_TENANTS, Act, Rule, RuleDraft
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.defence.rules.rule_set import RuleSet
from closedloop.models.artifacts import LEAN_FILE
from closedloop.models.lean.compiling import lean_of_pipeline
from closedloop.models.lean.file import save_lean
from closedloop.models.model_version import LeanFile
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Registry
from closedloop.serve.deployment import start, stop
from closedloop.serve.options import ServingOptions

_STREAK = 12  # answers in a row that obey; replicas take requests in turns


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--changes", type=int, default=60, help="rules that are made live")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the models and changes")
    options = parser.parse_args()
    if options.quick:
        options.models, options.changes = options.models // 10, 20
    asked = texts(options.seed)
    drafts = made_rules(asked, options.rules, seed=options.seed)
    figures = cost(drafts, asked) | live(options, drafts, asked)
    figures |= defence_live.figures(options.seed, quick=options.quick)
    at_event_time = defence_issues.figures(options.seed, quick=options.quick)
    calm = {
        name: at_event_time[name] for name in at_event_time if "alarm" in name or "calm" in name
    }
    figures |= calm | {"at_event_time": at_event_time}
    figures |= {
        "models": options.models,
        "replicas": options.replicas,
        "seed": options.seed,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
    }
    options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:24} {value}")


def made_rules(asked: list[str], count: int, *, seed: int) -> list[RuleDraft]:
    """Return rules of two or three words that stand together in some text, and exceptions."""
    drawn = random.Random(seed)
    known = sorted({word for text in asked for word in _words(text)})
    drafts = []
    while len(drafts) < count:
        here = _words(drawn.choice(asked))
        if len(here) < 2:
            continue
        first, second = drawn.sample(here, 2)
        other = drawn.choice(known)
        condition = drawn.choice(
            [
                f'"{first}" "{second}" "{other}"',
                f'"{first}" ("{other}" OR "{second} {other}")',
                f'"{first}" "{other}" NOT "{second}"',
            ]
        )
        number = len(drafts)
        drafts.append(
            RuleDraft(
                tenant=ALL_TENANTS,
                name=f"rule {number}",
                condition=condition,
                act=Act.INTENT,
                value=f"intent-{number % 50}",
                priority=drawn.randrange(-50, 50),
            )
        )
    return drafts


def cost(drafts: list[RuleDraft], asked: list[str]) -> dict[str, float]:
    """Return what asking the rules costs a text, in this process."""
    kept = dict.fromkeys(("created_at", "changed_at"), 0.0)
    rules = [
        Rule(**_content(draft), id=f"{n:05}", revision=1, **kept) for n, draft in enumerate(drafts)
    ]
    began = time.perf_counter()
    compiled = RuleSet(rules)
    built_s = time.perf_counter() - began
    seconds, hits = [], 0
    for text in asked * 3:
        began = time.perf_counter()
        found = compiled.apply(text, tenant="shop")
        seconds.append(time.perf_counter() - began)
        hits += bool(found)
    return {
        "rules": len(drafts),
        "rule_cost_ms": round(statistics.fmean(seconds) * 1000, 4),
        "rule_cost_ms_p99": round(float(np.percentile(seconds, 99)) * 1000, 4),
        "rule_hit_share": round(hits / len(seconds), 3),
        "rule_build_ms": round(built_s * 1000, 1),
    }


def live(
    options: argparse.Namespace, drafts: list[RuleDraft], asked: list[str]
) -> dict[str, float]:
    """Return how long it takes until every replica obeys a rule, over HTTP."""
    with tempfile.TemporaryDirectory(prefix="cl-defence-") as name:
        folder = Path(name)
        settings = Settings(home=folder / "home", api_port=free_port(), dashboard_port=free_port())
        with ray_cluster(settings):
            models = _register(options, settings, folder)
            store = Store.open(settings.store_url)
            _, key = Identities(store).add_key("bench", tenant=ALL_TENANTS)
            book = RuleBook(store)
            for draft in drafts:
                book.add(draft)
            serving = ServingOptions(
                min_replicas=options.replicas, max_replicas=options.replicas, rate_per_key_s=1e6
            )
            try:
                url = start(settings, serving)
                waits = [
                    _until_obeyed(book, url, key, models[n % len(models)], n)
                    for n in range(options.changes)
                ]
            finally:
                stop()
            store.close()
    return {
        "rule_live_ms_p50": round(statistics.median(waits) * 1000),
        "rule_live_ms_p95": round(float(np.percentile(waits, 95)) * 1000),
        "rule_live_ms_max": round(max(waits) * 1000),
        "rule_changes": len(waits),
    }


def _until_obeyed(book: RuleBook, url: str, key: str, model: str, number: int) -> float:
    draft = RuleDraft(
        tenant=ALL_TENANTS,
        name=f"new {number}",
        condition=f"novelty{number} 夜",
        act=Act.HAND_OVER,
        priority=100,
    )
    body = {"text": f"a novelty{number} of the 夜"}
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(trust_env=False, timeout=30) as client:
        rule = book.add(draft)
        began = time.perf_counter()
        since, streak = 0.0, 0
        while streak < _STREAK:
            answered = client.post(f"{url}/v1/models/{model}:predict", json=body, headers=headers)
            told = answered.raise_for_status().json()["predictions"][0]["rule"]
            if told is None or told["id"] != rule.id:
                streak = 0
                continue
            since = since if streak else time.perf_counter() - began
            streak += 1
    return since


def _register(options: argparse.Namespace, settings: Settings, folder: Path) -> list[str]:
    registry = Registry(settings.registry_url, settings.artifacts_url)
    made = pipelines(options.models, seed=options.seed)
    for name, pipeline in made.items():
        file = folder / LEAN_FILE
        lean = LeanFile(file, save_lean(lean_of_pipeline(pipeline), file))
        ref = ModelRef.parse(name)
        registry.promote(ref, registry.register(ref, file, lean.sha256, {}, lean=lean))
    return list(made)


def _words(text: str) -> list[str]:
    """Return words, or pairs of signs where a script sets no blanks."""
    words = [word.strip('.,!?"()*:;？，。！') for word in text.split()]
    if len(words) > 2:
        return [word for word in words if any(c.isalnum() for c in word)]
    joined = "".join(c for c in text if c.isalnum())
    return [joined[i : i + 2] for i in range(0, len(joined) - 1, 2)]


def _content(draft: RuleDraft) -> dict[str, object]:
    return {name: getattr(draft, name) for name in RuleDraft.__dataclass_fields__}


if __name__ == "__main__":
    main()
