import email
import email.policy
import socket
from dataclasses import replace

import pytest

from closedloop.defence.alerts.mail import Mail, Security
from closedloop.defence.alerts.sink import NotDelivered


@pytest.fixture
def mail(mail_server, certificate):
    return Mail(
        host="127.0.0.1",
        port=mail_server.port,
        sender="loop@example.com",
        to=("ann@example.com", "bob@example.com"),
        user="loop",
        password="s3cret",
        ca_file=certificate,
        timeout_s=20.0,
    )


def test_a_mail_arrives_over_tls_with_subject_and_text(mail, mail_server, an_alert):
    mail.send(an_alert)
    (raw,) = mail_server.got
    got = email.message_from_bytes(raw, policy=email.policy.default)
    assert got["Subject"] == an_alert.subject
    assert got["To"] == "ann@example.com, bob@example.com"
    assert got["Message-ID"] == f"<{an_alert.id}@closedloop>"
    assert got.get_content_type() == "text/plain"
    assert got.get_content().strip() == an_alert.body
    assert [over for said, over in mail_server.said if said in ("AUTH", "MAIL")] == [True, True]


def test_a_server_without_starttls_gets_nothing(mail, mail_server, an_alert):
    mail_server.offers_tls = False
    with pytest.raises(NotDelivered, match="SMTPNotSupportedError") as failed:
        mail.send(an_alert)
    assert not failed.value.is_final
    assert {"AUTH", "MAIL"}.isdisjoint(said for said, _ in mail_server.said)


def test_a_server_that_nobody_vouches_for_gets_nothing(mail, mail_server, an_alert):
    with pytest.raises(NotDelivered, match="SSLCertVerificationError"):
        replace(mail, ca_file=None).send(an_alert)
    assert {"AUTH", "MAIL"}.isdisjoint(said for said, _ in mail_server.said)


def test_without_security_a_mail_goes_in_clear(mail, mail_server, an_alert):
    replace(mail, security=Security.NONE, user="", password="").send(an_alert)
    assert len(mail_server.got) == 1
    assert not any(over_tls for _, over_tls in mail_server.said)


@pytest.mark.parametrize(
    ("command", "reply", "is_final"),
    [
        ("AUTH", "535 no", True),
        ("MAIL", "451 later", False),
        ("RCPT", "450 later", False),
        ("RCPT", "550 unknown", True),
        ("STARTTLS", "454 not now", False),
    ],
)
def test_a_refusal_is_tried_again_where_that_may_help(
    mail, mail_server, an_alert, command, reply, is_final
):
    mail_server.answers = {command: reply}
    said = "refused" if command == "RCPT" else reply[:3]
    with pytest.raises(NotDelivered, match=said) as failed:
        mail.send(an_alert)
    assert failed.value.is_final == is_final
    assert "s3cret" not in str(failed.value)


def test_no_server_is_told(mail, an_alert):
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    with pytest.raises(NotDelivered, match="ConnectionRefusedError") as failed:
        replace(mail, port=port).send(an_alert)
    assert not failed.value.is_final
    assert "s3cret" not in repr(mail) + mail.address
