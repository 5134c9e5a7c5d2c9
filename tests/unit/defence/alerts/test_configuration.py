import pytest

from closedloop.core.errors import InputError
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.defence.alerts.configuration import FILE, open_alert_book, read_alerting
from closedloop.defence.alerts.json_lines import JsonLines
from closedloop.defence.alerts.mail import Mail, Security
from closedloop.defence.alerts.webhook import Webhook

HOOK = "receivers: [{name: ops, kind: webhook, "
MAIL = "receivers: [{name: m, kind: email, host: h, sender: a@b, to: [c@d], "


@pytest.fixture
def read(tmp_path):
    def reading(text, **environment):
        file = tmp_path / FILE
        file.write_text(text, "utf-8")
        return read_alerting(file, environment=environment)

    return reading


def test_without_a_file_nobody_is_told(tmp_path, read):
    assert read_alerting(tmp_path / "none.yaml").receivers == ()
    assert read("").receivers == ()


def test_every_kind_of_receiver_is_read(read, tmp_path):
    (tmp_path / "password").write_text("pass word\n")
    alerting = read(
        """
app_url: https://loop.example
attempts: 5
receivers:
  - {name: ops, kind: webhook, url: "https://x.example/a", secret_env: S, tenants: [shop],
     least_surprise: 6, least_texts: 20, texts: 0}
  - {name: team, kind: email, host: mail.example, user: u, password_file: password,
     sender: a@b.example, to: [c@d.example], security: tls, port: 465}
  - {name: log, kind: file, path: alerts.jsonl}
""",
        S="s3cret",
    )
    ops, team, log = alerting.receivers
    assert ops.sink == Webhook(url="https://x.example/a", secret="s3cret")
    assert (ops.tenants, ops.least_surprise, ops.least_texts, ops.texts) == (("shop",), 6, 20, 0)
    assert isinstance(team.sink, Mail)
    assert (team.sink.password, team.sink.security) == ("pass word", Security.TLS)
    assert log.sink == JsonLines(path=tmp_path / "alerts.jsonl")
    assert (alerting.link, alerting.patience.attempts) == ("https://loop.example", 5)
    assert "s3cret" not in repr(alerting)
    assert "pass word" not in repr(alerting)


def test_a_url_may_be_a_secret(read, tmp_path):
    (tmp_path / "url").write_text("https://x.example/token")
    assert read(HOOK + "url_file: url}]").receivers[0].sink.address == "https://x.example/…"
    found = read(HOOK + "url_env: U}]", U="https://y.example/token")
    assert found.receivers[0].sink.url == "https://y.example/token"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("receivers: [", "no YAML in line 1"),
        ("receivers: 5", "receivers: Input should be a valid"),
        ("recievers: []", "recievers: Extra inputs"),
        ("receivers: [{name: a, kind: pigeon}]", "receivers.0"),
        (HOOK + "url: 'https://x', secret: hush}]", "receivers.0.secret: Extra inputs"),
        (HOOK + "}]", "give one of url"),
        (HOOK + "url: 'https://x', url_env: U}]", "give one of url"),
        (HOOK + "url: 'ftp://hush'}]", "does not begin with https://"),
        (HOOK + "url: 'https://x', texts: 99}]", "receivers.0.texts"),
        (HOOK + "url: 'https://x', secret_env: NOT_SET}]", "NOT_SET, which is not set"),
        (HOOK + "url: 'https://x', secret_file: none}]", "secret_file of 'ops' cannot be read"),
        (HOOK + "url: 'https://x', secret_file: a, secret_env: b}]", "has both"),
        (MAIL + "user: u}]", "user goes with password_env"),
        (MAIL + "user: u, password_env: P, security: none}]", "sent in clear"),
        (MAIL.replace("[c@d]", "[hush]") + "}]", "receivers.0.to.0"),
        (
            "receivers: [{name: a, kind: file, path: x}, {name: a, kind: file, path: y}]",
            "'a' is there more than once",
        ),
    ],
)
def test_what_is_wrong_is_named_and_what_stands_there_is_not(read, text, said):
    with pytest.raises(InputError) as failed:
        read(text, P="hush")
    assert said in failed.value.message
    assert "hush" not in str(failed.value)
    assert FILE in failed.value.message


def test_the_book_of_an_installation_tells_whom_its_file_names(tmp_path):
    (tmp_path / FILE).write_text("receivers: [{name: log, kind: file, path: told.jsonl}]")
    settings = Settings(home=tmp_path)
    store = Store.open(settings.store_url)
    open_alert_book(settings, store).test("log")
    assert (tmp_path / "told.jsonl").read_text().count("\n") == 1
    store.close()
