"""The watch over a tenant's stream: which subjects rise, and how an issue stands.

Counting is by micro-cluster (`tally`), expectation from each one's own past (`baseline`,
`newborns`), surprise from a negative binomial whose spread the tenant's calm counts teach
(`surprise`, `growth`); what rises and is alike is one issue (`fold`), described by texts and
counts that were kept (`evidence`, `known_intents`, `portrait`).

All state follows from events and their times: a watch that is saved, loaded and goes on ends as
one that was never interrupted. Asking for sightings changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import cache, partial

import numpy as np
import numpy.typing as npt

from closedloop.data.event import Event
from closedloop.defence.issues.evidence import Evidence
from closedloop.defence.issues.fold import Swell, swells
from closedloop.defence.issues.growth import Growth, GrowthModel, Rise
from closedloop.defence.issues.known_intents import KnownIntents
from closedloop.defence.issues.portrait import course, portrait
from closedloop.defence.issues.recent import Recent
from closedloop.defence.issues.sighting import Sighting
from closedloop.defence.issues.tally import HOUR_S, MINUTE_S, NOBODY, Tally
from closedloop.defence.issues.term_growth import TermGrowth
from closedloop.defence.issues.watch_settings import WatchSettings
from closedloop.defence.stream_clusters import Placement, StreamClusters
from closedloop.defence.terms import stream_terms

Whole = npt.NDArray[np.int64]
_REPEAT_S = 600.0  # within it a user counts once a micro-cluster, and
_MOST_OF_ONE = 3  # times in all
_SHOWN_S = 600.0  # window of what does not rise
_FLOOR = 300.0
_DESCRIBED = 500  # micro-clusters whose texts are looked at, those with the most texts


class IssueWatch:
    """Watches one tenant's stream.

    Parameters
    ----------
    settings : WatchSettings, optional

    Examples
    --------
    >>> stream, watch = StreamClusters(), IssueWatch()
    >>> for event in ():
    ...     watch.see(event, stream.add(event.text, event.ts.timestamp()))
    >>> watch.sightings(stream, now=0.0)
    []
    """

    def __init__(self, settings: WatchSettings | None = None) -> None:
        self.settings = settings = settings or WatchSettings()
        self.tenant = ""
        self.tally = Tally(limit=settings.micros, half_life_s=settings.half_life_s)
        self.model = GrowthModel()
        self.terms = TermGrowth(limit=settings.terms, half_life_s=settings.half_life_s)
        self.evidence = Evidence(each=settings.texts_each)
        self.known = KnownIntents(intents=settings.intents, terms=settings.intent_terms)
        # Event to its micro-cluster.
        self.events: Recent[int] = Recent(limit=settings.recent_events)
        # User to the second from which he is counted, and the micro-clusters he has hit since.
        self.users: Recent[tuple[int, ...]] = Recent(limit=settings.recent_users)

    def see(self, event: Event, placement: Placement) -> None:
        """Take in a text that was just placed in the tenant's clusters."""
        at = event.ts.timestamp()
        self.tenant = event.tenant
        micro, tally = placement.micro, self.tally
        if tally.advance(at):
            self.model.learn(tally, at)
        if event.user_id is None or not self._repeats(event.user_id, micro, at):
            tally.count(micro, placement.cluster, at)
            self.terms.see(stream_terms(event.text or ""), at)
            if tally.dropped:
                self.evidence.forget(tally.dropped)
                tally.dropped = []
        slot = tally.slots.get(micro)
        if slot is None:
            return
        self.evidence.note(event, micro, at)
        self.events.put(event.event_id, micro)
        if (
            event.prediction
            and (event.confidence or 0.0) >= self.settings.confident
            and event.text
            and (at - tally.born[slot] * MINUTE_S >= HOUR_S)
        ):
            self.known.learn(event.prediction, event.text)

    def heed(self, feedback: Event) -> None:
        """Take in a thumb for the answer to a text; one for a text that is forgotten is left out.

        The event that it refers to must have been seen.
        """
        if feedback.feedback and feedback.refers_to:
            micro = self.events.get(feedback.refers_to)
            if micro is not None:
                self.evidence.rate(micro, feedback.feedback, feedback.ts.timestamp())

    def _repeats(self, user: str, micro: int, at: float) -> bool:
        """Tell whether a user says again what he said, or has said much already."""
        held = self.users.get(user)
        if held is None or at - held[0] >= _REPEAT_S:
            self.users.put(user, (int(at), micro))
            return False
        if micro in held[1:] or len(held) > _MOST_OF_ONE:
            return True
        self.users.put(user, (*held, micro))
        return False

    def sightings(
        self,
        stream: StreamClusters,
        *,
        now: float,
        known: Collection[int] = (),
        parts: Mapping[int, int] | None = None,
    ) -> list[Sighting]:
        """Return what rises, and the present figures of what is known; a pure read.

        Parameters
        ----------
        stream : StreamClusters
            Where the texts seen were placed.
        now : float
            Time of events, in Unix seconds.
        known : collection of int
            Clusters that are issues already.
        parts : mapping, optional
            Micro-clusters that people set apart, to the cluster that each counts as, below 0.

        Returns
        -------
        list of Sighting
            The most surprising first, then what does not rise.
        """
        if not self.tally.texts:
            return []
        clusters = self._clusters(stream, parts or {})
        alarms = self.settings.alarms_per_day
        growth = self.model.rising(self.tally, now, clusters, alarms=alarms)
        words = cache(partial(self.terms.rising, now))
        found = [
            one
            for one in swells(
                growth,
                self.tally,
                clusters,
                stream,
                words,
                alarms=alarms,
                vocabulary=len(self.terms.tally.slots),
            )
            if self._enough(one, growth, now)
        ]
        named = {one.cluster for one in found}
        sightings = []
        told = set(named)
        for swell in found:
            others = self._absorbed(swell, stream, clusters, known, named)
            told |= set(others)
            sightings.append(self._sighting(swell, growth, stream, now, others, rising=True))
        lineage = stream.lineage
        calm: dict[int, set[int]] = {}
        for name in sorted(known):
            today = lineage.resolve(name)
            if name not in told and today not in told:
                calm.setdefault(today, set()).add(name)
        for today, names in calm.items():
            swell_ = self._present(today, growth, clusters)
            if swell_ is not None:
                others = tuple(sorted(names - {today}))
                sightings.append(self._sighting(swell_, growth, stream, now, others, rising=False))
        return sightings

    def _clusters(self, stream: StreamClusters, parts: Mapping[int, int]) -> Whole:
        """Return today's cluster of each column; `NOBODY` where there is none."""
        lineage, tally = stream.lineage, self.tally
        homes, resolve = lineage.homes, lineage.resolve
        found = [NOBODY] * len(tally.ids)
        at_last = tally.homes.tolist()
        for name, slot in tally.slots.items():
            if name < 0:
                found[slot] = resolve(-1 - name)
                continue
            home = parts[name] if name in parts else homes.get(name)
            if home is None:
                home = lineage.cluster_of(name)
            found[slot] = resolve(at_last[slot]) if home is None else home
        return np.array(found, np.int64)

    def _enough(self, swell: Swell, growth: Growth, now: float) -> bool:
        """Tell whether enough texts, of enough users, are there."""
        seen = growth.seen[swell.best.window_s]
        if seen.counts[swell.slots].sum() < self.settings.least_texts:
            return False
        since = now - max(2.0 * swell.best.window_s, MINUTE_S)
        micros = self.tally.ids[swell.slots].tolist()
        said = [each for texts in self.evidence.texts(micros) for each in texts if each.at > since]
        users = {each.user for each in said}
        return "" in users or len(users) >= self.settings.least_users

    def _absorbed(
        self,
        swell: Swell,
        stream: StreamClusters,
        clusters: Whole,
        known: Collection[int],
        named: set[int],
    ) -> tuple[int, ...]:
        """Return the names, other than its cluster's, that an issue goes by.

        They are the clusters that are more than half its own; and of the known ones those that
        lead here, that its cluster split off from, or where its texts were put when they came.
        """
        cluster, lineage = swell.cluster, stream.lineage
        names = {c for c, texts in swell.clusters.items() if 2.0 * texts > swell.whole[c]}
        # A subject that shares a few words with a known issue is not that issue.
        mine = sum(swell.clusters.values())
        homes = {c for c, texts in swell.clusters.items() if 2.0 * texts >= mine}
        put, counts = np.unique(self.tally.homes[swell.slots], return_counts=True)
        homes |= set(put[2 * counts >= len(swell.slots)].tolist())
        homes.add(lineage.parents.get(cluster, cluster))
        names |= homes & set(known)
        names |= {name for name in known if lineage.resolve(name) == cluster}
        return tuple(sorted(names - named))

    def _present(self, cluster: int, growth: Growth, clusters: Whole) -> Swell | None:
        """Return a cluster as it is, risen or not; None where nothing is known of it."""
        slots = np.flatnonzero((clusters == cluster) & self.tally.live)
        if not len(slots):
            return None
        rise = growth.clusters.get(cluster)
        seen = growth.seen[rise.window_s if rise else _SHOWN_S]
        if rise is None:
            rise = Rise(
                surprise=0.0,
                margin=-math.inf,
                counts=float(seen.counts[slots].sum()),
                expected=float(seen.expected[slots].sum()),
                seconds=seen.seconds,
                window_s=_SHOWN_S,
            )
        return Swell(
            best=rise,
            margin=rise.margin,
            slots=slots.tolist(),
            clusters={cluster: rise.counts},
            whole={cluster: rise.counts},
        )

    def _sighting(
        self,
        swell: Swell,
        growth: Growth,
        stream: StreamClusters,
        now: float,
        absorbed: tuple[int, ...],
        *,
        rising: bool,
    ) -> Sighting:
        tally, best = self.tally, swell.best
        seen = growth.seen[best.window_s]
        slots = np.array(swell.slots)
        slots = slots[np.argsort(-seen.counts[slots], kind="stable")]
        counts, expected = seen.counts[slots], seen.expected[slots]
        micros = tally.ids[slots].tolist()
        per_min = 60.0 / seen.seconds
        usual = float(expected.sum()) * per_min
        went = course(tally, swell.slots, now, usual)
        fresh = float(counts[seen.newborn[slots]].sum()) / max(1.0, float(counts.sum()))
        about = portrait(
            self.evidence, self.known, stream, micros[:_DESCRIBED], fresh, rising=swell.words
        )
        alarms = self.settings.alarms_per_day
        return Sighting(
            tenant=self.tenant,
            cluster=swell.cluster,
            absorbed=absorbed,
            rising=rising,
            began_at=went.began_at,
            seen_at=max((said.at for said in about.samples), default=went.began_at),
            texts=went.texts,
            window_s=best.window_s,
            rate_per_min=float(counts.sum()) * per_min,
            expected_per_min=usual,
            surprise=best.surprise,
            false_alarms_per_day=alarms * 10.0 ** -max(-_FLOOR, min(_FLOOR, swell.margin)),
            micros=tuple(micros),
            series=went.series,
            **about._asdict(),
        )
