from dataclasses import dataclass

import pytest

from closedloop.core.errors import NotFound, ReleaseRefused
from closedloop.models.reference import ModelRef
from closedloop.models.release import promote, release, rollback

REF = ModelRef(tenant="retail", algorithm="intent", name="desk")


@dataclass(frozen=True)
class Verdict:
    release: bool
    reasons: tuple[str, ...]


class Aliases:
    """Aliases in memory."""

    def __init__(self):
        self.champions = []
        self.challenger = None

    def promote(self, ref, version):
        former = self.champions[-1] if self.champions else None
        self.champions.append(version)
        return former

    def restore_champion(self, ref):
        if len(self.champions) < 2:
            raise NotFound("none")
        return self.champions.pop(), self.champions[-1]

    def set_challenger(self, ref, version):
        self.challenger = version

    def clear_challenger(self, ref):
        self.challenger = None


def test_a_good_verdict_moves_the_champion():
    aliases = Aliases()
    assert release(aliases, REF, 1, Verdict(True, ("first",))).former is None
    moved = release(aliases, REF, 2, Verdict(True, ("better by 2 points",)))
    assert (moved.version, moved.former, moved.reasons) == (2, 1, ("better by 2 points",))
    assert (aliases.champions[-1], aliases.challenger) == (2, None)


def test_a_refusal_says_why_and_leaves_the_champion():
    aliases = Aliases()
    release(aliases, REF, 1, Verdict(True, ()))
    with pytest.raises(ReleaseRefused, match="recall of 'refund' fell"):
        release(aliases, REF, 2, Verdict(False, ("recall of 'refund' fell from 0.91 to 0.40",)))
    assert (aliases.champions, aliases.challenger) == ([1], 2)


def test_a_person_may_promote_what_a_verdict_refused():
    aliases = Aliases()
    with pytest.raises(ReleaseRefused):
        release(aliases, REF, 2, Verdict(False, ("too few rows",)))
    assert promote(aliases, REF, 2).former is None
    assert (aliases.champions, aliases.challenger) == ([2], None)


def test_rollback_moves_back_once():
    aliases = Aliases()
    release(aliases, REF, 1, Verdict(True, ()))
    release(aliases, REF, 2, Verdict(True, ()))
    moved = rollback(aliases, REF)
    assert (moved.version, moved.former) == (1, 2)
    with pytest.raises(NotFound):
        rollback(aliases, REF)
