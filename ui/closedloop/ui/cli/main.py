"""The ``closedloop`` command.

Each command imports what it needs when it runs, so that ``closedloop --help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys

import typer

from closedloop.core.errors import ClosedLoopError
from closedloop.ui.cli import (
    alerts,
    audit,
    cube,
    data,
    dead_letters,
    defence,
    etl,
    events,
    lake,
    models,
    people,
    platform,
    privacy,
    rule_retirement,
    rule_trying,
    rules,
    slices,
    trials,
    workflows,
)

app = typer.Typer(
    name="closedloop",
    help="A self-hosted closed-loop AI platform for conversational assistants.\n\n"
    "Example: closedloop run cold-start --logs chats.csv --map text=message",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(workflows.demo)
app.add_typer(workflows.run, name="run")
app.command()(platform.up)
app.command()(platform.down)
app.command()(platform.status)
app.command()(platform.env)
app.command()(data.ingest)
app.command()(data.simulate)
app.add_typer(etl.etl, name="etl")
app.add_typer(events.events, name="events")
app.add_typer(cube.cube, name="cube")
app.command()(cube.query)
app.add_typer(slices.slices, name="slices")
app.add_typer(trials.models, name="models")
app.add_typer(models.queue, name="queue")
app.add_typer(defence.defence, name="defence")
app.add_typer(rules.rules, name="rules")
rules.rules.command("suggest")(rule_trying.suggest)
rules.rules.command("preview")(rule_trying.preview)
rules.rules.command("proposals")(rule_retirement.proposals)
app.add_typer(alerts.alerts, name="alerts")
app.add_typer(privacy.privacy, name="privacy")
app.add_typer(lake.lake, name="lake")
app.add_typer(dead_letters.dead_letters, name="dead-letters")
app.add_typer(people.users, name="users")
app.add_typer(people.keys, name="keys")
app.add_typer(audit.audit, name="audit")


def main() -> None:
    """Run the command; an expected error becomes one message and its exit code."""
    # A polite kill ends engines in order, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except ClosedLoopError as error:
        _say(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)


def _say(error: ClosedLoopError) -> None:
    print(f"error: {error.message}", file=sys.stderr)
    if error.remedy:
        print(f"  try: {error.remedy}", file=sys.stderr)


if __name__ == "__main__":
    main()
