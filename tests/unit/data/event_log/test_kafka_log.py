"""What only the log on Kafka does, against librdkafka's mock brokers."""

from datetime import UTC, datetime

import pytest

from closedloop.core.errors import EngineError, InputError
from closedloop.data.event import Event, Kind, new_event_id
from closedloop.data.event_log.kafka import KafkaEventLog
from closedloop.data.event_log.kafka_url import parse_kafka_url
from closedloop.data.event_log.protocol import START, Retention

NOWHERE = "kafka://127.0.0.1:1/events"


def event(text="x", dialogue_id="d"):
    return Event(
        event_id=new_event_id(),
        ts=datetime.now(UTC),
        tenant="a",
        kind=Kind.TURN,
        text=text,
        dialogue_id=dialogue_id,
    )


def test_dialogues_spread_over_partitions_and_each_stays_in_one(new_log_url):
    log = KafkaEventLog(parse_kafka_url(new_log_url("kafka")))
    log.append([event(dialogue_id=f"d{i % 20}") for i in range(100)])
    where = {}
    for logged in log.read(START, limit=1_000).events:
        where.setdefault(logged.event.dialogue_id, set()).add(logged.partition)
    assert all(len(partitions) == 1 for partitions in where.values())
    assert len(set.union(*where.values())) > 1
    log.close()


def test_a_look_up_remembers_no_more_than_it_may(new_log_url):
    url = parse_kafka_url(new_log_url("kafka"))
    log = KafkaEventLog(url, recent_events=10)
    events = [event(str(i)) for i in range(30)]
    log.append(events)
    assert log.get(events[0].event_id) is None
    assert log.get(events[-1].event_id) == events[-1]
    log.close()


def test_no_broker_is_an_error_of_the_engine_that_says_where_to_look():
    address = parse_kafka_url(NOWHERE)
    with pytest.raises(EngineError, match="did not answer") as raised:
        KafkaEventLog(address, timeout_s=0.3)
    assert "CLOSEDLOOP_EVENT_LOG" in raised.value.remedy


def test_a_topic_that_cannot_be_made_is_named(kafka_servers):
    _, servers = kafka_servers  # the mock has no administration
    with pytest.raises(EngineError, match="has no topic missing") as raised:
        KafkaEventLog(parse_kafka_url(f"kafka://{servers}/missing"), timeout_s=0.5)
    assert "--create --topic missing" in raised.value.remedy


def test_events_that_were_not_acknowledged_are_an_error_and_may_be_sent_again():
    from confluent_kafka import Producer

    broker = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1, "log_level": 0})
    servers = ",".join(
        f"{b.host}:{b.port}" for b in broker.list_topics(timeout=10).brokers.values()
    )
    broker.list_topics("events", timeout=10)
    log = KafkaEventLog(
        parse_kafka_url(f"kafka://{servers}/events"), timeout_s=1, delivery_timeout_s=1
    )
    log.append([event()])
    del broker  # its brokers go with it
    with pytest.raises(EngineError, match="1 of 1 events were not acknowledged") as raised:
        log.append([event()])
    assert "send the same batch again" in raised.value.remedy
    with pytest.raises(EngineError):
        log.end()
    log.close()


def test_an_option_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="does not take its options"):
        KafkaEventLog(parse_kafka_url(f"{NOWHERE}?no.such=1"))


def test_brokers_that_refuse_a_retention_say_how_it_is_set(new_log_url):
    log = KafkaEventLog(parse_kafka_url(new_log_url("kafka")), timeout_s=0.5)
    with pytest.raises(EngineError, match="did not take the retention") as raised:
        log.retain(Retention(older_than_s=3_600, max_bytes=4_000))
    assert "retention.ms=3600000,retention.bytes=1000" in raised.value.remedy
    log.close()
