"""Which models may answer where: a model that fails or is slow costs its own requests only.

A model that is trusted answers on the event loop, where a slow answer holds up all others. One
that was slow several times in a row answers in a thread *apart* until it has been quick for a
while. One that raises several times in a row, or hangs, is *refused* for a pause, which doubles;
then one request tries it.

The three states are those of a circuit breaker (M. Nygard, *Release It!*, 2nd ed., 2018,
chapter 5) with a fourth between closed and open.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from closedloop.core.errors import EngineError
from closedloop.models.model_version import Champion

_UNIT_CHARACTERS = 2_000


class Standing(StrEnum):
    """How a model may be asked."""

    TRUSTED = "trusted"
    APART = "apart"
    TRIED = "tried"  # apart, and nobody else asks it meanwhile


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakerLimits:
    """When a model loses trust and gets it back."""

    # Of an answer to 2,000 characters or fewer; more may take longer in proportion.
    slow_s: float = 0.1
    hang_s: float = 2.0
    slow_in_row: int = 3
    failed_in_row: int = 5
    quick_in_row: int = 20
    pause_s: float = 5.0
    longest_pause_s: float = 60.0


@dataclass(kw_only=True, slots=True)
class _Record:
    """What is held against one version of a model."""

    version: int
    slow: int = 0  # in a row, as are the next two
    failed: int = 0
    quick: int = 0
    apart: bool = False
    pause_s: float = 0.0  # of the last refusal; 0 where there was none
    refused_until: float = 0.0
    trying: bool = False
    hangs: list[Future[Any]] = field(default_factory=list)  # not ended when last looked at


class Breakers:
    """One replica's judgement of its models; for one thread, the event loop's.

    Models that are trusted without a stain take no memory.

    Examples
    --------
    >>> from closedloop.models.reference import ModelRef
    >>> desk = Champion(ref=ModelRef.parse("shop.intent.desk"), version=1, path="", sha256="")
    >>> breakers = Breakers()
    >>> for _ in range(3):
    ...     breakers.answered(desk, seconds=0.5, characters=20)
    >>> breakers.standing(desk)
    <Standing.APART: 'apart'>
    """

    def __init__(
        self,
        limits: BreakerLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or BreakerLimits()
        self._clock = clock
        self._records: dict[str, _Record] = {}

    def standing(self, champion: Champion) -> Standing:
        """Say how a model is to be asked now.

        Raises
        ------
        EngineError
            It is not asked at all for the moment.
        """
        if not self._records:
            return Standing.TRUSTED
        name = str(champion.ref)
        record = self._records.get(name)
        if record is None:
            return Standing.TRUSTED
        if record.version != champion.version:  # another version has no past
            del self._records[name]
            return Standing.TRUSTED
        if (problem := self._problem(record)) is not None:
            raise EngineError(
                f"Version {champion.version} of {name!r} is not asked for now: {problem}.",
                remedy="Send the request again later, or release a version that answers.",
            )
        if record.pause_s:
            record.trying = True
            return Standing.TRIED
        return Standing.APART if record.apart else Standing.TRUSTED

    def answered(self, champion: Champion, *, seconds: float, characters: int) -> None:
        """Take note of an answer and how long the model took for it."""
        limit_s = self._limits.slow_s * _units(characters)
        if seconds > limit_s:
            record = self._record(champion)
            self._came_back(record)
            record.quick = 0
            record.slow += 1
            # What held everybody up for long gets no second chance to.
            if record.slow >= self._limits.slow_in_row or seconds > 5 * limit_s:
                record.apart = True
        elif self._records and (record_ := self._records.get(str(champion.ref))) is not None:
            self._quick(champion, record_)

    def failed(self, champion: Champion) -> None:
        """Take note that a model raised instead of answering."""
        record = self._record(champion)
        record.quick, record.trying = 0, False
        record.failed += 1
        if record.pause_s or record.failed >= self._limits.failed_in_row:
            self._refuse(record)

    def hung(self, champion: Champion, answer: Future[Any]) -> None:
        """Take note of an answer that does not come; the model is not asked until it has."""
        record = self._record(champion)
        record.quick, record.trying = 0, False
        record.hangs.append(answer)
        self._refuse(record)

    def gone(self, champion: Champion) -> None:
        """Take note that nobody waits for an answer any more, whatever it would have been."""
        record = self._records.get(str(champion.ref))
        if record is not None and record.version == champion.version:
            record.trying = False

    def hang_s(self, characters: int) -> float:
        """Return after how long an answer to so many characters is taken as not coming."""
        return self._limits.hang_s * _units(characters)

    def problem(self, champion: Champion) -> str | None:
        """Return why a model is refused or answers apart, None where nothing is wrong."""
        if not self._records:
            return None
        record = self._records.get(str(champion.ref))
        if record is None or record.version != champion.version:
            return None
        problem = self._problem(record)
        if problem is None and record.apart:
            problem = "it answers slowly, in a thread apart"
        return problem

    def _problem(self, record: _Record) -> str | None:
        record.hangs = [answer for answer in record.hangs if not answer.done()]
        if record.hangs:
            return "an earlier request to it hangs"
        if record.refused_until > self._clock() or record.trying:
            return "it failed too often"
        return None

    def _record(self, champion: Champion) -> _Record:
        name = str(champion.ref)
        record = self._records.get(name)
        if record is None or record.version != champion.version:
            record = self._records[name] = _Record(version=champion.version)
        return record

    def _quick(self, champion: Champion, record: _Record) -> None:
        if record.version != champion.version:
            return
        self._came_back(record)
        record.slow = 0
        record.quick += 1
        if not record.apart or record.quick >= self._limits.quick_in_row:
            del self._records[str(champion.ref)]

    @staticmethod
    def _came_back(record: _Record) -> None:
        if record.pause_s:  # it was refused, and answers again: apart at first
            record.pause_s, record.refused_until, record.apart = 0.0, 0.0, True
        record.failed = 0
        record.trying = False

    def _refuse(self, record: _Record) -> None:
        limits = self._limits
        record.pause_s = min(limits.longest_pause_s, 2 * record.pause_s or limits.pause_s)
        record.refused_until = self._clock() + record.pause_s
        record.failed = 0


def _units(characters: int) -> float:
    return max(1.0, characters / _UNIT_CHARACTERS)
