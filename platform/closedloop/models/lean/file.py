"""Lean models in files that are mapped, not read: opening one takes a millisecond.

The format is safetensors: a header of JSON, then the arrays as they lie in memory. Processes of
one machine that open the same file share its pages, and a model that is let go of costs nothing
to open again. What is no array (classes, analysers) stands in the header's metadata.

A file is written whole under another name and renamed; nothing ever changes one in its place.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from closedloop.core.errors import EngineError, InputError, NotFound
from closedloop.core.files import written_whole
from closedloop.models.lean.analysis import Analyser, Grams, Preparation, Words
from closedloop.models.lean.model import LeanModel, Link, Semantic
from closedloop.models.lean.surface import Surface

FORMAT = 1
_MAX_HEADER_BYTES = 16 << 20
_DTYPES = {"U64": np.uint64, "F32": np.float32, "F64": np.float64}
_ANALYSERS: dict[str, type[Words] | type[Grams]] = {"words": Words, "grams": Grams}

_Array = npt.NDArray[Any]


def save_lean(model: LeanModel, path: Path) -> str:
    """Write a model; the file appears whole or not at all.

    Returns
    -------
    str
        SHA-256 of the file, for the registry.

    Raises
    ------
    EngineError
        The file cannot be written.
    """
    from safetensors.numpy import save

    arrays, described = _taken_apart(model)
    content = save(arrays, metadata={"closedloop": json.dumps(described, ensure_ascii=False)})
    with written_whole(path, what="model") as file:
        file.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load_lean(path: Path, sha256: str) -> LeanModel:
    """Map a model after checking its hash.

    Parameters
    ----------
    sha256 : str
        Hexadecimal hash that the registry recorded.

    Raises
    ------
    NotFound
        There is no such file.
    InputError
        The hash differs, or the file is no model of this release.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise NotFound(f"There is no model file {path}.", remedy="Release it again.") from error
    except ValueError as error:
        raise InputError(f"The model file {path} is empty.", remedy="Release it again.") from error
    except OSError as error:
        raise EngineError(
            f"The model file {path} cannot be read: {error}.", remedy="Check its permissions."
        ) from error
    digest = hashlib.sha256(mapped).hexdigest()
    if digest != sha256.lower():
        raise InputError(
            f"The model file {path} has SHA-256 {digest}, the registry recorded {sha256}.",
            remedy="The file was changed after training: do not use it, train again.",
        )
    try:
        return _put_together(*_parsed(mapped))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"The model file {path} cannot be used: {error}.",
            remedy="Release the version again with this release of closedloop.",
        ) from error


def _parsed(mapped: mmap.mmap) -> tuple[dict[str, _Array], dict[str, Any]]:
    size = int.from_bytes(mapped[:8], "little")
    if not 0 < size <= min(_MAX_HEADER_BYTES, len(mapped) - 8):
        raise ValueError("it has no header")
    header = json.loads(mapped[8 : 8 + size])
    described = json.loads(header.pop("__metadata__")["closedloop"])
    arrays: dict[str, _Array] = {}
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        dtype = np.dtype(_DTYPES[tensor["dtype"]])
        # frombuffer refuses what lies outside the file, reshape what does not fit the shape.
        flat = np.frombuffer(mapped, dtype, (end - begin) // dtype.itemsize, 8 + size + begin)
        arrays[name] = flat.reshape(tensor["shape"])
    return arrays, described


def _taken_apart(model: LeanModel) -> tuple[dict[str, _Array], dict[str, Any]]:
    arrays: dict[str, _Array] = {"bias": model.bias}
    if model.latent is not None:
        arrays["latent"] = model.latent
    if model.semantic is not None:
        arrays["semantic.centre"] = model.semantic.centre
        arrays["semantic.planes"] = model.semantic.planes
    for i, surface in enumerate(model.surfaces):
        arrays[f"{i}.hashes"] = surface.hashes
        arrays[f"{i}.idf"] = surface.idf
        arrays[f"{i}.planes"] = surface.planes
        if surface.directions is not None:
            arrays[f"{i}.directions"] = surface.directions
    described = {
        "format": FORMAT,
        "classes": model.classes,
        "link": model.link,
        "temperature": model.temperature,
        "surfaces": [
            {
                "preparation": surface.preparation,
                "analyser": _described(surface.analyser),
                "sublinear": surface.sublinear,
                "binary": surface.binary,
                "norm": surface.norm,
            }
            for surface in model.surfaces
        ],
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, described


def _put_together(arrays: dict[str, _Array], described: dict[str, Any]) -> LeanModel:
    if described["format"] != FORMAT:
        raise ValueError(f"its format is {described['format']}, this release reads {FORMAT}")
    classes = tuple(described["classes"])
    surfaces = tuple(
        Surface(
            preparation=Preparation(surface["preparation"]),
            analyser=_analyser(surface["analyser"]),
            hashes=arrays[f"{i}.hashes"],
            idf=arrays[f"{i}.idf"],
            planes=arrays[f"{i}.planes"],
            directions=arrays.get(f"{i}.directions"),
            sublinear=surface["sublinear"],
            binary=surface["binary"],
            norm=surface["norm"],
        )
        for i, surface in enumerate(described["surfaces"])
    )
    semantic = None
    if "semantic.planes" in arrays:
        semantic = Semantic(centre=arrays["semantic.centre"], planes=arrays["semantic.planes"])
    for surface in surfaces:
        expected = (len(surface.hashes), len(classes))
        if surface.planes.shape != expected or surface.idf.shape != expected[:1]:
            raise ValueError("its arrays do not fit each other")
    return LeanModel(
        classes=classes,
        bias=arrays["bias"],
        surfaces=surfaces,
        link=Link(described["link"]),
        temperature=float(described["temperature"]),
        latent=arrays.get("latent"),
        semantic=semantic,
    )


def _described(analyser: Analyser) -> dict[str, Any]:
    if isinstance(analyser, Words):
        return {"kind": "words", **asdict(analyser), "stop": sorted(analyser.stop)}
    return {"kind": "grams", **asdict(analyser)}


def _analyser(described: dict[str, Any]) -> Analyser:
    fields = dict(described)
    kind = _ANALYSERS[fields.pop("kind")]
    if kind is Words:
        fields["stop"] = frozenset(fields["stop"])
    return kind(**fields)
