"""``closedloop users`` and ``closedloop keys``: who may log in, and which apps may ask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

users = typer.Typer(help="People who log in to the app.", no_args_is_help=True)
keys = typer.Typer(help="API keys of client apps.", no_args_is_help=True)


@users.command("add")
def add_user(
    name: Annotated[str, typer.Argument(help="Login name.")],
    role: Annotated[str, typer.Option(help="annotator, engineer or admin.")] = "annotator",
    password: Annotated[
        str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)
    ] = "",
) -> None:
    """Add a person; the password is asked for.

    Example: closedloop users add ann --role annotator
    """
    from closedloop.core.errors import InputError
    from closedloop.core.identity import Role
    from closedloop.ui.console import console

    if role not in list(Role):
        raise InputError(f"There is no role {role!r}.", remedy=f"The roles are {', '.join(Role)}.")
    user = _identities().add_user(name, password, Role(role))
    console.print(f"{user.name} may log in as {user.role}.")


@users.command("password")
def set_password(
    name: Annotated[str, typer.Argument(help="Login name.")],
    password: Annotated[
        str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)
    ] = "",
) -> None:
    """Replace a person's password.

    Example: closedloop users password ann
    """
    from closedloop.ui.console import console

    _identities().set_password(name, password)
    console.print(f"{name} has a new password.")


@users.command("disable")
def disable_user(name: Annotated[str, typer.Argument(help="Login name.")]) -> None:
    """Keep a person from logging in; what they labelled stays.

    Example: closedloop users disable ann
    """
    from closedloop.ui.console import console

    _identities().set_disabled(name, True)
    console.print(f"{name} can log in no more.", markup=False)


@users.command("enable")
def enable_user(name: Annotated[str, typer.Argument(help="Login name.")]) -> None:
    """Let a disabled person log in again.

    Example: closedloop users enable ann
    """
    from closedloop.ui.console import console

    _identities().set_disabled(name, False)
    console.print(f"{name} may log in again.", markup=False)


@users.command("list")
def list_users() -> None:
    """Show everybody who may log in.

    Example: closedloop users list
    """
    from rich.table import Table

    from closedloop.ui.console import console

    found = _identities().users()
    if not found:
        console.print("Nobody yet: closedloop users add NAME")
        return
    table = Table("name", "role", "state")
    for user in found:
        table.add_row(user.name, user.role, "disabled" if user.disabled else "active")
    console.print(table)


@keys.command("add")
def add_key(
    client: Annotated[str, typer.Argument(help="Name of the client app.")],
    tenant: Annotated[str, typer.Option(help="Whose models it may ask; * for all.")] = "*",
    may: Annotated[
        str, typer.Option(help="Of predict, feedback, events, read, metrics; or all.")
    ] = "predict,feedback,events,read",
    models: Annotated[
        str, typer.Option(help="Names or patterns, like shop.intent.*; * for all.")
    ] = "*",
    expires: Annotated[
        str | None, typer.Option(help="How long it stays valid, like 90d; for ever if not given.")
    ] = None,
) -> None:
    """Make a key for a client app and print it, this once.

    Example: closedloop keys add checkout-bot --tenant shop --models shop.intent.* --expires 90d
    """
    from closedloop.ui.console import console

    key, secret = _identities().add_key(
        client,
        tenant=tenant,
        valid_days=_days(expires),
        actions=_words(may),
        models=_words(models),
    )
    console.print(
        f"Key {key.id} of {key.client}; it is not shown again:", soft_wrap=True, markup=False
    )
    print(secret)


@keys.command("rotate")
def rotate_key(
    key_id: Annotated[str, typer.Argument(help="Id from 'keys list'.")],
    grace: Annotated[
        str, typer.Option(help="How long the old secret still works; 0h ends it at once.")
    ] = "24h",
    expires: Annotated[
        str | None, typer.Option(help="A new life from now, like 90d; as before if not given.")
    ] = None,
) -> None:
    """Give a key a new secret and print it, this once; all else about the key stays.

    Example: closedloop keys rotate 4f0c9a7be21d0033 --grace 24h
    """
    from closedloop.core.durations import duration
    from closedloop.ui.console import console

    key, secret = _identities().rotate_key(
        key_id, grace_s=duration(grace).total_seconds(), valid_days=_days(expires)
    )
    until = f"until {_moment(key.former_until)}" if key.former_until else "no more"
    console.print(
        f"Key {key.id} of {key.client} has a new secret; the old one works {until}."
        " It is not shown again:",
        soft_wrap=True,
        markup=False,
    )
    print(secret)


@keys.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="Id from 'keys list'.")]) -> None:
    """Make a key useless from now on.

    Example: closedloop keys revoke 4f0c9a7be21d0033
    """
    from closedloop.ui.console import console

    _identities().revoke_key(key_id)
    console.print(f"Key {key_id} is revoked; replicas drop it within seconds.", markup=False)


@keys.command("list")
def list_keys(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.")
    ] = None,
) -> None:
    """Show every key, what it may do and when it was last used; never its secret.

    Example: closedloop keys list
    """
    import time
    from dataclasses import asdict

    from rich.markup import escape
    from rich.table import Table

    from closedloop.core.api_key import Action
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    found = _identities().keys()
    now = time.time()
    if found:
        table = Table("id", "client", "tenant", "may", "models", "expires", "last used", "state")
        table.columns[0].no_wrap = True
        for key in found:
            every = key.actions == frozenset(Action)
            table.add_row(
                key.id,
                escape(key.client),
                key.tenant,
                "all" if every else ", ".join(each for each in Action if each in key.actions),
                ", ".join(key.models),
                _moment(key.expires_at) if key.expires_at else "never",
                _moment(key.last_used_at) if key.last_used_at else "never",
                key.standing(now),
            )
        console.print(table)
    else:
        console.print("No key yet: closedloop keys add CLIENT")
    write_json(
        json_file,
        {
            "keys": [
                asdict(key) | {"actions": sorted(key.actions), "state": key.standing(now)}
                for key in found
            ]
        },
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _days(text: str | None) -> float | None:
    from datetime import timedelta

    from closedloop.core.durations import duration

    return None if text is None else duration(text) / timedelta(days=1)


def _moment(at: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def _identities():  # type: ignore[no-untyped-def]  # its type would cost the import of SQLAlchemy
    from closedloop.core.identity import Identities
    from closedloop.core.settings import Settings
    from closedloop.core.store import Store

    return Identities(Store.open(Settings().store_url))
