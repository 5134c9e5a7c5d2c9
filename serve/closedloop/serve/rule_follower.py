"""The rules as a replica obeys them: read from the store again and again, by what changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor

from closedloop.core.errors import ClosedLoopError
from closedloop.defence.rules.rule import Rule
from closedloop.defence.rules.rule_set import RuleSet

logger = logging.getLogger(__name__)


class RuleFollower:
    """Keeps the compiled rules at what the store says.

    Each replica asks by itself, for one number: no other process has to be alive for a rule to
    be obeyed. Where the store does not answer, the rules that are known go on applying.

    Parameters
    ----------
    since : callable
        `RuleBook.since`; blocks.
    clock : callable, optional
        Returns Unix seconds, for rules that expire.
    """

    def __init__(
        self,
        since: Callable[[int], tuple[int, list[Rule]]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._since = since
        self._clock = clock
        self._seen = 0
        self._known: dict[str, Rule] = {}
        self.rules = RuleSet(clock=clock)  # replaced as a whole; a request sees one or the other
        self.problem = ""

    @property
    def seen(self) -> int:
        """Number of the last change that is obeyed."""
        return self._seen

    def look(self) -> bool:
        """Take over what changed; returns whether anything did.

        Raises
        ------
        ClosedLoopError
            The store did not answer.
        """
        newest, changed = self._since(self._seen)
        if changed:
            self._known |= {rule.id: rule for rule in changed}
            self._known = {i: rule for i, rule in self._known.items() if rule.retired is None}
            self.rules = RuleSet(self._known.values(), clock=self._clock)
        self._seen = newest
        return bool(changed)

    async def follow(self, looking: Executor, *, every_s: float = 0.2) -> None:
        """Look again and again, until cancelled.

        Parameters
        ----------
        looking : Executor
            Where it looks: one thread, so that looks do not overtake each other.
        every_s : float
            Pause between two looks.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(looking, self.look)
                self.problem = ""
            except ClosedLoopError as error:
                if not self.problem:
                    logger.warning("the rules were not read, the known ones apply: %s", error)
                self.problem = error.message
            # A rule may be changed by any process, so there is no event to wait for.
            await asyncio.sleep(every_s)
