"""Which rules the models made needless: looked for behind the page's back, decided by people."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from closedloop.core.audit import Audit
from closedloop.core.errors import ClosedLoopError
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.data.lake import Lake
from closedloop.defence.rules.retirement import Evidence, Proposal, proposals
from closedloop.defence.rules.rule import Rule
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.ui.rule_proposals import accept_proposal, champion_versions, rule_evidence

_REFRESH_S = 60.0
_KEPT = "rules.keep"
_KEPT_S = 30 * 86_400.0  # how long a person's "keep" is looked for

_Key = tuple[str, int, str, int]  # rule, its revision, model, version


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """What was found when somebody last looked."""

    at: float = 0.0  # Unix seconds; 0: not yet
    proposals: tuple[Proposal, ...] = ()
    evidence: dict[str, tuple[Evidence, ...]] = field(default_factory=dict)  # by rule
    problem: str = ""

    def live(self, rules: Sequence[Rule]) -> list[Proposal]:
        """Return the proposals about rules that are as they were."""
        now = {(rule.id, rule.revision) for rule in rules}
        return [each for each in self.proposals if (each.rule.id, each.rule.revision) in now]


class Retirement:
    """Proposals to retire rules, the same for all sessions.

    Parameters
    ----------
    settings : Settings
        Of the installation.
    store : Store
        Where rules are, and who decided to keep one.
    evidence : callable, optional
        Returns how the champions answer the traffic of some rules; a seam for tests.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        evidence: Callable[[Sequence[Rule]], list[Evidence]] | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._evidence = evidence or self._from_lake
        self._lock = threading.Lock()
        self._looked = Looked()
        self._asked_at = float("-inf")
        self._kept: set[_Key] = set()

    def looked(self) -> Looked:
        """Return what is known, at once; it is looked anew in the background.

        Opening the registry and reading the lake take seconds, which nobody should wait for.
        """
        with self._lock:
            stale = time.monotonic() - self._asked_at > _REFRESH_S
            if stale:
                self._asked_at = time.monotonic()
            looked = self._looked
        if stale:
            threading.Thread(target=self.look, daemon=True).start()
        return looked

    def look(self) -> None:
        """Look now."""
        with self._lock:
            self._asked_at = time.monotonic()
        try:
            found = self._evidence(RuleBook(self._store).all())
            kept = self._kept_by_people()
        except ClosedLoopError as error:
            with self._lock:
                self._looked = Looked(at=time.time(), problem=str(error))
            return
        by_rule: dict[str, tuple[Evidence, ...]] = {}
        for each in found:
            by_rule[each.rule.id] = (*by_rule.get(each.rule.id, ()), each)
        with self._lock:
            self._kept |= kept
            open_ones = tuple(each for each in proposals(found) if _key(each) not in self._kept)
            self._looked = Looked(at=time.time(), proposals=open_ones, evidence=by_rule)

    def retire(self, proposal: Proposal, *, who: str) -> Rule:
        """Retire a rule, with its evidence as the reason.

        Raises
        ------
        NotFound, Conflict
            There is no such rule, or somebody retired it.
        """
        retired = accept_proposal(self._store, proposal, who=who)
        self._drop(proposal)
        return retired

    def keep(self, proposal: Proposal, *, who: str) -> None:
        """Propose this rule no more because of this version."""
        rule, _, model, version = _key(proposal)
        Audit(self._store).record(
            who=who,
            action=_KEPT,
            target=rule,
            revision=proposal.rule.revision,
            model=model,
            version=version,
        )
        with self._lock:
            self._kept.add(_key(proposal))
        self._drop(proposal)

    def _drop(self, proposal: Proposal) -> None:
        with self._lock:
            left = tuple(p for p in self._looked.proposals if p.rule.id != proposal.rule.id)
            looked = self._looked
            self._looked = Looked(at=looked.at, proposals=left, evidence=looked.evidence)

    def _kept_by_people(self) -> set[_Key]:
        entries = Audit(self._store).entries(since=time.time() - _KEPT_S)
        return {
            (
                entry.target,
                entry.details["revision"],
                entry.details["model"],
                entry.details["version"],
            )
            for entry in entries
            if entry.action == _KEPT
        }

    def _from_lake(self, rules: Sequence[Rule]) -> list[Evidence]:
        settings = self._settings
        file = settings.root / "registry.db"
        if settings.registry_url == f"sqlite:///{file}" and not file.exists():
            return []  # looking must not create a registry where nothing was ever trained
        return rule_evidence(rules, Lake(settings.lake_url), champion_versions(settings))


def _key(proposal: Proposal) -> _Key:
    return proposal.rule.id, proposal.rule.revision, proposal.model, proposal.version
