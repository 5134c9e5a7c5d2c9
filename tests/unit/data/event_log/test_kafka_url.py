import pytest

from closedloop.core.errors import InputError
from closedloop.data.event_log.kafka_url import parse_kafka_url


def test_a_url_names_brokers_topic_and_options():
    address = parse_kafka_url(
        "kafka://b1:9092,b2:9093/chats?partitions=12&replication=3&security.protocol=SSL"
    )
    assert (address.servers, address.topic) == ("b1:9092,b2:9093", "chats")
    assert (address.partitions, address.replication) == (12, 3)
    assert address.options == {"security.protocol": "SSL"}


def test_secrets_come_from_a_file_and_the_url_wins(tmp_path):
    file = tmp_path / "kafka.properties"
    file.write_text(
        "# log-in\nsasl.username = app\nsasl.password=a=b c\nsecurity.protocol=SASL_PLAINTEXT\n"
    )
    address = parse_kafka_url(f"kafka://b:1/t?security.protocol=SASL_SSL&properties={file}")
    assert address.options == {
        "sasl.username": "app",
        "sasl.password": "a=b c",
        "security.protocol": "SASL_SSL",
    }
    assert "a=b c" not in repr(address)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("kafka:///t", "HOST:PORT"),
        ("kafka://b/t", "HOST:PORT"),
        ("kafka://b:1,c/t", "HOST:PORT"),
        ("kafka://b:1", "no topic"),
        ("kafka://b:1/a/b", "no topic"),
        ("kafka://b:1/t?partitions=0", "above 0"),
        ("kafka://b:1/t?partitions=many", "above 0"),
        ("kafka://b:1/t?sasl.password=x", "the secret sasl.password"),
        ("kafka://app:pw@b:1/t", "password"),
        ("kafka://b:1/t?parts=3", "'parts'"),
        ("kafka://b:1/t?acks=0", "acks"),
        ("kafka://b:1/t?enable.idempotence=false", "enable.idempotence"),
        ("kafka://b:1/t?properties=/no/such/file", "cannot be read"),
    ],
)
def test_a_wrong_url_is_refused_with_a_way_out(url, words):
    with pytest.raises(InputError, match=words) as raised:
        parse_kafka_url(url)
    assert raised.value.remedy
    assert "pw" not in str(raised.value)


def test_a_damaged_line_of_the_file_is_named_but_not_told(tmp_path):
    file = tmp_path / "kafka.properties"
    file.write_text("sasl.username=app\nhunter2\n")
    with pytest.raises(InputError, match="Line 2") as raised:
        parse_kafka_url(f"kafka://b:1/t?properties={file}")
    assert "hunter2" not in str(raised.value)
