"""Opening the event log that a URL names."""

from __future__ import annotations

from pathlib import Path

from closedloop.core.errors import InputError
from closedloop.data.event_log.protocol import EventLog


def open_event_log(url: str) -> EventLog:
    """Open an event log.

    Parameters
    ----------
    url : str
        ``sqlite:///FILE``, or ``kafka://HOST:PORT,HOST:PORT/TOPIC?partitions=N`` with more
        options as `closedloop.data.event_log.kafka_url` tells.

    Raises
    ------
    InputError
        There is no such kind of log, or the URL is incomplete.
    EngineError
        The log does not open.

    Examples
    --------
    >>> log = open_event_log("sqlite:////srv/closedloop/events.db")  # doctest: +SKIP
    """
    if url.startswith("kafka://"):
        from closedloop.data.event_log.kafka import KafkaEventLog
        from closedloop.data.event_log.kafka_url import parse_kafka_url

        return KafkaEventLog(parse_kafka_url(url))
    scheme, separator, path = url.partition(":///")
    if scheme != "sqlite" or not separator or not path:
        raise InputError(
            f"The event log URL {url!r} is not supported.",
            remedy="Set CLOSEDLOOP_EVENT_LOG to sqlite:///FILE or kafka://HOST:PORT/TOPIC.",
        )
    from closedloop.data.event_log.sqlite import SqliteEventLog

    return SqliteEventLog(Path(path))
