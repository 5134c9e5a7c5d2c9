"""The address of an event log on Kafka, and how its clients log in.

::

    kafka://broker1:9092,broker2:9092/closedloop-events?partitions=12&replication=3
    kafka://broker1:9093/closedloop-events?security.protocol=SSL&properties=/etc/closedloop/kafka

``partitions`` and ``replication`` count where the topic does not exist yet and is made here.
Every key with a dot is an option of librdkafka (security.protocol, sasl.mechanism,
ssl.ca.location, …). Secrets do not belong into a URL, which ``closedloop status`` prints: write
them as ``key=value`` lines into a file that only this user may read, and name it as
``properties``. What the URL says wins over the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from closedloop.core.errors import InputError

_DEFAULT_PARTITIONS = 6
_SECRETS = ("password", "secret", "sasl.oauthbearer.config", "key.pem", "private.key")
# What makes an acknowledged event durable and keeps a dialogue in order is not up to the URL.
_OURS = (
    "bootstrap.servers",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "enable.auto.commit",
    "group.id",
    "partitioner",
)
_EXAMPLE = "Write it as kafka://HOST:PORT,HOST:PORT/TOPIC?partitions=N."


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaAddress:
    """Where a log is on Kafka."""

    servers: str  # host:port, comma-separated
    topic: str
    partitions: int = _DEFAULT_PARTITIONS
    replication: int = -1  # the broker's default
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse_kafka_url(url: str) -> KafkaAddress:
    """Return the address that a URL means.

    Raises
    ------
    InputError
        The URL is incomplete, names an option that does not exist, or holds a secret.

    Examples
    --------
    >>> address = parse_kafka_url("kafka://b1:9092,b2:9092/events?partitions=12")
    >>> address.servers, address.topic, address.partitions
    ('b1:9092,b2:9092', 'events', 12)
    """
    parts = urlsplit(url)
    topic = parts.path.strip("/")
    servers = [server.strip() for server in parts.netloc.split(",")]
    if "@" in parts.netloc:
        raise InputError(
            "The event log's URL holds a user or a password.",
            remedy="Put sasl.username and sasl.password into a file and add properties=FILE.",
        )
    if not all(server.rpartition(":")[2].isdigit() for server in servers):
        raise InputError(
            f"The event log URL names the brokers {parts.netloc!r}, not all as HOST:PORT.",
            remedy=_EXAMPLE,
        )
    if not topic or "/" in topic:
        raise InputError(f"The event log URL names no topic: {parts.path!r}.", remedy=_EXAMPLE)
    numbers = {"partitions": _DEFAULT_PARTITIONS, "replication": -1}
    options: dict[str, str] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key in numbers:
            numbers[key] = _positive(key, value)
        elif key == "properties":
            options = _read_properties(Path(value)) | options
        elif any(word in key for word in _SECRETS):
            raise InputError(
                f"The event log URL holds the secret {key}.",
                remedy="Put it into a file that only this user may read: properties=FILE.",
            )
        elif "." in key or key in _OURS:
            options[key] = value
        else:
            raise InputError(
                f"The event log URL has an option {key!r}, which does not exist.",
                remedy="There are partitions, replication, properties and librdkafka's own.",
            )
    for key in _OURS:
        if key in options:
            raise InputError(
                f"The event log sets {key} itself.", remedy="Leave it out of URL and file."
            )
    return KafkaAddress(servers=",".join(servers), topic=topic, options=options, **numbers)


def _positive(key: str, value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise InputError(f"{key}={value!r} is no number above 0.", remedy=_EXAMPLE)
    return int(value)


def _read_properties(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The Kafka properties {file} cannot be read: {error}.",
            remedy="Name a file of key=value lines that this user may read.",
        ) from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith(("#", "!")):
            continue
        key, separator, value = line.partition("=")
        if not separator:
            # The line itself may be a secret.
            raise InputError(
                f"Line {number} of {file} is not key=value.", remedy="Correct that line."
            )
        found[key.strip()] = value.strip()
    return found
