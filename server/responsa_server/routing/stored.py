"""Classifiers that are trained once and stored as files. The files are archives of plain arrays (`.npz`) that are fully
checked before use.

A file contains no code and no pickle. Only arrays of four number types are read. The type, shape and size of every array must
match the other arrays, and every number must be finite.
"""

from __future__ import annotations

import asyncio
import io
import math
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from responsa_server.domain.intents import Example, IntentClassifier
from responsa_server.routing.classifier import DIMENSIONS, Parameters, TrainedClassifier
from responsa_server.routing.training import train
from responsa_server.search.embedder import BlockingEmbedder

_log = structlog.stdlib.get_logger()

SHIPPED: Final = Path(__file__).with_name("shipped.zip")
"""The classifiers of the shipped agents, in one archive. tools/classifiers.py writes it, so that a fresh instance need not train them."""
FORMAT: Final = 1
"""The version in a file's name and, as a type, in `_Meta`. Raise both whenever the file's format, the features or the
training change."""

MOST_BYTES: Final = 64 << 20
"""The maximum size, in bytes, of a file and of its unpacked content."""

_MOST_LABELS: Final = 1000
_MOST_DIMENSIONS: Final = 8192
_MOST_META: Final = 1 << 20
# The arrays of a file: those of `Parameters`, which describes them and their shapes, and the JSON of `_Meta`.
_NAMES: Final = ("meaning", "words", "idf", "meta")
_TYPES: Final = {"meaning": "<f2", "words": "<f2", "idf": "<f4", "meta": "|u1"}

_Label = Annotated[str, Field(min_length=1, max_length=200)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class ClassifierBroken(ValueError):
    """A file is not a classifier that this version can read. The message gives the reason."""


class _Meta(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = FORMAT
    labels: Annotated[list[_Label], Field(min_length=1, max_length=_MOST_LABELS)]
    threshold: _Finite
    embedder: Annotated[str, Field(min_length=1, max_length=200)]
    examples: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """`Parameters.examples_sha256` in hexadecimal digits."""


def dumped(parameters: Parameters) -> bytes:
    """The bytes of the parameters' file. The same parameters always give the same bytes."""
    meta = _Meta(
        labels=list(parameters.labels),
        threshold=parameters.threshold,
        embedder=parameters.embedder,
        examples=parameters.examples_sha256.hex(),
    )
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "meaning": parameters.meaning,
        "words": parameters.words,
        "idf": parameters.idf,
        "meta": np.frombuffer(meta.model_dump_json().encode(), np.uint8),
    }
    # `numpy.savez` is not used, because it would write the current time into the file.
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in _NAMES:
            array = io.BytesIO()
            np.lib.format.write_array(
                array, np.ascontiguousarray(arrays[name], _TYPES[name]), (1, 0), allow_pickle=False
            )
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), array.getvalue())
    return file.getvalue()


