"""Reading a topic from given offsets up to its present end, without joining a group."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from closedloop.data.event_log.codec import decode
from closedloop.data.event_log.protocol import LoggedEvent, Page, Position, Unreadable

_KEPT_CHARS = 4_096
_MAX_FETCH = 1_000
# The end was asked for, so that something comes; brokers that stay silent for longer are away.
_SILENCE_S = 30.0


class KafkaReader:
    """Reads pages with one consumer; one thread at a time.

    Parameters
    ----------
    consumer : Consumer
        With ``enable.partition.eof``, so that the end is seen behind records that are no events.
    asking : Consumer
        A client that fetches nothing: a question behind a fetch would wait as long as brokers
        hold a fetch back for want of records.
    topic : str
        What to read.
    timeout_s : float
        For one question to the brokers.
    """

    def __init__(self, consumer: Consumer, asking: Consumer, topic: str, timeout_s: float) -> None:
        self.consumer = consumer
        self._asking = asking
        self.partitions: Sequence[int] = ()
        self._topic = topic
        self._timeout_s = timeout_s
        # Where the consumer stands; fetched records behind it wait in the client.
        self._at: dict[int, int] | None = None

    def bounds(self) -> dict[int, tuple[int, int]]:
        """Return the first offset and the one behind the last, by partition."""
        return {
            partition: self._asking.get_watermark_offsets(
                TopicPartition(self._topic, partition), timeout=self._timeout_s
            )
            for partition in self.partitions
        }

    def read(self, position: Position, limit: int) -> Page:
        """Return up to ``limit`` records from a position on, in order within each partition.

        Raises
        ------
        KafkaException
            The brokers do not answer.
        """
        bounds = self.bounds()
        # Retention may have removed what the position names: reading goes on behind the gap.
        at = {p: max(position.get(p, 0), low) for p, (low, _) in bounds.items()}
        behind = {p for p, (_, high) in bounds.items() if at[p] < high}
        events: list[LoggedEvent] = []
        unreadable: list[Unreadable] = []
        if behind and at != self._at:
            self.consumer.assign([TopicPartition(self._topic, p, at[p]) for p in sorted(at)])
        while behind and (room := limit - len(events) - len(unreadable)) > 0:
            # Waiting for a batch would wait until it is full; one record, then what came with it.
            first = self.consumer.poll(_SILENCE_S)
            if first is None:
                self._at = None
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no record came in time"))
            more = self.consumer.consume(min(room - 1, _MAX_FETCH), timeout=0) if room > 1 else []
            for message in (first, *more):
                partition, offset = message.partition() or 0, message.offset() or 0
                error = message.error()
                if error is not None:
                    if error.code() != KafkaError._PARTITION_EOF:
                        self._at = None
                        raise KafkaException(error)
                    at[partition] = max(at[partition], offset)
                    behind.discard(partition)
                    continue
                at[partition] = offset + 1
                if at[partition] >= bounds[partition][1]:
                    behind.discard(partition)
                value = message.value() or b""
                try:
                    event = decode(value)
                except ValueError as fault:
                    raw = value[: _KEPT_CHARS * 4].decode("utf-8", errors="replace")[:_KEPT_CHARS]
                    unreadable.append(
                        Unreadable(partition=partition, offset=offset, reason=str(fault), raw=raw)
                    )
                else:
                    events.append(LoggedEvent(partition=partition, offset=offset, event=event))
        if not behind:  # no fetch waits at the brokers for records to come
            self.consumer.unassign()
        if events or unreadable:
            self._at = dict(at) if behind else None
        return Page(events=tuple(events), unreadable=tuple(unreadable), next=at)
