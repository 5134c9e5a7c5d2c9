"""Model files: written and read with skops, never with pickle.

A file holds a plain tree of dictionaries, lists, numbers, strings and arrays. Reading checks, in
this order and before anything is built: that the file's SHA-256 is the recorded one, and that
every node of its schema is of a kind on this module's own allow-list. skops has a list of its
own; two of its holes (CVE-2025-54412, CVE-2025-54886) are why that list alone is not enough.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from closedloop.core.errors import InputError, NotFound
from closedloop.core.files import written_whole
from closedloop.models.text_classifier import TextClassifier

# (loader, module, class) of every node that a model file may hold.
_ALLOWED_NODES = frozenset(
    {
        ("DictNode", "builtins", "dict"),
        ("ListNode", "builtins", "list"),
        ("TypeNode", "builtins", "str"),  # the type of a dictionary's keys, not a value
        ("JsonNode", "builtins", "str"),
        ("JsonNode", "builtins", "int"),
        ("JsonNode", "builtins", "float"),
        ("JsonNode", "builtins", "bool"),
        ("NdArrayNode", "numpy", "ndarray"),
    }
)
_CHUNK_BYTES = 1 << 20
_MAX_SCHEMA_BYTES = 64 << 20


def save(model: TextClassifier, path: Path) -> str:
    """Write a model; the file appears whole or not at all.

    Returns
    -------
    str
        SHA-256 of the file, for the registry.

    Raises
    ------
    EngineError
        When the file cannot be written.
    """
    import skops.io

    with written_whole(path, what="model") as file:
        skops.io.dump(model.state(), file, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
        return sha256_of(file)


def load(path: Path, sha256: str) -> TextClassifier:
    """Read a model after checking its hash and its contents.

    Parameters
    ----------
    path : Path
    sha256 : str
        Hexadecimal hash that the registry recorded.

    Raises
    ------
    NotFound
        When there is no such file.
    InputError
        When the hash differs, or the file holds anything but plain data.
    """
    import skops.io

    if not path.is_file():
        raise NotFound(f"There is no model file {path}.", remedy="Release the version again.")
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256.lower():
        raise InputError(
            f"The model file {path} has SHA-256 {digest}, the registry recorded {sha256}.",
            remedy="The file was changed after training: do not use it, train again.",
        )
    # What was hashed is what is read: the bytes, not the path a second time.
    _refuse_foreign_nodes(data, path)
    try:
        state = skops.io.loads(data, trusted=[])
    except Exception as error:
        raise InputError(
            f"The model file {path} cannot be read: {error}.", remedy="Train the model again."
        ) from error
    return TextClassifier.from_state(state)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _refuse_foreign_nodes(data: bytes, path: Path) -> None:
    import io

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.getinfo("schema.json").file_size > _MAX_SCHEMA_BYTES:
                raise ValueError("its schema is larger than any model's")
            schema = json.loads(archive.read("schema.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InputError(
            f"The file {path} is not a model file: {error}.", remedy="Train the model again."
        ) from error
    foreign = sorted(
        {
            f"{module}.{name} ({loader})"
            for loader, module, name in _nodes(schema)
            if (loader, module, name) not in _ALLOWED_NODES
        }
    )
    if foreign:
        raise InputError(
            f"The model file {path} holds types that a model has no use for: {', '.join(foreign)}.",
            remedy="Do not use this file; train the model again.",
        )


def _nodes(value: Any) -> Iterator[tuple[str, str, str]]:
    """Walk a schema: every object that names a loader, at any depth."""
    if isinstance(value, dict):
        if "__loader__" in value:
            yield (
                str(value["__loader__"]),
                str(value.get("__module__")),
                str(value.get("__class__")),
            )
        for child in value.values():
            yield from _nodes(child)
    elif isinstance(value, list):
        for child in value:
            yield from _nodes(child)