def loaded(data: bytes) -> Parameters:
    """The parameters in a file's bytes. Raises ClassifierBroken."""
    try:
        arrays = _arrays(data)
        meta = _Meta.model_validate_json(arrays["meta"].tobytes())
        examples_sha256 = bytes.fromhex(meta.examples)
    except ClassifierBroken:
        raise
    except ValidationError as error:
        raise ClassifierBroken(f"Its description is wrong: {error.errors()[0]['msg']}.") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ClassifierBroken(f"It cannot be read: {error}") from None
    if sorted(set(meta.labels)) != meta.labels:
        raise ClassifierBroken("Its labels are not sorted, or one occurs twice.")
    dimensions = arrays["meaning"].shape[0]
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise ClassifierBroken(f"meaning has {dimensions} rows.")
    intents = len(meta.labels)
    shapes = {"meaning": (dimensions, intents), "words": (DIMENSIONS, intents), "idf": (DIMENSIONS,)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ClassifierBroken(f"{name} is {arrays[name].shape}, not {shape}.")
    for name in ("meaning", "words", "idf"):
        if not np.isfinite(arrays[name]).all():
            raise ClassifierBroken(f"{name} contains a value that is not a number.")
    return Parameters(
        labels=tuple(meta.labels),
        meaning=arrays["meaning"].astype(np.float16),
        words=arrays["words"].astype(np.float16),
        idf=arrays["idf"].astype(np.float32),
        threshold=meta.threshold,
        embedder=meta.embedder,
        examples_sha256=examples_sha256,
    )


def keep(folder: Path, parameters: Parameters) -> Path:
    """Write the file of the parameters, and create the folder if it does not exist. The file's name is made from
    `examples_sha256`. The file is renamed into place, so that a reader finds the whole file or no file.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = place(folder, parameters.examples_sha256)
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(dumped(parameters))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def read(folder: Path, examples_sha256: bytes) -> Parameters:
    """The stored classifier of these examples. Raises FileNotFoundError, ClassifierBroken."""
    path = place(folder, examples_sha256)
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    return _checked(loaded(data), examples_sha256)


def place(folder: Path, examples_sha256: bytes) -> Path:
    """The path of the classifier of these examples."""
    return folder / _name(examples_sha256)


def packed(classifiers: Sequence[Parameters]) -> bytes:
    """The bytes of an archive with these classifiers. The same classifiers always give the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for classifier in sorted(classifiers, key=lambda each: each.examples_sha256):
            archive.writestr(
                zipfile.ZipInfo(_name(classifier.examples_sha256)),
                dumped(classifier),
                zipfile.ZIP_DEFLATED,
                compresslevel=9,
            )
    return file.getvalue()


def read_packed(file: Path, examples_sha256: bytes) -> Parameters:
    """The classifier of these examples in an archive. Raises FileNotFoundError, ClassifierBroken."""
    try:
        with zipfile.ZipFile(file) as archive:
            data = archive.read(_name(examples_sha256))
    except KeyError:
        raise FileNotFoundError(f"{file} has no classifier of these examples.") from None
    except zipfile.BadZipFile as error:
        raise ClassifierBroken(f"It cannot be read: {error}") from None
    return _checked(loaded(data), examples_sha256)


def _checked(parameters: Parameters, examples_sha256: bytes) -> Parameters:
    if parameters.examples_sha256 != examples_sha256:
        raise ClassifierBroken(
            "The file's name is not the SHA-256 of the examples with which the classifier was trained."
        )
    return parameters


def _name(examples_sha256: bytes) -> str:
    return f"{examples_sha256.hex()}.{FORMAT}.npz"


def _arrays(data: bytes) -> dict[str, npt.NDArray[np.generic]]:
    if len(data) > MOST_BYTES:
        raise ClassifierBroken(f"It has more than {MOST_BYTES} bytes.")
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        if sorted(info.filename for info in infos) != sorted(f"{name}.npy" for name in _NAMES):
            raise ClassifierBroken("Its arrays are not those of a classifier.")
        # Arrays are stored uncompressed, so their unpacked size is at most the file's size.
        if any(info.compress_type != zipfile.ZIP_STORED or info.file_size > len(data) for info in infos):
            raise ClassifierBroken("It is compressed, or claims to be larger than it is.")
        for name in _NAMES:
            arrays[name] = _array(name, archive.read(f"{name}.npy"))
    if arrays["meta"].nbytes > _MOST_META:
        raise ClassifierBroken("Its description is too long.")
    return arrays


def _array(name: str, member: bytes) -> npt.NDArray[np.generic]:
    file = io.BytesIO(member)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ClassifierBroken(f"{name} is written in a different version of the array format.")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.str != _TYPES[name] or by_columns or len(shape) != (1 if name in ("idf", "meta") else 2):
        raise ClassifierBroken(f"{name} is {dtype.str} in {len(shape)} dimensions.")
    # The array's size is checked before memory for the array is allocated.
    if math.prod(shape) * dtype.itemsize != len(member) - file.tell() or min(shape) < 0:
        raise ClassifierBroken(f"{name} is not as large as it claims to be.")
    return np.frombuffer(member, dtype, offset=file.tell()).reshape(shape)


class KeptClassifiers:
    """A `Trainer` that keeps its classifiers in a folder, the instance's `data/classifiers`. Processes may share the folder."""

    def __init__(self, folder: Path, embedder: BlockingEmbedder) -> None:
        self._folder = folder
        self._embedder = embedder

    async def trained(self, examples: Sequence[Example], *, key: bytes) -> IntentClassifier:
        """The stored classifier, else the shipped classifier, else a new classifier that is trained now, in a thread.

        key: becomes `Parameters.examples_sha256`. If a file is broken, the classifier is trained again. If the folder
        cannot be written, the next start trains again.
        """
        if len(key) != 32:
            raise ValueError("A key is a SHA-256, 32 bytes.")
        return TrainedClassifier(await asyncio.to_thread(self._trained, examples, key), self._embedder)

    def _trained(self, examples: Sequence[Example], key: bytes) -> Parameters:
        for source, reader in ((self._folder, read), (SHIPPED, read_packed)):
            try:
                parameters = reader(source, key)
            except FileNotFoundError:
                continue
            except (ClassifierBroken, OSError) as error:
                _log.warning("classifier_not_read", examples=key.hex(), error=str(error))
                continue
            if parameters.embedder == self._embedder.name:
                return parameters
        parameters = train(examples, self._embedder, key=key)
        try:
            keep(self._folder, parameters)
        except OSError as error:
            _log.warning("classifier_not_kept", examples=key.hex(), error=str(error))
        return parameters
