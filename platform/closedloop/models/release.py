"""Release: the joint evaluation decides, the registry's alias moves, serving follows.

A release is one atomic move of ``champion``. Nothing is copied to serving and no process is
told: serving watches the alias, so that a rollback is the same move backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from closedloop.core.errors import ReleaseRefused
from closedloop.models.reference import ModelRef


class Verdict(Protocol):
    """What joint evaluation says of a challenger."""

    @property
    def release(self) -> bool:
        """Whether the challenger may become champion."""

    @property
    def reasons(self) -> Sequence[str]:
        """Why, or why not; one sentence each."""


class Aliases(Protocol):
    """The part of the registry that a release moves."""

    def promote(self, ref: ModelRef, version: int) -> int | None:
        """Make a version champion; return the former one."""

    def restore_champion(self, ref: ModelRef) -> tuple[int, int]:
        """Give the alias back to the former champion; return (from, to)."""

    def clear_challenger(self, ref: ModelRef) -> None:
        """Take the challenger's alias away."""

    def set_challenger(self, ref: ModelRef, version: int) -> None:
        """Point the challenger's alias at a version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """What a release or a rollback did to ``champion``."""

    ref: ModelRef
    version: int
    former: int | None
    reasons: tuple[str, ...] = ()


def release(registry: Aliases, ref: ModelRef, version: int, verdict: Verdict) -> Moved:
    """Make a version champion if its evaluation allows it.

    Raises
    ------
    ReleaseRefused
        The verdict is against it; the version stays on as challenger, to be looked at, and
        the champion goes on serving.
    NotFound
        The registry has no such version.
    """
    if not verdict.release:
        registry.set_challenger(ref, version)
        raise ReleaseRefused(
            f"Version {version} of {ref} was not released: {'; '.join(verdict.reasons)}",
            remedy="Label more of the classes named, or train again; the champion still serves.",
        )
    former = registry.promote(ref, version)
    registry.clear_challenger(ref)
    return Moved(ref=ref, version=version, former=former, reasons=tuple(verdict.reasons))


def promote(registry: Aliases, ref: ModelRef, version: int) -> Moved:
    """Make a version champion because a person says so, such as after its trial.

    Raises
    ------
    NotFound
        The registry has no such version.
    """
    former = registry.promote(ref, version)
    registry.clear_challenger(ref)
    return Moved(ref=ref, version=version, former=former, reasons=("promoted by hand",))


def rollback(registry: Aliases, ref: ModelRef) -> Moved:
    """Give ``champion`` back to the version that had it before.

    Raises
    ------
    NotFound
        There was none.
    """
    former, version = registry.restore_champion(ref)
    return Moved(ref=ref, version=version, former=former, reasons=("rolled back",))
