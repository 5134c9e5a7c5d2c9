"""Stands where Ray Serve expects HAProxy, runs it as a child and starts it again when it dies.

Serve notices a dead HAProxy after some failed checks, then replaces the actor above it, and the
new HAProxy knows no replicas at first: ten seconds and more without an answer. A child of the
same configuration is up again in a tenth of one.

Serve must not see the difference. It asks the admin socket for the process id of who answers, and
expects that of the process it started; so the keeper has the socket, hands each command on to the
child's own, and puts its own id in the place of the child's. Signals go on to the child as well.
A child dies with its keeper, so that a killed keeper is what a killed HAProxy is to Serve.

    python ingress_keeper.py HAPROXY -db -f haproxy.cfg [-sf PID ... -x SOCKET]

It runs by path and needs the standard library only: Serve starts it anew whenever replicas come
or go.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_READY_S = 30.0
_PAUSE_S = 0.02
_COMMAND_S = 2.0  # that a command waits for a child which is coming up
_ATTEMPTS = 5
_AGAIN_S = 0.2  # between starts that fail at once
_SOCKET = re.compile(r"^(\s*stats socket )(\S+)", re.MULTILINE)
# HAProxy's own figures ask for no key; they are nobody's business but this machine's.
_FIGURES = re.compile(r"^((?:frontend prometheus|listen stats)\s+bind )\*?(:\d+)", re.MULTILINE)


def own_socket(socket: str, keeper: int) -> str:
    """Return where the child of a keeper has its admin socket.

    Examples
    --------
    >>> own_socket("/tmp/ha/admin.sock", 12)
    '/tmp/ha/admin.sock.12'
    """
    return f"{socket}.{keeper}"


def kept_config(config: str, keeper: int) -> tuple[str, str]:
    """Return the child's configuration and the admin socket that Serve asks.

    Raises
    ------
    ValueError
        The configuration names no admin socket.
    """
    found = _SOCKET.search(config)
    if found is None:
        raise ValueError("the configuration of HAProxy has no stats socket")
    socket = found.group(2)
    config = _SOCKET.sub(rf"\g<1>{own_socket(socket, keeper)}", config)
    return _FIGURES.sub(r"\g<1>127.0.0.1\g<2>", config), socket


def child_words(words: Sequence[str], config: str) -> tuple[list[str], list[int], str]:
    """Split HAProxy's arguments: the child's lasting ones, former keepers, their socket."""
    kept: list[str] = []
    former: list[int] = []
    socket = ""
    given = iter(words)
    for word in given:
        if word == "-f":
            next(given)
            kept += ["-f", config]
        elif word == "-x":
            socket = next(given)
        elif word == "-sf":
            continue
        elif word.isdigit():
            former.append(int(word))
        else:
            kept.append(word)
    return kept, former, socket


class Keeper:
    """One HAProxy and what Serve sees of it."""

    def __init__(self, program: str, words: Sequence[str]) -> None:
        source = Path(words[words.index("-f") + 1])
        config, self._socket = kept_config(source.read_text(), os.getpid())
        self._own = own_socket(self._socket, os.getpid())
        self._config = source.with_name(f"{source.name}.{os.getpid()}")
        self._config.write_text(config)
        self._program = program
        self._words, self._former, self._handed = child_words(words, str(self._config))
        self._child: asyncio.subprocess.Process | None = None
        self._server: asyncio.Server | None = None
        self._ending = False

    async def run(self) -> int:
        """Keep HAProxy running until it is told to end; returns its exit code."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGTTOU):
            loop.add_signal_handler(each, self._pass_on, each)
        try:
            if await self._first_start():
                await self._answer_serve()
                self._end_former()
            assert self._child is not None
            while True:
                code = await self._child.wait()
                if self._ending or code >= 0:  # told to, or its configuration is wrong
                    return code
                await self._start()
                await self._ready()
                if self._child.returncode is not None:
                    await asyncio.sleep(_AGAIN_S)
        finally:
            for path in (self._config, Path(self._own)):
                path.unlink(missing_ok=True)

    async def _first_start(self) -> bool:
        """Start the child; a former one that is too busy to hand over is asked again."""
        for _ in range(_ATTEMPTS if self._handed else 1):
            await self._start(*self._handed_over())
            if await self._ready() or self._ending:
                return True
        return False

    def _handed_over(self) -> list[str]:
        """Return how the child gets the listening sockets of the one before it, if any."""
        if not self._handed:
            return []
        for keeper in self._former:
            theirs = own_socket(self._handed, keeper)
            if Path(theirs).exists():
                return ["-x", theirs]
        return ["-x", self._handed]

    async def _start(self, *more: str) -> None:
        Path(self._own).unlink(missing_ok=True)
        self._child = await asyncio.create_subprocess_exec(
            self._program, *self._words, *more, preexec_fn=_die_with_parent
        )

    async def _ready(self) -> bool:
        """Wait until the child answers; False where it ended instead."""
        assert self._child is not None
        for _ in range(int(_READY_S / _PAUSE_S)):
            if self._child.returncode is not None:
                return False
            with suppress(OSError):
                _, writer = await asyncio.open_unix_connection(self._own)
                writer.close()
                return True
            await asyncio.sleep(_PAUSE_S)
        return False

    async def _answer_serve(self) -> None:
        Path(self._socket).unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._command, self._socket)
        os.chmod(self._socket, 0o600)

    async def _command(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand one command on and its answer back."""
        try:
            asked = await reader.readline()
            answers, asking = await self._child_socket()
            asking.write(asked)
            await asking.drain()
            answer = await answers.read()
            asking.close()
            if b"show info" in asked:
                answer = re.sub(rb"(?m)^Pid: \d+", b"Pid: %d" % os.getpid(), answer)
            writer.write(answer)
            await writer.drain()
        except OSError:
            pass  # the child does not come up: no answer, as from a HAProxy that is away
        finally:
            writer.close()

    async def _child_socket(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the child, which may be coming up again."""
        deadline = asyncio.get_running_loop().time() + _COMMAND_S
        while True:
            try:
                return await asyncio.open_unix_connection(self._own)
            except OSError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(_PAUSE_S)

    def _end_former(self) -> None:
        for keeper in self._former:
            with suppress(OSError):
                os.kill(keeper, signal.SIGUSR1)

    def _pass_on(self, each: signal.Signals) -> None:
        self._ending = self._ending or each != signal.SIGTTOU
        if self._child is not None and self._child.returncode is None:
            with suppress(OSError):
                self._child.send_signal(each)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(asyncio.run(Keeper(sys.argv[1], sys.argv[2:]).run()))
