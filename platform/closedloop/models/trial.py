"""A version on trial: the stages before champion, and who is answered by it.

A trial goes from *shadow* (the champion answers, the version is only asked) to *canary* (it
answers a share of the users) to champion. Which side a request falls on follows from a hash of
the model, the version on trial and the user alone. So every replica decides alike without a word
to the others, a user stays on one side, and a larger share only adds users to it. The version is
in the hash so that it is not the same users who try every new version.

References
----------
Kohavi, R., Tang, D., Xu, Y. (2020). Trustworthy Online Controlled Experiments, ch. 14: the
randomization unit, and assignment by hash.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from closedloop.core.errors import InputError

if TYPE_CHECKING:
    from closedloop.models.model_version import Champion
    from closedloop.models.reference import ModelRef

_BITS = 53  # what a float holds exactly


class Stage(StrEnum):
    """How far a version on trial has come; the values are aliases in the registry."""

    SHADOW = "shadow"  # the champion answers everybody
    CANARY = "canary"  # the version answers its share of the users


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """The version of a model that is tried beside its champion."""

    candidate: Champion  # its file, as serving needs it
    stage: Stage
    percent: float = 0.0  # of the users that it answers; 0 in the shadow

    @property
    def ref(self) -> ModelRef:
        """The model."""
        return self.candidate.ref

    @property
    def version(self) -> int:
        """The version that is tried."""
        return self.candidate.version

    def answers(self, subject: str) -> bool:
        """Tell whether the version on trial answers this subject; see `subject_of`."""
        if self.stage is not Stage.CANARY:
            return False
        return place(str(self.ref), self.version, subject) < self.percent


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedTrial:
    """The last trial of a model, once it is over."""

    ref: ModelRef
    version: int
    stage: Stage
    percent: float
    reason: str


def subject_of(*, user_id: str | None, dialogue_id: str | None, request_id: str) -> str:
    """Return what stays on one side: the user, else the dialogue, else this request.

    Examples
    --------
    >>> subject_of(user_id=None, dialogue_id="d-1", request_id="r-9")
    'dialogue d-1'
    """
    if user_id:
        return f"user {user_id}"
    if dialogue_id:
        return f"dialogue {dialogue_id}"
    return f"request {request_id}"


def place(model: str, version: int, subject: str) -> float:
    """Return where a subject stands in [0, 100); those below the percentage are answered.

    Examples
    --------
    >>> 0 <= place("shop.intent.desk", 3, "user ann") < 100
    True
    """
    text = f"{model}\x1f{version}\x1f{subject}".encode("utf-8", "surrogatepass")
    digest = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
    share = (digest >> (64 - _BITS)) / (1 << _BITS)
    return min(share * 100, math.nextafter(100, 0))


def checked_percent(percent: float) -> float:
    """Return a canary's percentage.

    Raises
    ------
    InputError
        It is not above 0 and up to 100.
    """
    if not 0 < percent <= 100:  # false for NaN too
        raise InputError(
            f"{percent:g} is not a percentage for a canary.",
            remedy="Give a number above 0 and up to 100, for example --percent 5.",
        )
    return float(percent)
