"""Load over HTTP by wrk, from a process of its own."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0}
# Bodies are made before the clock starts: the generator must cost less than what it measures.
_SCRIPT = """
local paths, bodies = {paths}, {bodies}
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
{headers}
local named = {named}
function request()
  if #named > 0 then wrk.headers["{header}"] = named[math.random(#named)] end
  return wrk.format(nil, paths[math.random(#paths)], nil, bodies[math.random(#bodies)])
end
{delay}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What came of a load."""

    rps: float
    p50_ms: float
    p99_ms: float
    requests: int
    failed: int  # no answer, or one that is not 2xx


def need_wrk() -> None:
    """Exit with the remedy where wrk is missing."""
    if shutil.which("wrk") is None:
        sys.exit("The serving benchmark needs wrk: install it (Debian: apt-get install wrk).")


class Target:
    """Requests to one server: each a random path with a random body.

    Parameters
    ----------
    url : str
        Base URL.
    paths : sequence of str
    bodies : sequence of JSON-ready values
    key : str
        API key, "" for none.
    pause_ms : float
        What each connection waits between two requests.
    header : tuple of (str, sequence of str), optional
        A header's name and the values that it has in turn, at random.
    """

    def __init__(
        self,
        url: str,
        paths: Sequence[str],
        bodies: Sequence[object],
        *,
        key: str = "",
        pause_ms: float = 0,
        header: tuple[str, Sequence[str]] = ("", ()),
    ) -> None:
        self._url = url
        self._script = _SCRIPT.format(
            paths=_table(paths),
            bodies=_table([json.dumps(body) for body in bodies]),
            headers=f'wrk.headers["Authorization"] = "Bearer {key}"' if key else "",
            header=header[0],
            named=_table(header[1]),
            delay=f"function delay() return {pause_ms:g} end" if pause_ms else "",
        )

    def begin(self, *, connections: int, seconds: float) -> Running:
        """Start the load."""
        script = tempfile.NamedTemporaryFile("w", suffix=".lua")  # noqa: SIM115 -- outlives this
        script.write(self._script)
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"]
        process = subprocess.Popen(
            [*command, "-s", script.name, self._url], stdout=subprocess.PIPE, text=True
        )
        return Running(process, script)

    def run(self, *, connections: int, seconds: float) -> Load:
        """Put the load on and wait for its end."""
        return self.begin(connections=connections, seconds=seconds).result()


class Running:
    """A load that is going on."""

    def __init__(self, process: subprocess.Popen[str], script: object) -> None:
        self._process = process
        self._script = script  # deleted when this is

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """End it before its time; what it found so far is its result."""
        self._process.send_signal(signal.SIGINT)

    def result(self) -> Load:
        """Wait for the end."""
        said, _ = self._process.communicate()
        if self._process.returncode:
            sys.exit(f"wrk failed:\n{said}")
        return _read(said)


def _read(said: str) -> Load:
    def found(pattern: str) -> str:
        match = re.search(pattern, said)
        return match.group(1) if match else "0"

    def latency_ms(share: str) -> float:
        number, unit = re.search(rf"{share}%\s+([\d.]+)(us|ms|s|m)\b", said).groups()  # type: ignore[union-attr]
        return float(number) * _UNITS[unit]

    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said
    )
    return Load(
        rps=float(found(r"Requests/sec:\s+([\d.]+)")),
        p50_ms=latency_ms("50"),
        p99_ms=latency_ms("99"),
        requests=int(found(r"(\d+) requests in")),
        failed=int(found(r"Non-2xx or 3xx responses: (\d+)"))
        + sum(map(int, errors.groups() if errors else ())),
    )


def _table(values: Sequence[str]) -> str:
    # JSON's escapes of characters are not Lua's: everything that is not plain is told by byte.
    def quoted(value: str) -> str:
        plain = (
            chr(byte) if 32 <= byte < 127 and byte not in (34, 92) else f"\\{byte:03}"
            for byte in value.encode()
        )
        return f'"{"".join(plain)}"'

    return "{" + ", ".join(map(quoted, values)) + "}"
