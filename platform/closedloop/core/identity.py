"""Who may do what: people with a password and a role, client apps with an API key.

Passwords are hashed with Argon2id. An API key is ``cl_ID_SECRET``: the id finds the row,
the secret (256 random bits) is kept only as a SHA-256 hash and compared in constant time;
a slow hash would add nothing against guessing 256 bits and would cost every request.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from closedloop.core import schema
from closedloop.core.errors import Conflict, InputError, NotAllowed, NotFound
from closedloop.core.store import Store

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


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A client app's key, without its secret."""

    id: str
    client: str
    tenant: str  # '*' reaches every tenant
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None

    def reaches(self, tenant: str) -> bool:
        """Tell whether this key may ask models of ``tenant``."""
        return self.tenant in ("*", tenant)


class Identities:
    """Users and API keys in the metadata store."""

    def __init__(self, store: Store) -> None:
        self._store = store

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
        with self._store.write() as connection:
            changed = connection.execute(
                sa.update(schema.user)
                .where(schema.user.c.name == name)
                .values(password_hash=PasswordHasher().hash(password))
            ).rowcount
        if not changed:
            raise NotFound(
                f"There is no user named {name!r}.", remedy="See 'closedloop users list'."
            )

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

    def add_key(
        self, client: str, *, tenant: str = "*", valid_days: float | None = None
    ) -> tuple[ApiKey, str]:
        """Create a key; the returned secret string is shown this once and never stored."""
        if not client.strip():
            raise InputError("A key needs the name of its client.", remedy="Give --client NAME.")
        now = time.time()
        key = ApiKey(
            id=secrets.token_hex(8),
            client=client.strip(),
            tenant=tenant,
            created_at=now,
            expires_at=None if valid_days is None else now + valid_days * 86_400,
        )
        secret = secrets.token_urlsafe(32)
        with self._store.write() as connection:
            connection.execute(
                sa.insert(schema.api_key).values(
                    id=key.id,
                    client=key.client,
                    tenant=key.tenant,
                    secret_hash=_digest(secret),
                    created_at=now,
                    expires_at=key.expires_at,
                )
            )
        return key, f"cl_{key.id}_{secret}"

    def revoke_key(self, key_id: str) -> None:
        """Make a key useless from now on."""
        with self._store.write() as connection:
            changed = connection.execute(
                sa.update(schema.api_key)
                .where(schema.api_key.c.id == key_id, schema.api_key.c.revoked_at.is_(None))
                .values(revoked_at=time.time())
            ).rowcount
        if not changed:
            raise NotFound(
                f"There is no valid key with id {key_id!r}.", remedy="See 'closedloop keys list'."
            )

    def check_key(self, presented: str) -> ApiKey:
        """Return the key that a request presents.

        Raises
        ------
        NotAllowed
            The key is malformed, unknown, revoked or expired.
        """
        refusal = NotAllowed(
            "The API key is missing or not valid.",
            remedy="Send 'Authorization: Bearer KEY' with a key from 'closedloop keys add'.",
        )
        prefix, _, rest = presented.partition("_")
        key_id, _, secret = rest.partition("_")
        if prefix != "cl" or not key_id or not secret:
            raise refusal
        with self._store.read() as connection:
            row = connection.execute(
                sa.select(schema.api_key).where(schema.api_key.c.id == key_id)
            ).one_or_none()
        if row is None or not hmac.compare_digest(row.secret_hash, _digest(secret)):
            raise refusal
        expired = row.expires_at is not None and row.expires_at < time.time()
        if row.revoked_at is not None or expired:
            raise NotAllowed(
                f"The API key {row.id} of {row.client!r} was revoked or has expired.",
                remedy="Ask for a new one: 'closedloop keys add'.",
            )
        return _key(row)

    def keys(self) -> list[ApiKey]:
        """Return every key, newest first."""
        order = schema.api_key.c.created_at.desc()
        with self._store.read() as connection:
            return [
                _key(row) for row in connection.execute(sa.select(schema.api_key).order_by(order))
            ]


def _key(row: sa.Row) -> ApiKey:
    return ApiKey(
        id=row.id,
        client=row.client,
        tenant=row.tenant,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
