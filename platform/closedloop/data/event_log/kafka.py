"""The event log on Kafka: one topic, its partitions, consumer groups for consumers' places.

A broker cannot refuse an event that it has under another offset. What this process appended
lately is left out here (a retried batch); what another process appended twice is dropped where
the log is drained into the lake.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from closedloop.core.errors import EngineError, InputError
from closedloop.data.event import Event
from closedloop.data.event_log.codec import Encoded, encode, encoded
from closedloop.data.event_log.kafka_reader import KafkaReader
from closedloop.data.event_log.kafka_topic import apply_topic_retention, open_topic
from closedloop.data.event_log.kafka_url import KafkaAddress
from closedloop.data.event_log.protocol import (
    Appended,
    Page,
    Place,
    Position,
    Retained,
    Retention,
)
from closedloop.data.event_log.recent import RecentEvents

logger = logging.getLogger(__name__)

_RECENT_EVENTS = 50_000
_GROUP_PREFIX = "closedloop-"
_PAGE_EVENTS = 5_000


class KafkaEventLog:
    """An event log on Kafka; threads may share it.

    An append is acknowledged once every in-sync replica has the events (``acks=all``, idempotent
    producer). Consumers' places are the offsets of the consumer groups ``closedloop-NAME``;
    brokers forget those of a group that commits nothing for a week or so
    (``offsets.retention.minutes``), after which it begins again at the first event.

    Parameters
    ----------
    address : KafkaAddress
        Brokers, topic and options.
    timeout_s : float
        For one question to the brokers.
    delivery_timeout_s : float
        For a batch to be acknowledged.
    recent_events : int
        How many events `get` remembers.

    Raises
    ------
    InputError
        librdkafka refuses an option.
    EngineError
        No broker answers, or the topic is not there and cannot be made.
    """

    def __init__(
        self,
        address: KafkaAddress,
        *,
        timeout_s: float = 10.0,
        delivery_timeout_s: float = 30.0,
        recent_events: int = _RECENT_EVENTS,
    ) -> None:
        self._topic = address.topic
        self._timeout_s = timeout_s
        self._delivery_timeout_s = delivery_timeout_s
        self._shared: dict[str, Any] = {
            **address.options,
            "bootstrap.servers": address.servers,
            "logger": logging.getLogger("closedloop.kafka"),
        }
        self._consumer_options = {
            **self._shared,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            # A partition at its end must not hold back the others of its broker. Nothing is
            # fetched once the end is reached, so that this is no busy waiting.
            "fetch.wait.max.ms": 50,
        }
        self._turn = threading.Lock()
        self._committers: dict[str, Consumer] = {}
        self._recent = RecentEvents(capacity=recent_events)
        self._recent_events = recent_events
        try:
            self._producer = Producer(
                {
                    **self._shared,
                    "enable.idempotence": True,
                    "acks": "all",
                    "partitioner": "murmur2_random",  # that of the Java clients
                    "compression.type": "lz4",
                    "linger.ms": 5,
                    "delivery.timeout.ms": int(delivery_timeout_s * 1000),
                }
            )
            self._asking = self._reading("asking")
            self._reader, self._tail = (
                KafkaReader(self._reading(name), self._asking, self._topic, timeout_s)
                for name in ("reader", "lookup")
            )
        except (KafkaException, TypeError, ValueError) as error:
            raise InputError(
                f"The Kafka client does not take its options: {_words(error)}.",
                remedy="Correct CLOSEDLOOP_EVENT_LOG and its properties file.",
            ) from error
        with self._answered("opening"):
            self._partitions, self.identity = open_topic(
                address, self._shared, self._asking, timeout_s
            )
        self._reader.partitions = self._tail.partitions = self._partitions
        self._tail_turn = threading.Lock()
        self._tail_at: Position | None = None

    def append(self, events: Sequence[Event]) -> Appended:
        """Send events and wait until every one is acknowledged."""
        return self.append_encoded([encoded(event) for event in events])

    def append_encoded(self, events: Sequence[Encoded]) -> Appended:
        """Send events and wait until every one is acknowledged."""
        places: list[Place | None] = [None] * len(events)
        problems: list[str] = []
        waiting = 0
        sent: set[str] = set()

        def delivered(index: int, event_id: str, payload: bytes) -> Any:
            def report(error: Any, message: Message) -> None:
                nonlocal waiting
                waiting -= 1
                if error is not None:
                    problems.append(error.str())
                    return
                places[index] = Place(message.partition() or 0, message.offset() or 0)
                self._recent.add(event_id, payload)

            return report

        with self._turn, self._answered("appending"):
            for index, event in enumerate(events):
                if event.event_id in self._recent or event.event_id in sent:
                    continue
                sent.add(event.event_id)
                payload = event.payload.encode("utf-8")
                report = delivered(index, event.event_id, payload)
                while True:
                    try:
                        self._producer.produce(
                            self._topic,
                            key=event.partition_key.encode(),
                            value=payload,
                            on_delivery=report,
                        )
                        break
                    except BufferError:  # the client's own queue is full: let some be delivered
                        self._producer.poll(0.1)
                waiting += 1
                self._producer.poll(0)
            # A report comes for every event within delivery.timeout.ms, whatever happens.
            left = self._producer.flush(self._delivery_timeout_s + self._timeout_s)
        if problems or left or waiting:
            raise EngineError(
                f"{len(problems) or waiting or left} of {len(events)} events were not acknowledged"
                f" by Kafka: {problems[0] if problems else 'no answer in time'}",
                remedy="Check that the brokers of CLOSEDLOOP_EVENT_LOG answer and that"
                " min.insync.replicas are up, then send the same batch again.",
            )
        return Appended(places=tuple(places))

    def read(self, position: Position, *, limit: int) -> Page:
        """Return what lies behind a position, up to the end that the log has now."""
        with self._turn, self._answered("reading"):
            return self._reader.read(position, limit)

    def get(self, event_id: str) -> Event | None:
        """Return one of the newest events: those that this process appended or the log ends with.

        Older ones are in the lake (`closedloop.data.event_lookup`).
        """
        found = self._recent.get(event_id)
        if found is None:
            self._catch_up()
            found = self._recent.get(event_id)
        return found

    def _catch_up(self) -> None:
        """Read what others appended into the recent events, at first from near the end."""
        with self._tail_turn, self._answered("looking an event up"):
            if self._tail_at is None:
                each = max(1, self._recent_events // len(self._partitions))
                self._tail_at = {
                    p: max(low, high - each) for p, (low, high) in self._tail.bounds().items()
                }
            while page := self._tail.read(self._tail_at, _PAGE_EVENTS):
                self._tail_at = page.next
                for logged in page.events:
                    self._recent.add(logged.event.event_id, encode(logged.event).encode("utf-8"))

    def end(self) -> Position:
        """Return the position behind every acknowledged event."""
        with self._turn, self._answered("asking for the end"):
            return {partition: high for partition, (_, high) in self._reader.bounds().items()}

    def size(self) -> int:
        """Return how many events the brokers keep, duplicates included."""
        with self._turn, self._answered("asking for the size"):
            return sum(high - low for low, high in self._reader.bounds().values())

    def commit(self, consumer: str, position: Position) -> None:
        """Store a consumer's place as the offsets of its group."""
        places = [TopicPartition(self._topic, p, offset) for p, offset in sorted(position.items())]
        if not places:
            return
        with self._turn, self._answered(f"committing the place of {consumer}"):
            done = self._committer(consumer).commit(offsets=places, asynchronous=False)
            for place in done or ():
                if place.error is not None:
                    raise KafkaException(place.error)

    def committed(self, consumer: str) -> Position:
        """Return the offsets of a consumer's group."""
        places = [TopicPartition(self._topic, p) for p in self._partitions]
        with self._turn, self._answered(f"asking for the place of {consumer}"):
            found = self._committer(consumer).committed(places, timeout=self._timeout_s)
            for place in found:
                if place.error is not None:
                    raise KafkaException(place.error)
        return {place.partition: place.offset for place in found if place.offset >= 0}

    def retain(self, retention: Retention) -> Retained:
        """Set the topic's retention; the brokers then remove whole segments by themselves.

        Unlike the embedded log they do not wait for consumers: choose an age that the slowest
        one stays well below.
        """
        with self._answered("setting the retention"):
            apply_topic_retention(
                self._shared, self._topic, len(self._partitions), retention, self._timeout_s
            )
        size = self.size()
        return Retained(removed=0, kept=size, bytes_before=0, bytes_after=0, left_to="Kafka")

    def close(self) -> None:
        """Deliver what is under way and leave the brokers."""
        self._producer.flush(self._timeout_s)
        for client in (
            self._reader.consumer,
            self._tail.consumer,
            self._asking,
            *self._committers.values(),
        ):
            client.close()
        self._committers.clear()

    def _committer(self, consumer: str) -> Consumer:
        """Return the client that speaks for a consumer's group; it reads nothing."""
        if consumer not in self._committers:
            self._committers[consumer] = self._reading(consumer)
        return self._committers[consumer]

    def _reading(self, group: str) -> Consumer:
        return Consumer({**self._consumer_options, "group.id": f"{_GROUP_PREFIX}{group}"})

    @contextmanager
    def _answered(self, doing: str) -> Iterator[None]:
        """Turn what the client raises in this block into an EngineError."""
        try:
            yield
        except (KafkaException, RuntimeError) as error:  # RuntimeError: the log is closed
            raise EngineError(
                f"Kafka's topic {self._topic} did not answer ({doing}): {_words(error)}.",
                remedy="Check the brokers, topic and log-in of CLOSEDLOOP_EVENT_LOG.",
            ) from error


def _words(error: BaseException) -> str:
    first = error.args[0] if error.args else None
    return first.str() if isinstance(first, KafkaError) else str(error)
