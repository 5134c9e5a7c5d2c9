"""Dictionaries: a number for each value of a dimension, and for each user, that never changes.

They only grow, so that segments of different days and ages agree on their numbers. Code 0 is
null. Users are known by a 64-bit hash of their pseudonym: among two million users the chance
that any two share one is about 1 in 10 million.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from closedloop.data.cube.declaration import CubeDeclaration

USERS = "users.npy"


class Dictionary:
    """The values of one dimension; the code of a value is its place, from 1."""

    def __init__(self, values: pl.Series) -> None:
        self.values = values

    def __len__(self) -> int:
        """Return one past the highest code."""
        return len(self.values) + 1

    def encode(self, values: pl.Series) -> npt.NDArray[np.uint32]:
        """Return the code of each value; 0 for null and for what the dictionary lacks."""
        known = pl.DataFrame(
            {
                "value": self.values,
                "code": np.arange(1, len(self), dtype=np.uint32),
            }
        )
        joined = (
            values.cast(self.values.dtype)
            .alias("value")
            .to_frame()
            .join(known, on="value", how="left", maintain_order="left")
        )
        return joined["code"].fill_null(0).to_numpy().astype(np.uint32)

    def decode(self, codes: npt.NDArray[Any]) -> pl.Series:
        """Return the value of each code."""
        places = pl.Series(codes.astype(np.int64) - 1)
        return self.values.gather(places.set(places < 0, None))

    def grown(self, values: pl.Series) -> Dictionary:
        """Return a dictionary that knows these values too."""
        fresh = values.drop_nulls().unique().sort()
        fresh = fresh.filter(~fresh.is_in(self.values.implode()))
        return Dictionary(self.values.append(fresh)) if len(fresh) else self


class Dictionaries:
    """Every dictionary of a cube, in a folder."""

    def __init__(self, folder: Path, declaration: CubeDeclaration) -> None:
        self._folder = folder
        self.of: dict[str, Dictionary] = {}
        for dimension in declaration.dimensions:
            path = folder / f"{dimension.name}.parquet"
            empty = pl.Series("value", [], dtype=value_type(dimension.column))
            values = pl.read_parquet(path)["value"] if path.exists() else empty
            self.of[dimension.name] = Dictionary(values)
        hours = pl.Series("value", range(24), dtype=pl.Int64)
        self.of["hour"] = Dictionary(hours)
        users = folder / USERS
        self.users: npt.NDArray[np.uint64] = (
            np.load(users) if users.exists() else np.zeros(0, dtype=np.uint64)
        )

    def take_in(self, surveys: Iterable[Path]) -> None:
        """Add what surveys of days found (see refresh.py), and put the files in place."""
        self._folder.mkdir(parents=True, exist_ok=True)
        folders = list(surveys)
        for name, known in list(self.of.items()):
            if name == "hour":
                continue
            parts = [pl.read_parquet(folder / f"{name}.parquet")["value"] for folder in folders]
            dtype = known.values.dtype
            grown = known.grown(pl.concat([known.values.clear(), *(p.cast(dtype) for p in parts)]))
            if grown is not known:
                self.of[name] = grown
                _replace(
                    self._folder / f"{name}.parquet",
                    lambda path, grown=grown: (
                        grown.values.alias("value").to_frame().write_parquet(path)
                    ),
                )
        found = [np.load(folder / USERS) for folder in folders]
        fresh = np.setdiff1d(np.concatenate([self.users[:0], *found]), self.users)
        if len(fresh):
            self.users = np.concatenate([self.users, fresh])
            _replace(self._folder / USERS, lambda path: _save(path, self.users))

    def user_numbers(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
        """Return hashes in order and the number of each, for :func:`number_users`."""
        order = np.argsort(self.users)
        return self.users[order], order.astype(np.uint32)


def value_type(column: str) -> pl.DataType:
    """Return the type of a dimension's values."""
    return pl.Int64() if column in ("model_version", "turn") else pl.String()


def hash_users(user_ids: pl.Series) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash (BLAKE2b) of each user id."""
    digests = b"".join(
        hashlib.blake2b(user.encode(), digest_size=8).digest() for user in user_ids.to_list()
    )
    return np.frombuffer(digests, dtype=np.uint64)


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def _replace(path: Path, write: Any) -> None:
    """Write a file beside its place and move it in, so that readers see all of it or none."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    write(aside)
    os.replace(aside, path)
