"""How much serving takes on: sizes and limits of one deployment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from closedloop.core.errors import InputError
from closedloop.core.settings import Settings
from closedloop.serve.admission.breaker import BreakerLimits
from closedloop.serve.trials.verdict import TrialLimits


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingOptions:
    """Limits of a deployment; the defaults suit one machine.

    Replicas take fractions of a CPU, so that they, Spark and tuning trials never wait for each
    other on two cores.
    """

    host: str = "127.0.0.1"  # what the HTTP proxy binds; anything else is open to the network
    # As many replicas as requests keep busy; fixed where the two are equal.
    min_replicas: int = 1
    max_replicas: int = 1
    # Requests that a replica has on average before another one is started.
    target_requests_per_replica: float = 8.0
    # For how long there must be too many, or too few, before a replica is started or ended.
    upscale_delay_s: float = 10.0
    downscale_delay_s: float = 300.0
    replica_cpus: float = 0.2
    # Requests that one replica works on at a time; the next one is told to come back.
    max_in_flight: int = 64
    # While turns of a replica's event loop take longer than this, requests beyond it are told to
    # come back: accepted ones are answered within about three times as long.
    turn_budget_s: float = 0.1
    # How long a request may take, streams excepted.
    request_timeout_s: float = 10.0
    # When a model is answered apart from others, or not asked for a while.
    breaker: BreakerLimits = field(default_factory=BreakerLimits)
    # Requests of one key to one replica, sustained and at once; those of a tenant's keys together.
    rate_per_key_s: float = 500.0
    burst_per_key: int = 1_000
    rate_per_tenant_s: float = 2_000.0
    burst_per_tenant: int = 4_000
    # What models may take in a replica, and names or patterns of those that are never let go.
    model_memory_bytes: int = 1 << 30
    pinned_models: tuple[str, ...] = ()
    max_body_bytes: int = 1_048_576
    # Predictions and rule hits that wait for the event log.
    buffer_events: int = 20_000
    # How long a verified key is taken as valid without asking the store again.
    key_cache_s: float = 10.0
    # How often the watcher looks whether a champion moved.
    poll_s: float = 0.5
    # How often a replica looks whether a keyword rule changed.
    rules_poll_s: float = 0.2
    # When a version on trial is rolled back.
    trial_limits: TrialLimits = field(default_factory=TrialLimits)
    # How long a version on trial may take for an answer; then the champion gives it, and it
    # counts as an error.
    trial_answer_s: float = 1.0
    # Requests of a replica that wait for the other version's answer; more are not compared.
    trial_backlog: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise InputError(
                f"Serving cannot have {self.min_replicas} to {self.max_replicas} replicas.",
                remedy="Ask for one at least, and for no more at least than at most.",
            )

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the options that settings name, the others by default."""
        return cls(
            min_replicas=settings.api_min_replicas,
            max_replicas=max(settings.api_min_replicas, settings.api_max_replicas),
        )
