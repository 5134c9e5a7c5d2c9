"""What one replica counts, and how Prometheus reads it.

Counting is plain arithmetic on the event loop; the text is made when somebody asks. Every series
bears the replica that counted it: a scrape reaches one replica, and series of several do not mix.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING
from uuid import uuid4

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

if TYPE_CHECKING:
    from closedloop.serve.event_writer import EventWriter
    from closedloop.serve.model_host import ModelHost

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ROUTES = {
    "/v1/turn": "turn",
    "/v1/feedback": "feedback",
    "/v1/events": "events",
    "/v1/models": "models",
    "/healthz": "healthz",
    "/readyz": "readyz",
    "/metrics": "metrics",
    "/docs": "docs",
    "/openapi.json": "openapi",
}
_VERBS = frozenset({"predict", "predict_stream", "explain"})
_BY_STATUS = {401: "unauthorised", 403: "forbidden", 413: "too_large"}


def route_of(path: str) -> str:
    """Return which route a path is of, one of a dozen names.

    Examples
    --------
    >>> route_of("/v1/models/retail.intent.desk:predict"), route_of("/nope")
    ('predict', 'other')
    """
    if path.startswith("/v1/models/"):
        verb = path.rpartition(":")[2]
        return verb if verb in _VERBS else "other"
    return _ROUTES.get(path, "other")


class Latencies:
    """A histogram of seconds."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(_BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return (upper bound, how many up to it)."""
        told, so_far = [], 0
        for bound, count in zip((*map(str, _BOUNDS_S), "+Inf"), self.counts, strict=True):
            so_far += count
            told.append((bound, float(so_far)))
        return told


class Figures:
    """Counts of requests; reads the other figures from the parts of a service.

    Parameters
    ----------
    host, writer : ModelHost, EventWriter
        Parts that count by themselves.
    """

    def __init__(self, *, host: ModelHost, writer: EventWriter) -> None:
        self.replica = uuid4().hex[:8]
        self.in_flight = 0
        self._host = host
        self._writer = writer
        self._answered: Counter[tuple[str, int]] = Counter()
        self._latencies: dict[str, Latencies] = {}
        self._by_tenant: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def answered(self, path: str, status: int, seconds: float, tenant: str | None) -> None:
        """Count a request.

        Parameters
        ----------
        status : int
            Of the answer, 0 where the client went away before it.
        seconds : float
            From the first byte to the last of the answer.
        tenant : str or None
            Of its key, where it had one that is valid.
        """
        route = route_of(path)
        self._answered[route, status] += 1
        if tenant is not None:
            self._by_tenant[tenant] += 1
        if status in _BY_STATUS:
            self._refused[_BY_STATUS[status]] += 1
        latencies = self._latencies.get(route)
        if latencies is None:
            latencies = self._latencies[route] = Latencies()
        latencies.add(seconds)

    def refused(self, reason: str) -> None:
        """Count a request that was refused for a reason that its status does not tell."""
        self._refused[reason] += 1

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as Prometheus' client takes them."""
        answered = [((route, str(status)), n) for (route, status), n in self._answered.items()]
        yield self._counter("requests", "Requests answered.", answered, "route", "status")
        tenants = _one(self._by_tenant)
        yield self._counter("tenant_requests", "Requests by tenant.", tenants, "tenant")
        refused = _one({**self._refused, "event_log": self._writer.refusals})
        yield self._counter("refused", "Requests refused, by reason.", refused, "reason")
        latencies = HistogramMetricFamily(
            "closedloop_request_seconds",
            "From the first byte to the last of the answer.",
            labels=("replica", "route"),
        )
        for route, each in self._latencies.items():
            latencies.add_metric((self.replica, route), each.buckets(), each.total_s)
        yield latencies
        yield from self._of_models()
        writer = self._writer
        yield self._gauge("requests_in_flight", "Requests being answered.", self.in_flight)
        yield self._gauge("events_waiting", "Events not yet in the log.", writer.waiting)
        yield self._counter("events_written", "Events given to the log.", [((), writer.written)])
        failing = float(writer.problem is not None)
        yield self._gauge("event_log_failing", "1 where the log does not take events.", failing)

    def _of_models(self) -> Iterator[Metric]:
        host, counts = self._host, self._host.counts
        yield self._gauge("models", "Models that the catalog names.", host.named)
        yield self._gauge("models_in_memory", "Models in memory.", host.held)
        yield self._gauge(
            "models_on_trial", "Versions on trial that the catalog names.", host.tried
        )
        yield self._gauge("model_bytes", "Memory that models take.", host.held_bytes)
        for name, what, count in (
            ("model_loads", "Models loaded, versions on trial among them.", counts.loads),
            ("model_load_failures", "Models that could not be loaded.", counts.load_failures),
            ("model_evictions", "Models let go of for want of memory.", counts.evictions),
            ("champion_swaps", "Champions in memory that another took the place of.", counts.swaps),
        ):
            yield self._counter(name, what, [((), count)])

    def _counter(
        self, name: str, what: str, values: Iterable[tuple[tuple[str, ...], float]], *labels: str
    ) -> Metric:
        family = CounterMetricFamily(f"closedloop_{name}", what, labels=("replica", *labels))
        for told, value in sorted(values):
            family.add_metric((self.replica, *told), value)
        return family

    def _gauge(self, name: str, what: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"closedloop_{name}", what, labels=("replica",))
        family.add_metric((self.replica,), value)
        return family


def _one(counted: Mapping[str, int]) -> list[tuple[tuple[str], float]]:
    return [((label,), count) for label, count in counted.items()]
