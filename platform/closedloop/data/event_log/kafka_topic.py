"""The topic of an event log: found, made where it is missing, and how long brokers keep it."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
)

from closedloop.core.errors import EngineError
from closedloop.data.event_log.kafka_url import KafkaAddress
from closedloop.data.event_log.protocol import Retention


def open_topic(
    address: KafkaAddress, options: dict[str, Any], consumer: Consumer, timeout_s: float
) -> tuple[tuple[int, ...], str]:
    """Return a topic's partitions and an identity; a topic that is not there is made.

    The identity names cluster and topic, so that what the lake took from one cluster is not
    taken for a place in another.

    Raises
    ------
    EngineError
        The topic is not there and may not be made.
    KafkaException
        No broker answers.
    """
    found = consumer.list_topics(address.topic, timeout=timeout_s)
    topic = found.topics[address.topic]
    if topic.error is not None and topic.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        _make(address, options, timeout_s)
        found = consumer.list_topics(address.topic, timeout=timeout_s)
        topic = found.topics[address.topic]
    if topic.error is not None:
        raise KafkaException(topic.error)
    identity = f"lake-kafka-{found.cluster_id or 'unnamed'}-{address.topic}"
    return tuple(sorted(topic.partitions)), identity


def _make(address: KafkaAddress, options: dict[str, Any], timeout_s: float) -> None:
    wanted = NewTopic(
        address.topic,
        num_partitions=address.partitions,
        replication_factor=address.replication,
    )
    made = AdminClient(options).create_topics([wanted], request_timeout=timeout_s)
    try:
        made[address.topic].result(timeout_s * 2)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:  # another process was first
            return
        raise EngineError(
            f"Kafka has no topic {address.topic}, and it cannot be made: {error.args[0].str()}.",
            remedy=f"Make it: kafka-topics.sh --create --topic {address.topic}"
            f" --partitions {address.partitions}",
        ) from error


def apply_topic_retention(
    options: dict[str, Any], topic: str, partitions: int, retention: Retention, timeout_s: float
) -> None:
    """Set how long and how much of a topic brokers keep; a bound that is None stays as it is.

    Raises
    ------
    EngineError
        The brokers refuse it.
    """
    wanted: dict[str, int] = {}
    if retention.older_than_s is not None:
        wanted["retention.ms"] = int(retention.older_than_s * 1000)
    if retention.max_bytes is not None:  # brokers bound each partition by itself
        wanted["retention.bytes"] = max(1, retention.max_bytes // partitions)
    entries = [
        ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET)
        for name, value in wanted.items()
    ]
    if not entries:
        return
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    asked = AdminClient(options).incremental_alter_configs([resource], request_timeout=timeout_s)
    try:
        asked[resource].result(timeout_s * 2)
    except KafkaException as error:
        settings = ",".join(f"{name}={value}" for name, value in wanted.items())
        raise EngineError(
            f"Kafka did not take the retention of {topic}: {error.args[0].str()}.",
            remedy=f"Set it with kafka-configs.sh --alter --topic {topic} --add-config {settings}",
        ) from error
