"""Who may do what: people with a password and a role, client apps with an API key.

Passwords are hashed with Argon2id; `closedloop.core.api_key` says what a key is. Every change here
leaves an entry in the audit trail, in the same transaction.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from closedloop.core import schema
from closedloop.core.api_key import ApiKey
from closedloop.core.api_keys import ApiKeys
from closedloop.core.errors import Conflict, InputError, NotAllowed, NotFound

__all__ = ["ApiKey", "Identities", "Role", "User"]

_MIN_PASSWORD_CHARS = 8


class Role(StrEnum):
    """What a person may do in the app."""

    ANNOTATOR = "annotator"
    ENGINEER = "engineer"
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """A person who logs in to the app."""

    name: str
    role: Role
    disabled: bool = False


class Identities(ApiKeys):
    """Users and API keys in the metadata store."""

    def add_user(self, name: str, password: str, role: Role = Role.ANNOTATOR) -> User:
        """Create a person.

        Raises
        ------
        InputError
            The name is empty or the password is shorter than 8 characters.
        Conflict
            The name is taken.
        """
        from argon2 import PasswordHasher

        name = name.strip()
        if not name or len(name) > 120:
            raise InputError(
                f"A user name of {len(name)} characters cannot be used.",
                remedy="Give a name of 1 to 120 characters.",
            )
        if len(password) < _MIN_PASSWORD_CHARS:
            raise InputError(
                f"The password for {name!r} is too short.",
                remedy=f"Give one of at least {_MIN_PASSWORD_CHARS} characters.",
            )
        row = {
            "name": name,
            "role": role.value,
            "password_hash": PasswordHasher().hash(password),
            "created_at": time.time(),
            "disabled": False,
        }
        try:
            with self._store.write() as connection:
                connection.execute(sa.insert(schema.user).values(row))
                self._record(connection, "users.add", name, role=role.value)
        except sa.exc.IntegrityError as error:
            raise Conflict(
                f"There is a user named {name!r} already.",
                remedy="Choose another name, or change that user's password.",
            ) from error
        return User(name=name, role=role)

    def set_password(self, name: str, password: str) -> None:
        """Replace a person's password."""
        from argon2 import PasswordHasher

        if len(password) < _MIN_PASSWORD_CHARS:
            raise InputError(
                f"The password for {name!r} is too short.",
                remedy=f"Give one of at least {_MIN_PASSWORD_CHARS} characters.",
            )
        self._change(name, "users.password", password_hash=PasswordHasher().hash(password))

    def set_disabled(self, name: str, disabled: bool) -> None:
        """Keep a person from logging in, or let them again."""
        self._change(name, "users.disable" if disabled else "users.enable", disabled=disabled)

    def log_in(self, name: str, password: str) -> User:
        """Return the person whose name and password these are.

        Raises
        ------
        NotAllowed
            Unknown name, wrong password or disabled account; the message does not tell which.
        """
        from argon2 import PasswordHasher
        from argon2.exceptions import VerificationError

        with self._store.read() as connection:
            row = connection.execute(
                sa.select(schema.user).where(schema.user.c.name == name.strip())
            ).one_or_none()
        # An unknown name costs as much time as a wrong password.
        stored = row.password_hash if row else PasswordHasher().hash(secrets.token_hex())
        try:
            PasswordHasher().verify(stored, password)
        except VerificationError:
            row = None
        if row is None or row.disabled:
            raise NotAllowed(
                "The name or the password is wrong.",
                remedy="Try again, or ask an administrator to reset it.",
            )
        return User(name=row.name, role=Role(row.role), disabled=row.disabled)

    def users(self) -> list[User]:
        """Return everybody, by name."""
        with self._store.read() as connection:
            rows = connection.execute(sa.select(schema.user).order_by(schema.user.c.name)).all()
        return [User(name=r.name, role=Role(r.role), disabled=r.disabled) for r in rows]

    def _change(self, name: str, action: str, **values: object) -> None:
        with self._store.write() as connection:
            changed = connection.execute(
                sa.update(schema.user).where(schema.user.c.name == name).values(values)
            ).rowcount
            if not changed:
                raise NotFound(
                    f"There is no user named {name!r}.", remedy="See 'closedloop users list'."
                )
            self._record(connection, action, name)
