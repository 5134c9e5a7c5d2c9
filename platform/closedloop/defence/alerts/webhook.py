"""Alerts as HTTP requests, signed so that the receiver can tell who sent them.

The header ``Closedloop-Signature: t=1764000000,v1=5257a8…`` holds the time in Unix seconds and the
HMAC-SHA256, in hexadecimal, of that time, a full stop and the body, under a secret that both sides
know. A receiver computes it anew (`is_signed`), and refuses what is older than a few minutes: so
nobody who saw a request can send it again. Alerts come at least once: ``Idempotency-Key``, which
is the body's ``id``, is the same each time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from closedloop.defence.alerts.alert import Alert
from closedloop.defence.alerts.sink import NotDelivered

SIGNATURE = "Closedloop-Signature"
# What may be different a moment later, though the receiver says that the request is at fault.
_PASSING = frozenset({408, 423, 425, 429})
_LONGEST_WAIT_S = 3_600.0


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Sends alerts as JSON by POST; a redirect is not followed.

    Parameters
    ----------
    url : str
        It may hold a secret, and is not shown.
    secret : str
        Of the signature; without one, requests are not signed.
    timeout_s : float
        Of connecting, and of each wait for the receiver.
    """

    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    timeout_s: float = 10.0
    clock: Callable[[], float] = field(default=time.time, repr=False)

    @property
    def address(self) -> str:
        """The receiver's scheme and host."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"

    def send(self, alert: Alert) -> None:
        """Send an alert.

        Raises
        ------
        NotDelivered
            There was no answer, or one that is no 2xx.
        """
        import httpx

        body = json.dumps(alert.to_json(), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": alert.id}
        if self.secret:
            headers[SIGNATURE] = signature(self.secret, body, at=int(self.clock()))
        try:
            # The answer's body is not read: it may be long, and says nothing that is needed.
            with (
                httpx.Client(timeout=self.timeout_s, follow_redirects=False) as client,
                client.stream("POST", self.url, content=body, headers=headers) as answer,
            ):
                status, retry_after = answer.status_code, answer.headers.get("Retry-After", "")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise NotDelivered(
                f"{self.address} did not answer: {type(error).__name__}.",
                remedy="Check that the receiver runs and can be reached from here.",
            ) from error
        if 200 <= status < 300:
            return
        raise NotDelivered(
            f"{self.address} answered with status {status}.",
            remedy="Look into the receiver's log.",
            is_final=status < 500 and status not in _PASSING,
            retry_after_s=_seconds(retry_after),
        )


def signature(secret: str, body: bytes, *, at: int) -> str:
    """Return the header of a request's signature.

    Examples
    --------
    >>> signature("s", b"{}", at=1)[:14]
    't=1,v1=b253639'
    """
    signed = f"{at}.".encode() + body
    return f"t={at},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def is_signed(
    secret: str, body: bytes, header: str, *, now: float, tolerance_s: float = 300.0
) -> bool:
    """Tell whether a request is from who knows the secret, and is no old one sent again.

    Examples
    --------
    >>> is_signed("s", b"{}", signature("s", b"{}", at=100), now=130.0)
    True
    >>> is_signed("s", b"{}", signature("s", b"{}", at=100), now=1_000.0)
    False
    """
    stamp = header.partition(",")[0].removeprefix("t=")
    if not (stamp.isascii() and stamp.isdigit()) or abs(now - int(stamp)) > tolerance_s:
        return False
    return hmac.compare_digest(signature(secret, body, at=int(stamp)).encode(), header.encode())


def _seconds(retry_after: str) -> float:
    told = retry_after.strip()
    return min(float(told), _LONGEST_WAIT_S) if told.isascii() and told.isdigit() else 0.0
