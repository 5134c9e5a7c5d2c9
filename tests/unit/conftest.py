"""Event logs of every kind, for the tests of what is built on them."""

import logging

import pytest

from closedloop.data.event_log.opening import open_event_log


@pytest.fixture(scope="session")
def kafka_servers():
    """Broker of librdkafka's own: the real client and protocol, without a server."""
    from confluent_kafka import Producer

    quiet = logging.getLogger("mock broker")
    quiet.setLevel(logging.CRITICAL)
    # The brokers live as long as this client; others reach them by the address it tells.
    broker = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1, "logger": quiet})
    brokers = broker.list_topics(timeout=10).brokers.values()
    yield broker, ",".join(f"{each.host}:{each.port}" for each in brokers)
    broker.flush(5)


@pytest.fixture
def new_log_url(kafka_servers, tmp_path, request):
    """Return a function from a kind of log to the URL of a new, empty one."""
    broker, servers = kafka_servers
    count = 0

    def new(kind):
        nonlocal count
        count += 1
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / f'events-{count}.db'}"
        topic = f"events-{abs(hash(request.node.nodeid))}-{count}"
        # The mock has no administration: asking a producer about a topic makes it.
        broker.list_topics(topic, timeout=10)
        return f"kafka://{servers}/{topic}"

    return new


@pytest.fixture(params=["sqlite", "kafka"])
def open_log(request, new_log_url):
    """Return a function that opens one log again and again, of each kind in turn."""
    url = new_log_url(request.param)
    opened = []

    def reopen():
        opened.append(open_event_log(url))
        return opened[-1]

    yield reopen
    for log in opened:
        log.close()
