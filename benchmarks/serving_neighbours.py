"""One tenant sends ten times its quota: what another one, well within its own, notices of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from serving_load import Load, Target

from closedloop.serve.options import ServingOptions

_QUOTA_RPS = 100.0
_STORM_RPS = 10 * _QUOTA_RPS
_STORM_CONNECTIONS = 20
# So few requests that they wait for nothing but the other tenant's.
_CALM_RPS = 0.8 * _QUOTA_RPS
_CALM_CONNECTIONS = 16
_LEAST_SECONDS = 8.0  # of a load: its p99 is that of some hundred requests only


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant's model and its key."""

    model: str
    key: str


def with_quotas(serving: ServingOptions) -> ServingOptions:
    """Return these options with the quota of the comparison."""
    quota = int(_QUOTA_RPS)
    return replace(
        serving,
        rate_per_key_s=quota,
        burst_per_key=quota,
        rate_per_tenant_s=quota,
        burst_per_tenant=quota,
    )


def beside_a_storm(
    url: str, noisy: Tenant, calm: Tenant, asked: Sequence[str], seconds: float, rounds: int
) -> dict[str, Any]:
    """Return the calm tenant's latencies with and without the noisy one.

    Both send at a pace, so that neither waits for itself. Calm and storm take turns, three times
    at least, so that what else the machine does meets both.
    """
    seconds = max(seconds, _LEAST_SECONDS)
    storm = _target(url, noisy, asked, connections=_STORM_CONNECTIONS, rps=_STORM_RPS)
    others = _target(url, calm, asked, connections=_CALM_CONNECTIONS, rps=_CALM_RPS)
    others.run(connections=_CALM_CONNECTIONS, seconds=2)  # warm
    alone: list[Load] = []
    beside: list[Load] = []
    storms: list[Load] = []
    for _ in range(max(3, rounds)):
        alone.append(others.run(connections=_CALM_CONNECTIONS, seconds=seconds))
        running = storm.begin(connections=_STORM_CONNECTIONS, seconds=600)
        beside.append(others.run(connections=_CALM_CONNECTIONS, seconds=seconds))
        running.stop()
        storms.append(running.result())
    calm_p99_ms = statistics.median(load.p99_ms for load in alone)
    p99_ms = statistics.median(load.p99_ms for load in beside)
    refused = sum(load.failed for load in storms) / max(1, sum(load.requests for load in storms))
    return {
        "quota_rps": _QUOTA_RPS,
        "noisy_rps": round(statistics.median(load.rps for load in storms)),
        "noisy_refused": round(refused, 3),
        "calm_rps": round(statistics.median(load.rps for load in beside)),
        "calm_p99_ms": round(calm_p99_ms, 2),
        "calm_p99_ms_beside_noisy": round(p99_ms, 2),
        "calm_failed": sum(load.failed for load in alone + beside),
        "noisy_neighbour_ratio": round(p99_ms / calm_p99_ms, 2),
    }


def _target(
    url: str, tenant: Tenant, asked: Sequence[str], *, connections: int, rps: float
) -> Target:
    path = f"/v1/models/{tenant.model}:predict"
    bodies = [{"text": text} for text in asked]
    return Target(url, [path], bodies, key=tenant.key, pause_ms=1000 * connections / rps)
