"""The pseudonyms of users, and the keys that make them.

A user's identity is never stored, only a keyed hash of it. A key that may have leaked is *rotated*:
a new generation is laid over the old one, as a chain

    generation 0   p0 = H(key0, tenant ‖ user)
    generation n   pn = H(keyn, tenant ‖ p(n-1))

so that what is stored can be carried over without knowing the users (pn needs p(n-1) only), and
equal users stay equal: distinct counts go on. A pseudonym says its generation (``NAME.1``), which
makes carrying over idempotent. Whoever holds an old list of pseudonyms, or the old keys, cannot
compute the new ones.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from closedloop.core.errors import EngineError, InputError
from closedloop.core.privacy import names_a_person

KEY_FILE = "pseudonym.key"
_KEY_BYTES = 64
_NEW_KEY_BYTES = 32
_REFRESH_S = 1.0


def pseudonym(user_id: str, *, tenant: str, key: bytes) -> str:
    """Return the name under which a tenant's user is stored, by one key.

    The same user of the same tenant has the same pseudonym under the same key; without the key
    nobody can compute one, not even from a list of all users. Keyed BLAKE2b (RFC 7693).

    Parameters
    ----------
    user_id : str
        The user's identity at the tenant.
    tenant : str
        The tenant; equal identities at two tenants are two people.
    key : bytes
        The platform's secret, 1 to 64 bytes.

    Returns
    -------
    str
        22 characters of URL-safe base64 (128 bits).

    Raises
    ------
    InputError
        The key is empty or too long.

    Examples
    --------
    >>> len(pseudonym("u1", tenant="bazaar", key=b"secret"))
    22
    """
    if not 0 < len(key) <= _KEY_BYTES:
        raise InputError(
            f"The pseudonym key has {len(key)} bytes.",
            remedy=f"Give a secret key of 1 to {_KEY_BYTES} bytes.",
        )
    scope = tenant.encode()
    # The length keeps ("ab", "c") and ("a", "bc") apart. A lone surrogate, which broken clients
    # send, has no UTF-8 of its own.
    message = len(scope).to_bytes(4, "big") + scope + user_id.encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(blake2b(message, key=key, digest_size=16).digest())[:22].decode()


def generation_of(name: str) -> int:
    """Return the key generation that a pseudonym was made by.

    Examples
    --------
    >>> generation_of("F7mPpJcYv0aT1q2w3e4r5t"), generation_of("F7mPpJcYv0aT1q2w3e4r5t.3")
    (0, 3)
    """
    _, dot, number = name.rpartition(".")
    return int(number) if dot and number.isdigit() else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyChain:
    """The secrets of an installation: the first key, and what was laid over it a tenant."""

    first: bytes = field(repr=False)
    later: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)

    def generation(self, tenant: str) -> int:
        """Return the newest key generation of a tenant; 0 for one that never rotated."""
        return len(self.later.get(tenant, ()))

    def pseudonym(self, user_id: str, *, tenant: str) -> str:
        """Return the name under which a tenant's user is stored, by its newest key.

        Examples
        --------
        >>> chain = KeyChain(first=b"secret")
        >>> name = chain.pseudonym("u1", tenant="bazaar")
        >>> chain.rotated("bazaar").renew(name, tenant="bazaar").endswith(".1")
        True
        """
        return self.renew(pseudonym(user_id, tenant=tenant, key=self.first), tenant=tenant)

    def renew(self, name: str, *, tenant: str) -> str:
        """Carry a stored pseudonym over to the tenant's newest key; a new one stays as it is."""
        keys = self.later.get(tenant, ())
        for number in range(generation_of(name), len(keys)):
            name = f"{pseudonym(name, tenant=tenant, key=keys[number])}.{number + 1}"
        return name

    def rotated(self, tenant: str) -> KeyChain:
        """Return a chain with one more key for a tenant, at random."""
        keys = (*self.later.get(tenant, ()), secrets.token_bytes(_NEW_KEY_BYTES))
        return KeyChain(first=self.first, later={**self.later, tenant: keys})


