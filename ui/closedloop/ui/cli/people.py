"""``closedloop users`` and ``closedloop keys``: who may log in, and which apps may ask."""

from __future__ import annotations

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
    days: Annotated[float | None, typer.Option(help="Days it stays valid.")] = None,
) -> None:
    """Make a key for a client app and print it, this once.

    Example: closedloop keys add checkout-bot --tenant shop --days 90
    """
    from closedloop.ui.console import console

    key, secret = _identities().add_key(client, tenant=tenant, valid_days=days)
    console.print(f"Key {key.id} of {key.client}; it is not shown again:", soft_wrap=True)
    print(secret)


@keys.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="Id from 'keys list'.")]) -> None:
    """Make a key useless from now on.

    Example: closedloop keys revoke 4f0c9a7be21d0033
    """
    from closedloop.ui.console import console

    _identities().revoke_key(key_id)
    console.print(f"Key {key_id} is revoked; replicas drop it within seconds.")


@keys.command("list")
def list_keys() -> None:
    """Show every key, without its secret.

    Example: closedloop keys list
    """
    from datetime import UTC, datetime

    from rich.table import Table

    from closedloop.ui.console import console

    found = _identities().keys()
    if not found:
        console.print("No key yet: closedloop keys add CLIENT")
        return
    table = Table("id", "client", "tenant", "expires", "state")
    for key in found:
        expires = datetime.fromtimestamp(key.expires_at, UTC).date() if key.expires_at else "never"
        state = "revoked" if key.revoked_at else "active"
        table.add_row(key.id, key.client, key.tenant, str(expires), state)
    console.print(table)


def _identities():  # type: ignore[no-untyped-def]  # its type would cost the import of SQLAlchemy
    from closedloop.core.identity import Identities
    from closedloop.core.settings import Settings
    from closedloop.core.store import Store

    return Identities(Store.open(Settings().store_url))
