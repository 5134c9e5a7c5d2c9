"""Who is told of issues: the file ``alerts.yaml`` in the platform's home.

::

    app_url: https://closedloop.example.com     # told with each alert; may be left out
    receivers:
      - name: on-call
        kind: webhook
        url: https://hooks.example.com/closedloop   # or url_env, url_file: many hold a secret
        secret_env: CLOSEDLOOP_ALERT_SECRET     # or secret_file: PATH
        tenants: [shop]                         # left out: every one's
        least_surprise: 6                       # -log10 of its probability in calm traffic
        least_texts: 20
        texts: 3                                # masked texts sent along; 0 for none
      - name: team
        kind: email
        host: mail.example.com
        port: 587
        security: starttls                      # tls, or none where there is no password
        user: closedloop
        password_file: /run/secrets/mail
        sender: closedloop@example.com
        to: [team@example.com]
      - name: log
        kind: file
        path: alerts.jsonl                      # from the platform's home

What leaves the platform is the issue's title, terms, counts and figures, and as many of its typical
texts as ``texts`` says. Personal data in them is masked, as in all that is stored. Secrets stand in
a file or in an environment variable, never in this file, and are never shown. Which addresses
may be told is up to who writes it: nothing is checked.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from closedloop.core.errors import InputError
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.defence.alerts.alert_book import AlertBook, Patience
from closedloop.defence.alerts.json_lines import JsonLines
from closedloop.defence.alerts.mail import Mail, Security
from closedloop.defence.alerts.sink import Receiver, Sink
from closedloop.defence.alerts.webhook import Webhook

FILE = "alerts.yaml"
_Name = Annotated[str, Field(pattern=r"^[\w.-]{1,60}$")]
_Seconds = Annotated[float, Field(gt=0, le=60)]


class _Receiver(BaseModel, ABC):
    # A misspelt name must not mean that nobody is told; and what was given may be a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: _Name
    tenants: tuple[str, ...] = ()
    least_surprise: float = Field(default=0.0, ge=0)
    least_texts: int = Field(default=0, ge=0)
    texts: int = Field(default=3, ge=0, le=8)

    @abstractmethod
    def sink(self, place: _Place) -> Sink: ...


class _Webhook(_Receiver):
    kind: Literal["webhook"]
    url: str = ""
    url_env: str = ""
    url_file: str = ""
    secret_env: str = ""
    secret_file: str = ""
    timeout_s: _Seconds = 10.0

    @model_validator(mode="after")
    def _one_url(self) -> _Webhook:
        if sum(map(bool, (self.url, self.url_env, self.url_file))) != 1:
            raise ValueError("give one of url, url_env and url_file")
        return self

    def sink(self, place: _Place) -> Sink:
        url = self.url or place.secret(self.name, "url", self.url_env, self.url_file)
        if not url.startswith(("https://", "http://")):
            raise place.wrong(f"the URL of {self.name!r} does not begin with https:// or http://")
        secret = place.secret(self.name, "secret", self.secret_env, self.secret_file)
        return Webhook(url=url, secret=secret, timeout_s=self.timeout_s)


class _Mail(_Receiver):
    kind: Literal["email"]
    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    security: Security = Security.STARTTLS
    user: str = ""
    password_env: str = ""
    password_file: str = ""
    ca_file: str = ""
    sender: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    to: tuple[Annotated[str, Field(pattern=r"^[^@\s,]+@[^@\s,]+$")], ...] = Field(min_length=1)
    timeout_s: _Seconds = 15.0

    @model_validator(mode="after")
    def _no_bare_password(self) -> _Mail:
        if self.user and self.security is Security.NONE:
            raise ValueError("a password would be sent in clear: set security to starttls or tls")
        if bool(self.user) != bool(self.password_env or self.password_file):
            raise ValueError("user goes with password_env or password_file")
        return self

    def sink(self, place: _Place) -> Sink:
        return Mail(
            host=self.host,
            port=self.port,
            sender=self.sender,
            to=self.to,
            security=self.security,
            user=self.user,
            password=place.secret(self.name, "password", self.password_env, self.password_file),
            ca_file=place.path(self.ca_file) if self.ca_file else None,
            timeout_s=self.timeout_s,
        )


class _File(_Receiver):
    kind: Literal["file"]
    path: str = Field(min_length=1)

    def sink(self, place: _Place) -> Sink:
        return JsonLines(path=place.path(self.path))


class _Alerts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    app_url: str = ""
    attempts: int = Field(default=12, ge=1, le=50)
    receivers: tuple[Annotated[_Webhook | _Mail | _File, Field(discriminator="kind")], ...] = ()

    @model_validator(mode="after")
    def _names_once(self) -> _Alerts:
        names = [receiver.name for receiver in self.receivers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the name {twice[0]!r} is there more than once")
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class Alerting:
    """Who is told of issues, and how patiently."""

    receivers: tuple[Receiver, ...] = ()
    link: str = ""
    patience: Patience = field(default_factory=Patience)


def read_alerting(file: Path, *, environment: Mapping[str, str] | None = None) -> Alerting:
    """Read who is told; nobody where there is no such file.

    Parameters
    ----------
    environment : mapping, optional
        Where secrets may stand; by default, of this process.

    Raises
    ------
    InputError
        The file cannot be read, something in it is wrong, or a secret is missing; the message
        names the place, and never what stands there.
    """
    import yaml

    place = _Place(file, os.environ if environment is None else environment)
    try:
        values = yaml.safe_load(file.read_text("utf-8"))
        found = _Alerts.model_validate({} if values is None else values)
    except FileNotFoundError:
        return Alerting()
    except ValidationError as error:
        raise place.wrong("; ".join(_told(each) for each in error.errors())) from None
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise place.wrong(f"it is no YAML{line}: {error.problem}") from None
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise place.wrong(f"it cannot be read ({type(error).__name__})") from None
    receivers = tuple(
        Receiver(
            name=each.name,
            sink=each.sink(place),
            tenants=each.tenants,
            least_surprise=each.least_surprise,
            least_texts=each.least_texts,
            texts=each.texts,
        )
        for each in found.receivers
    )
    return Alerting(
        receivers=receivers, link=found.app_url, patience=Patience(attempts=found.attempts)
    )


def open_alert_book(settings: Settings, store: Store) -> AlertBook:
    """Return the alerts of an installation; raises as `read_alerting`."""
    alerting = read_alerting(settings.root / FILE)
    return AlertBook(store, alerting.receivers, link=alerting.link, patience=alerting.patience)


def _told(error: Mapping[str, object]) -> str:
    where = error["loc"]
    assert isinstance(where, tuple)
    # Behind a receiver's number stands its kind, which is in the file under another name.
    path = ".".join(str(part) for n, part in enumerate(where) if not (n == 2 and len(where) > 2))
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{path}: {message}" if path else message


class _Place:
    """The file that is read, where its paths begin and its secrets stand."""

    def __init__(self, file: Path, environment: Mapping[str, str]) -> None:
        self._file = file
        self._environment = environment

    def path(self, told: str) -> Path:
        return self._file.parent / Path(told).expanduser()

    def secret(self, receiver: str, what: str, variable: str, file: str) -> str:
        if variable and file:
            raise self.wrong(f"{receiver!r} has both {what}_env and {what}_file")
        if variable:
            found = self._environment.get(variable, "")
            if not found:
                raise self.wrong(f"{receiver!r} needs the variable {variable}, which is not set")
            return found
        if not file:
            return ""
        try:
            found = self.path(file).read_text("utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise self.wrong(f"the {what}_file of {receiver!r} cannot be read") from error
        if not found:
            raise self.wrong(f"the {what}_file of {receiver!r} is empty")
        return found

    def wrong(self, what: str) -> InputError:
        return InputError(
            f"{self._file} is wrong: {what}.",
            remedy="See the example in closedloop.defence.alerts.configuration.",
        )