class Pseudonyms:
    """Gives pseudonyms by the newest keys of a file, also while it is rotated.

    Picklable, so that Ray can send one to a replica: where the file is not mounted, the keys
    that came along serve on.

    Parameters
    ----------
    chain : KeyChain
        The keys to begin with.
    path : Path, optional
        The file that they came from, looked at once a second for a rotation.

    Examples
    --------
    >>> names = Pseudonyms(KeyChain(first=b"secret"))
    >>> names.of("u1", tenant="bazaar") == names.of("u1", tenant="bazaar")
    True
    """

    def __init__(self, chain: KeyChain, *, path: Path | None = None) -> None:
        self._chain = chain
        self._path = path
        self._stamp = _stamp(path)
        self._looked_s = time.monotonic()

    @property
    def chain(self) -> KeyChain:
        """The newest keys."""
        now_s = time.monotonic()
        # Another machine's clock, after unpickling, may be behind.
        if self._path is not None and not 0 <= now_s - self._looked_s < _REFRESH_S:
            self._looked_s = now_s
            stamp = _stamp(self._path)
            if stamp is not None and stamp != self._stamp:
                self._chain, self._stamp = _read(self._path), stamp
        return self._chain

    def of(self, user_id: str, *, tenant: str) -> str:
        """Return the pseudonym of a tenant's user."""
        return self.chain.pseudonym(user_id, tenant=tenant)

    def of_dialogue(self, dialogue_id: str | None, *, tenant: str) -> str | None:
        """Return a dialogue's id; a pseudonym where the id is the user's number or address."""
        if dialogue_id is None or not names_a_person(dialogue_id):
            return dialogue_id
        return self.of(dialogue_id, tenant=tenant)

    def renew(self, name: str, *, tenant: str) -> str:
        """Carry a stored pseudonym over to the newest key."""
        return self.chain.renew(name, tenant=tenant)


def load_pseudonyms(root: Path) -> Pseudonyms:
    """Return the pseudonyms of an installation; the first call makes its key.

    Parameters
    ----------
    root : Path
        The installation's folder; the key file in it has mode 0600.

    Raises
    ------
    EngineError
        The key file cannot be made or read.
    """
    path = root / KEY_FILE
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write(path, KeyChain(first=secrets.token_bytes(_NEW_KEY_BYTES)), replace=False)
    except OSError as error:
        raise _unusable(path, str(error.strerror)) from error
    return Pseudonyms(_read(path), path=path)


def rotate_key(root: Path, tenant: str) -> int:
    """Lay a new key over the old ones of a tenant and return its generation.

    What is stored under older generations is carried over by `closedloop.data.rekey`.

    Raises
    ------
    InputError
        The tenant has no name.
    EngineError
        The key file cannot be replaced; the old one is whole then.
    """
    if not tenant.strip():
        raise InputError("A key is rotated for one tenant.", remedy="Give --tenant NAME.")
    load_pseudonyms(root)
    path = root / KEY_FILE
    try:
        # Of two rotations at once neither may lose the other's key.
        with (root / f".{KEY_FILE}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            chain = _read(path).rotated(tenant)
            _write(path, chain, replace=True)
    except OSError as error:
        raise _unusable(path, str(error.strerror)) from error
    return chain.generation(tenant)


def _write(path: Path, chain: KeyChain, *, replace: bool) -> None:
    """Put a whole file in place, or none: a rename and a link are atomic."""
    content = {
        "first": chain.first.hex(),
        "later": {tenant: [key.hex() for key in keys] for tenant, keys in chain.later.items()},
    }
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(draft, path)
        else:
            with suppress(FileExistsError):  # another process was first: its key stands
                os.link(draft, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)


def _read(path: Path) -> KeyChain:
    try:
        text = path.read_text(encoding="utf-8").strip()
        if not text.startswith("{"):  # one bare key, as the first release wrote it
            return KeyChain(first=_key(text))
        content = json.loads(text)
        later = {t: tuple(_key(k) for k in keys) for t, keys in content["later"].items()}
        return KeyChain(first=_key(content["first"]), later=later)
    except OSError as error:
        raise _unusable(path, str(error.strerror)) from error
    except (ValueError, KeyError, AttributeError, TypeError):
        # The cause may quote the content, which is secret.
        raise _unusable(path, "it is not a key file") from None


def _key(text: str) -> bytes:
    key = bytes.fromhex(text)
    if not 0 < len(key) <= _KEY_BYTES:
        raise ValueError("no key")
    return key


def _stamp(path: Path | None) -> tuple[int, int] | None:
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns) if found else None


def _unusable(path: Path, reason: str) -> EngineError:
    return EngineError(
        f"The key file {path} of pseudonyms cannot be used: {reason}.",
        remedy="Put it back from a backup, readable by this user only; without it users cannot be"
        " recognised again.",
    )
