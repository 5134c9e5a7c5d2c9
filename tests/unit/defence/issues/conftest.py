"""Streams of events about a few subjects, in event time."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from closedloop.data.event import Event, Kind
from closedloop.defence.issues.watch import IssueWatch
from closedloop.defence.stream_clusters import StreamClusters, StreamSettings

START = datetime(2026, 11, 2, tzinfo=UTC)  # a Monday

_FILLER = ["please", "hello", "my", "why", "can", "still", "again", "now", "today", "with"]


class Traffic:
    """Feeds a stream and its watch, second by second."""

    def __init__(self, *, seed=0, watch=None):
        self.stream = StreamClusters(StreamSettings(half_life=6 * 3600.0))
        self.watch = watch or IssueWatch()
        self.random = Random(seed)
        self.count = 0
        self.at = 0.0

    @property
    def now(self):
        return START.timestamp() + self.at

    def said(self, subject):
        words = self.random.sample([f"{subject}{part}" for part in ("", "er", "ing", "ous")], 3)
        words += self.random.sample(_FILLER, 2)
        self.random.shuffle(words)
        return " ".join(words)

    def add(self, subject, *, user=None, text=None, **fields):
        self.count += 1
        event = Event(
            event_id=f"e{self.count}",
            ts=START + timedelta(seconds=self.at),
            tenant="shop",
            kind=Kind.PREDICTION,
            channel=fields.pop("channel", "app"),
            user_id=user or f"u{self.count}",
            text=text or self.said(subject),
            **fields,
        )
        self.watch.see(event, self.stream.add(event.text, event.ts.timestamp()))
        return event

    def flow(self, seconds, per_min):
        """Let texts come for a time: subject to its texts a minute, spread by chance."""
        until = self.at + seconds
        total = sum(per_min.values())
        subjects, weights = list(per_min), list(per_min.values())
        while True:
            wait = self.random.expovariate(total / 60.0)
            if self.at + wait > until:
                self.at = until
                return
            self.at += wait
            self.add(self.random.choices(subjects, weights)[0])

    def sightings(self, **options):
        return self.watch.sightings(self.stream, now=self.now, **options)

    def rising(self, **options):
        return [one for one in self.sightings(**options) if one.rising]


@pytest.fixture
def traffic():
    return Traffic()


@pytest.fixture
def make_traffic():
    return Traffic


@pytest.fixture
def calm():
    """Return usual traffic: subject to its texts a minute, ten a minute in all."""
    subjects = ("parcel", "refund", "invoice", "password", "size", "battery", "address", "points")
    return {subject: 10.0 / len(subjects) for subject in subjects}
