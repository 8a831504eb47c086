"""The stored vectors of the shipped examples of tools.

A declared tool adds its examples to the shipped ones, and a classifier is trained on all of them. Embedding the thousands of shipped
examples would take most of this time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from responsa_server.search.embedder import Vectors

FILE: Final = "vectors.npz"
"""The file's name in the folder of the shipped classifiers. tools/classifiers.py writes it."""

_LEVELS: Final = 127
_DIGEST_BYTES: Final = 8

Row = npt.NDArray[np.int8]


class Vectorizer(Protocol):
    """What training needs of an embedder."""

    @property
    def name(self) -> str:
        """As `Embedder.name`."""
        ...

    @property
    def dimensions(self) -> int:
        """As `Embedder.dimensions`."""
        ...

    def embed_sync(self, texts: Sequence[str]) -> Vectors:
        """As `BlockingEmbedder.embed_sync`."""
        ...


class StoredVectors:
    """A `Vectorizer` that embeds only texts without a stored vector.

    embedder: embeds the other texts. rows: the stored vectors by `digest` of their text. Each number of a vector is rounded to one of 255
    levels, which changes the vector by a cosine of less than .0001.
    """

    def __init__(self, embedder: Vectorizer, rows: Mapping[bytes, Row]) -> None:
        self._embedder = embedder
        self._rows = rows

    @classmethod
    def read(cls, folder: Path, embedder: Vectorizer) -> StoredVectors:
        """The vectors in the folder's file; none if the folder has no file, or the file of another embedder."""
        path = folder / FILE
        if not path.exists():
            return cls(embedder, {})
        with np.load(path, allow_pickle=False) as file:
            if str(file["embedder"]) != embedder.name:
                return cls(embedder, {})
            digests, rows = file["digests"], file["rows"]
        return cls(embedder, {one.tobytes(): row for one, row in zip(digests, rows, strict=True)})

    @property
    def name(self) -> str:
        """The name of the embedder."""
        return self._embedder.name

    @property
    def dimensions(self) -> int:
        """The dimensions of the embedder."""
        return self._embedder.dimensions

    def embed_sync(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, in the same order: float32 [n, dimensions], each of length one. Blocks the caller."""
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        found = [self._rows.get(digest(text)) for text in texts]
        for place, row in enumerate(found):
            if row is not None:
                vectors[place] = row / np.linalg.norm(row.astype(np.float32))
        missing = [place for place, row in enumerate(found) if row is None]
        vectors[missing] = self._embedder.embed_sync([texts[place] for place in missing])
        return vectors

    def write(self, folder: Path, texts: Sequence[str]) -> None:
        """Write the folder's file with the vectors of these texts. A stored vector stays as it is, so that another processor, which would
        compute slightly different numbers, does not change it.
        """
        wanted = {digest(text): text for text in texts}
        new = [text for key, text in wanted.items() if key not in self._rows]
        made = {
            digest(text): _rounded(row) for text, row in zip(new, self._embedder.embed_sync(new), strict=True)
        }
        rows = {key: self._rows.get(key, made.get(key)) for key in sorted(wanted)}
        np.savez(
            folder / FILE,
            embedder=np.array(self.name),
            digests=np.frombuffer(b"".join(rows), np.uint8).reshape(-1, _DIGEST_BYTES),
            rows=np.array(list(rows.values()), np.int8),
        )


def digest(text: str) -> bytes:
    """The key of a text's vector, 8 bytes."""
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


def _rounded(vector: npt.NDArray[np.float32]) -> Row:
    return np.rint(vector * (_LEVELS / np.abs(vector).max())).astype(np.int8)
