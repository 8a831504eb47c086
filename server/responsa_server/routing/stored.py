"""Classifiers that are trained once and stored as files of safetensors, which contain no code."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import structlog
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from responsa_server.domain.intents import Example, IntentClassifier
from responsa_server.routing.classifier import DIMENSIONS, Parameters, TrainedClassifier
from responsa_server.routing.training import train
from responsa_server.search.embedder import BlockingEmbedder
from responsa_server.system.private_files import write_private

_log = structlog.stdlib.get_logger()

SHIPPED: Final = Path(__file__).with_name("shipped.zip")
"""The files of the shipped agents. tools/classifiers.py writes the archive, so that a fresh instance need not train them."""
FORMAT: Final = 1
"""The version in a file's name. Raise it whenever the file's format, the features or the training change."""


class ClassifierBroken(ValueError):
    """A file is not a classifier that this version can read. The message gives the reason."""


class _Meta(BaseModel, strict=True):
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    threshold: Annotated[float, Field(allow_inf_nan=False)]
    embedder: str


def dump(parameters: Parameters) -> bytes:
    """The file of the parameters. The same parameters always give the same bytes."""
    meta = _Meta.model_validate(parameters, from_attributes=True).model_dump_json().encode()
    arrays = {name: np.ascontiguousarray(getattr(parameters, name)) for name in ("meaning", "words", "idf")}
    return save({**arrays, "meta": np.frombuffer(meta, np.uint8)})


def name_of(examples_sha256: bytes) -> str:
    """The name of the file of the classifier of these examples."""
    return f"{examples_sha256.hex()}.{FORMAT}.safetensors"


def read(folder: Path | zipfile.Path, examples_sha256: bytes) -> Parameters:
    """The classifier of these examples in a folder or in SHIPPED. Raises FileNotFoundError, OSError, ClassifierBroken."""
    try:
        arrays = load((folder / name_of(examples_sha256)).read_bytes())
        meta = _Meta.model_validate_json(arrays.pop("meta").tobytes())
        intents, half = len(meta.labels), np.dtype(np.float16)
        meaning, words = (max(1, arrays["meaning"].size // intents), intents), (DIMENSIONS, intents)
    except (SafetensorError, KeyError, ValidationError) as error:
        raise ClassifierBroken(f"It cannot be read: {error}") from None
    expected = {"meaning": (meaning, half), "words": (words, half), "idf": (words[:1], np.dtype(np.float32))}
    if {name: (array.shape, array.dtype) for name, array in arrays.items()} != expected:
        raise ClassifierBroken("Its arrays are not those of a classifier.")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ClassifierBroken("One of its numbers is infinite or not a number.")
    return Parameters(**arrays, **dict(meta), examples_sha256=examples_sha256)


class KeptClassifiers:
    """A `Trainer` that keeps its classifiers in a folder, the instance's `data/classifiers`. Processes may share the folder."""

    def __init__(self, folder: Path, embedder: BlockingEmbedder) -> None:
        self._folder, self._embedder = folder, embedder

    async def prepare(self, examples: Sequence[Example], *, key: bytes) -> IntentClassifier:
        """The stored classifier, else the shipped one, else a new one, which is trained in a thread.

        key: becomes `Parameters.examples_sha256`. If a file is broken, the classifier is trained again, and if the folder
        cannot be written, at the next start too."""
        return TrainedClassifier(await asyncio.to_thread(self._train, examples, key), self._embedder)

    def _train(self, examples: Sequence[Example], key: bytes) -> Parameters:
        for folder in (self._folder, zipfile.Path(SHIPPED)):
            try:
                parameters = read(folder, key)
            except FileNotFoundError:
                continue
            except (ClassifierBroken, OSError) as error:
                _log.warning("classifier_not_read", examples=key.hex(), error=str(error))
                continue
            if parameters.embedder == self._embedder.name:
                return parameters
        parameters = train(examples, self._embedder, key=key)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(self._folder / name_of(key), dump(parameters))
        except OSError as error:
            _log.warning("classifier_not_kept", examples=key.hex(), error=str(error))
        return parameters
