"""``closedloop events``: how the event log stands, and how long it keeps events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

events = typer.Typer(help="The event log.", no_args_is_help=True)

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@events.callback()
def _group() -> None:
    """Keep ``retain`` a command of its own, though it is the only one."""


@events.command("retain")
def retain(
    older_than: Annotated[
        str | None, typer.Option(help="Age of the events that go, like 30d or 12h.")
    ] = None,
    max_bytes: Annotated[
        str | None, typer.Option(help="Size that the log gets below, like 10GB.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.")
    ] = None,
) -> None:
    """Remove old events from the event log; the lake keeps what it has.

    The embedded log never removes an event that a consumer, such as the lake, has yet to read,
    whatever its age and the log's size. On Kafka this sets the topic's retention.ms and
    retention.bytes; the brokers remove events by themselves then, and do not wait for consumers.

    Example: closedloop events retain --older-than 30d --max-bytes 10GB
    """
    from dataclasses import asdict

    from rich.filesize import decimal

    from closedloop.core.durations import duration
    from closedloop.core.errors import InputError
    from closedloop.core.settings import Settings
    from closedloop.data.event_log.opening import open_event_log
    from closedloop.data.event_log.protocol import Retention
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    if older_than is None and max_bytes is None:
        raise InputError(
            "Nothing says what should go.", remedy="Give --older-than, --max-bytes or both."
        )
    wanted = Retention(
        older_than_s=None if older_than is None else duration(older_than).total_seconds(),
        max_bytes=None if max_bytes is None else _size_bytes(max_bytes),
    )
    log = open_event_log(Settings().event_log_url)
    try:
        with console.status("removing old events"):
            done = log.retain(wanted)
    finally:
        log.close()
    write_json(json_file, asdict(done))
    if done.left_to:
        console.print(
            f"{done.left_to} removes old events by itself from now on ({done.kept:,} there now)."
            " It does not wait for consumers: run 'closedloop ingest' or 'closedloop etl run'"
            " well within that age.",
            soft_wrap=True,
        )
        return
    console.print(
        f"{done.removed:,} events went, {done.kept:,} stay"
        f" ({decimal(done.bytes_before)} → {decimal(done.bytes_after)})",
        soft_wrap=True,
    )
    if done.held_back_by:
        console.print(
            f"More would go, but {', '.join(done.held_back_by)} has yet to read it.",
            soft_wrap=True,
        )
    elif done.kept and not done.removed:
        console.print("Nothing is old or large enough, or no consumer has read it yet.")


def _size_bytes(text: str) -> int:
    """Return the bytes of ``10GB``; units are powers of ten."""
    from closedloop.core.errors import InputError

    number = text.strip().upper().rstrip("BKMGT")
    unit = text.strip().upper()[len(number) :]
    try:
        size = int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        size = 0
    if size < 1:
        raise InputError(
            f"--max-bytes {text!r} is no size.", remedy="Write it like 500MB, 10GB or 2TB."
        )
    return size
