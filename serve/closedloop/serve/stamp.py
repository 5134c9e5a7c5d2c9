"""What marks the events that a call leaves: ids, made at random or derived from the call.

A call with an idempotency key has its ids derived from the API key, that key and the place of
each text, so that a repeated call, on whatever replica, stores its events once: logs and the lake
know events by their ids. The ids are UUIDv7 like all others. Their time is that of the
idempotency key where it is a UUIDv7 itself, made within an hour of the service's clock;
otherwise it is the beginning of a span of five minutes, and a repeated call is looked for in the
span before, too.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

from closedloop.core.errors import InputError
from closedloop.data.event import Event, derived_event_id, new_event_id
from closedloop.models.prediction import Prediction

SPAN_S = 300
MAX_SKEW_S = 3_600
MAX_TOP = 5
KEY_PATTERN = r"^[!-~]{1,255}$"
DIGEST, TOP = "call_digest", "top"  # attributes of events

_KEY = re.compile(KEY_PATTERN)
_UUID7 = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?7[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}", re.I
)
# A replica writes a prediction this long after its answer; what is younger is in no log yet.
_UNWRITTEN_S = 0.05

Marks = Callable[[Prediction], dict[str, str]]


class IdempotencyMismatch(InputError):
    """An idempotency key came again with another request."""

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used for another request.",
            remedy="Send the same body again, or a new key for a new request.",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return IdempotencyMismatch, ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamp:
    """Ids of a call without an idempotency key: new ones.

    Parameters
    ----------
    marks : callable
        Says what an event tells of the call, given the answer.
    """

    marks: Marks = lambda _: {}

    def event_id(self, index: int) -> str:
        """Return the id of the event at a place."""
        return new_event_id()

    def request_id(self) -> str:
        """Return the id of the call."""
        return str(uuid4())

    @property
    def identity(self) -> dict[str, str]:
        """What an event says of the request, for `check`."""
        return {}

    def attributes(self, answer: Prediction) -> dict[str, str]:
        """Return what an event says of the call."""
        return self.marks(answer)

    def part(self, name: str, marks: Marks) -> Stamp:
        """Return the stamp of one of several questions that the call asks."""
        return replace(self, marks=marks)

    def as_logged(self) -> Sequence[Stamp]:
        """Return the stamps under which an earlier attempt may be in the log."""
        return ()

    def check(self, event: Event) -> None:
        """Raise IdempotencyMismatch where an event is of another call."""


NEW = Stamp()


@dataclass(frozen=True, kw_only=True, slots=True)
class RepeatableStamp(Stamp):
    """Ids of a call with an idempotency key: the same for each attempt.

    Parameters
    ----------
    names : tuple of str
        What the ids are derived from.
    digest : str
        Of the request: another request must not come under the same key.
    at_s : float
        Time of the ids, in seconds since the epoch.
    before_s : float or None
        Time that the ids of an earlier attempt may have.
    fresh : bool
        The key was made this moment, so that no log has an earlier attempt.
    """

    names: tuple[str, ...]
    digest: str
    at_s: float
    before_s: float | None = None
    fresh: bool = False
    _at: datetime = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_at", datetime.fromtimestamp(self.at_s, UTC))

    def event_id(self, index: int) -> str:
        """Return the id of the event at a place."""
        return derived_event_id(self._at, *self.names, str(index))

    def request_id(self) -> str:
        """Return the id of the call."""
        return derived_event_id(self._at, *self.names, "request")

    @property
    def identity(self) -> dict[str, str]:
        """What an event says of the request, for `check`."""
        return {DIGEST: self.digest}

    def attributes(self, answer: Prediction) -> dict[str, str]:
        """Return what an event says of the call: enough to give the same answer again."""
        others = [(label, float(share)) for label, share in answer.top[1:MAX_TOP]]
        top = {TOP: json.dumps(others, ensure_ascii=False)}
        return self.marks(answer) | self.identity | top

    def part(self, name: str, marks: Marks) -> Stamp:
        """Return the stamp of one of several questions that the call asks."""
        return replace(self, names=(*self.names, name), marks=marks)

    def as_logged(self) -> Sequence[Stamp]:
        """Return the stamps under which an earlier attempt may be in the log."""
        if self.fresh:
            return ()
        if self.before_s is None:
            return (self,)
        return (self, replace(self, at_s=self.before_s, before_s=None))

    def check(self, event: Event) -> None:
        """Raise IdempotencyMismatch where an event is of another call."""
        if event.attributes.get(DIGEST) != self.digest:
            raise IdempotencyMismatch


def stamp_of(
    api_key_id: str, told: str, request: bytes, *, now_s: float | None = None
) -> RepeatableStamp:
    """Return the stamp of a call with an idempotency key.

    Parameters
    ----------
    api_key_id : str
        Whose idempotency keys these are.
    told : str
        The header: 1 to 255 visible ASCII characters, in double quotes or bare.
    request : bytes
        What must be the same each time.

    Raises
    ------
    InputError
        The header is no such text.
    """
    key = key_in(told)
    now_s = time.time() if now_s is None else now_s
    names = ("call", api_key_id, key)
    digest = _digest(key, request)
    made_s = _made_s(key)
    if made_s is not None and abs(now_s - made_s) <= MAX_SKEW_S:
        fresh = 0 <= now_s - made_s < _UNWRITTEN_S
        return RepeatableStamp(names=names, digest=digest, at_s=made_s, fresh=fresh)
    span_s = float(now_s // SPAN_S * SPAN_S)
    return RepeatableStamp(names=names, digest=digest, at_s=span_s, before_s=span_s - SPAN_S)


def key_in(told: str) -> str:
    """Return the key of an ``Idempotency-Key`` header; raises as `stamp_of`.

    Examples
    --------
    >>> key_in('"8e03978e-40d5"'), key_in("8e03978e-40d5")
    ('8e03978e-40d5', '8e03978e-40d5')
    """
    quoted = len(told) > 2 and told[0] == told[-1] == '"'
    key = told[1:-1] if quoted else told
    if not _KEY.fullmatch(key):
        raise InputError(
            "The Idempotency-Key is not 1 to 255 visible ASCII characters.",
            remedy="Send a UUID, a new one for each request and the same for its repetitions.",
        )
    return key


def may_wait_in_a_buffer(event_id: str, *, settle_s: float) -> bool:
    """Tell whether an event may be so young that another replica still holds it.

    Its id tells how old it is, within a span or the skew of a client's clock where it was derived.
    """
    age_s = time.time() - (UUID(event_id).int >> 80) / 1000
    begins_a_span = (UUID(event_id).int >> 80) % (SPAN_S * 1000) == 0
    return -MAX_SKEW_S <= age_s < settle_s + (SPAN_S if begins_a_span else 0)


def runners_up(event: Event) -> Sequence[tuple[str, float]]:
    """Return the labels after the first that a logged prediction told."""
    return [(label, share) for label, share in json.loads(event.attributes.get(TOP, "[]"))]


def _digest(key: str, request: bytes) -> str:
    """Return what tells a request from others.

    It is stored beside masked text, and a request may hold what was masked: without the
    idempotency key, which is stored nowhere, nobody can try what it was made of.
    """
    secret = hashlib.blake2b(key.encode()).digest()
    return hashlib.blake2b(request, digest_size=16, key=secret).hexdigest()


def _made_s(key: str) -> float | None:
    return (UUID(key).int >> 80) / 1000 if _UUID7.fullmatch(key) else None
