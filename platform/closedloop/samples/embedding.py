"""Static token embeddings: meaning that a few hundred labels cannot teach.

A static embedding is a table, one row a token, learned once on a large corpus; a text is the
mean of its tokens' rows. It needs no network, no graph engine and no training. The table comes
from the ``wordllama`` package (256 dimensions, 16-bit floats, 16 MB, MIT licence), whose wheel
carries the weights; only its files are read, none of its code runs.

The table is good for English and partly so for other Latin scripts. A text of another script
decomposes into single characters and raw bytes, which carry little; :func:`coverage` says how
much of a corpus the table knows, so that the caller can leave it out.

References
----------
Miller, L. (2024). WordLlama: recycled token embeddings from large language models.
Arora, S., Liang, Y., Ma, T. (2017). A simple but tough-to-beat baseline for sentence embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from closedloop.core.errors import EngineError

EMBEDDING_NAME = "wordllama-l2-supercat-256"
_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class StaticEmbedding:
    """A tokenizer with one vector a token; share the one of :func:`load_embedding`."""

    tokenizer: Any
    table: npt.NDArray[np.float32]  # (tokens, dimensions)
    weak: npt.NDArray[np.bool_]  # (tokens,) byte pieces, which stand for unknown characters

    @property
    def dimensions(self) -> int:
        """Length of a text's vector."""
        return int(self.table.shape[1])

    def counts(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Count each text's tokens: (texts, tokens)."""
        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        indptr = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(encoding.ids) for encoding in encodings], out=indptr[1:])
        indices = np.asarray([i for encoding in encodings for i in encoding.ids], dtype=np.int64)
        matrix = sp.csr_matrix(
            (np.ones(len(indices), dtype=np.float32), indices, indptr),
            shape=(len(texts), len(self.table)),
        )
        matrix.sum_duplicates()
        return matrix

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Mean token vector of each text, at unit length (an empty text is all zeros).

        Returns
        -------
        ndarray of float32, shape (len(texts), dimensions)
        """
        means = self.counts(texts) @ self.table
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        return np.asarray(means / np.maximum(norms, 1e-9), dtype=np.float32)

    def coverage(self, texts: Sequence[str]) -> float:
        """Share of the texts' characters that belong to whole known pieces, in [0, 1].

        A Latin word is one or two pieces of several characters; a Chinese character is one
        piece of one character, or three of raw bytes.
        """
        characters = sum(len(text) for text in texts)
        totals = np.asarray(self.counts(texts).sum(axis=0)).ravel()
        pieces = float(totals.sum())
        if not characters or not pieces:
            return 0.0
        strong = float(totals[~self.weak].sum()) / pieces
        return strong * min(1.0, (characters / pieces - 1.0) / 2.0 if characters > pieces else 0.0)


@lru_cache(maxsize=1)
def load_embedding() -> StaticEmbedding:
    """Read the table of the installed ``wordllama`` package, once a process (0.3 s, 33 MB).

    Raises
    ------
    EngineError
        When the package is missing or its files are damaged.
    """
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    # find_spec looks the package up without running it: only its two data files are wanted.
    package = find_spec("wordllama")
    try:
        if package is None or not package.submodule_search_locations:
            raise FileNotFoundError("the package wordllama is not installed")
        root = Path(package.submodule_search_locations[0])
        tokenizer = Tokenizer.from_file(str(root / _TOKENIZER))
        tensors = load_file(str(root / _WEIGHTS))
    except Exception as error:
        raise EngineError(
            f"The static embedding {EMBEDDING_NAME} cannot be read: {error}",
            remedy="Install the wordllama package with the platform (make setup).",
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    (table,) = tensors.values()
    weak = np.zeros(len(table), dtype=bool)
    for piece, index in tokenizer.get_vocab().items():
        if index < len(weak) and piece.startswith("<0x"):
            weak[index] = True
    return StaticEmbedding(tokenizer=tokenizer, table=table.astype(np.float32), weak=weak)
