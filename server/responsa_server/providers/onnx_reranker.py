"""A reranking model that runs in the server: a cross-encoder from a folder with its ONNX graph and its tokenizer."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from responsa_server.domain.errors import Exhausted
from responsa_server.domain.events import Usage
from responsa_server.domain.models import ModelError, ModelFault, Reranked
from responsa_server.domain.sharing import Scheduler
from responsa_server.providers.http_model import redact
from responsa_server.providers.minilm import divide, open_session

Floats = npt.NDArray[np.float64]

_GRAPHS: Final = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")
_TOKENIZER: Final = "tokenizer.json"
_INPUTS: Final = frozenset({"input_ids", "attention_mask", "token_type_ids"})
_INTEGERS: Final = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
# The maximum number of tokens of a question and a text together, also for models that read more: longer pairs would take seconds on a CPU.
_MOST_TOKENS: Final = 1024
_DEFAULT_TOKENS: Final = 512
# RoBERTa and its relatives number positions from the padding token's id + 1, so they read fewer tokens than they have positions.
_SHIFTED_POSITIONS: Final = {"roberta", "xlm-roberta", "camembert", "longformer"}
# A smaller limit in a file is a mistake.
_LEAST_TOKENS: Final = 16
_BATCH_TOKENS: Final = 4096


class RerankerUnusable(Exception):
    """The folder has no model that can be used. The message is a clause that says why."""


class OnnxReranker:
    """A `Reranker`. All calls take turns at one extra thread. Call `close` at the end."""

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        """folder: has `model.onnx` (or `onnx/model.onnx`, or one of these with `model_quantized.onnx`) and
        `tokenizer.json`. `config.json` and `tokenizer_config.json`, if they are there, say how many tokens the model
        reads. threads: the number of onnxruntime's threads for one call; 0 means one thread per core. Raises
        RerankerUnusable.
        """
        graph = next((folder / name for name in _GRAPHS if (folder / name).is_file()), None)
        if graph is None:
            raise RerankerUnusable(f"the folder {folder} has no model.onnx")
        if not (folder / _TOKENIZER).is_file():
            raise RerankerUnusable(f"the folder {folder} has no {_TOKENIZER}")
        config = _json_of(folder / "config.json")
        self._name = f"onnx:{folder.name}"
        self._tokenizer, self._padding = _tokenizer(folder, config)
        try:
            self._session = open_session(graph, threads)
        except Exception as error:  # onnxruntime's errors have no class in common
            raise RerankerUnusable(f"the graph {graph} cannot be loaded: {redact(str(error))}") from None
        self._inputs = {input_.name: input_.type for input_ in self._session.get_inputs()}
        if not {"input_ids", "attention_mask"} <= self._inputs.keys() <= _INPUTS:
            raise RerankerUnusable(
                f"the graph {graph} has the inputs {', '.join(sorted(self._inputs))}, not input_ids and attention_mask"
            )
        if odd := sorted(set(self._inputs.values()) - _INTEGERS.keys()):
            raise RerankerUnusable(f"the graph {graph} has an input of the type {odd[0]}, not of integers")
        outputs = [output.name for output in self._session.get_outputs()]
        self._output = "logits" if "logits" in outputs else outputs[0]
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rerank")
        self._turns = Scheduler("reranking", 1)
        # A graph with other shapes is noticed now, not with the first question.
        try:
            self._rank("a question", ["a text", "another one"], threading.Event())
        except ModelError as error:
            self.close()
            raise RerankerUnusable(f"the graph {graph} is not a cross-encoder: {error.detail}") from None

    @property
    def name(self) -> str:
        """`onnx:` and the folder's last name. The whole path does not leave the server."""
        return self._name

    async def rank(self, query: str, texts: Sequence[str]) -> Reranked:
        """See `Reranker.rank`. A call that is cancelled stops after its current batch."""
        left = threading.Event()
        try:
            return await self._turns.run(self._thread, self._rank, query, texts, left)
        except Exhausted as error:
            raise ModelError(ModelFault.OVERLOADED, "too many calls are already waiting") from error
        finally:
            left.set()

    def close(self) -> None:
        """Ends the thread after its current call."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _rank(self, query: str, texts: Sequence[str], left: threading.Event) -> Reranked:
        """left: set if nobody waits for the result any more."""
        encodings = self._tokenizer.encode_batch([(query, text) for text in texts])
        scores = np.zeros(len(encodings))
        for batch in divide([len(encoding.ids) for encoding in encodings], _BATCH_TOKENS):
            if left.is_set():
                break
            scores[batch] = self._scores([encodings[int(index)] for index in batch])
        tokens = sum(len(encoding.ids) for encoding in encodings)
        return Reranked(scores.tolist(), Usage(input_tokens=tokens))

    def _scores(self, encodings: Sequence[Encoding]) -> Floats:
        width = max(len(encoding.ids) for encoding in encodings)
        shape = (len(encodings), width)
        ids, mask, types = np.full(shape, self._padding), np.zeros(shape, int), np.zeros(shape, int)
        for row, encoding in enumerate(encodings):
            length = len(encoding.ids)
            ids[row, :length], mask[row, :length], types[row, :length] = encoding.ids, 1, encoding.type_ids
        arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        feed = {name: arrays[name].astype(_INTEGERS[kind]) for name, kind in self._inputs.items()}
        try:
            logits = np.asarray(self._session.run([self._output], feed)[0], np.float64)
        except Exception as error:  # onnxruntime's errors have no class in common
            raise ModelError(ModelFault.MALFORMED, redact(repr(error))) from None
        count = len(encodings)
        if logits.shape == (count, 2):
            # The logarithm of the odds, which orders like softmax and is on the scale of a single logit.
            logits = logits[:, 1] - logits[:, 0]
        elif logits.shape in ((count, 1), (count,)):
            logits = logits.reshape(count)
        else:
            raise ModelError(ModelFault.MALFORMED, f"for {count} pairs it gives {list(logits.shape)} numbers")
        if not np.isfinite(logits).all():
            raise ModelError(ModelFault.MALFORMED, "a score is not finite")
        return logits


def _tokenizer(folder: Path, config: Mapping[str, Any]) -> tuple[Tokenizer, int]:
    """The tokenizer, which cuts pairs to the model's limit, and the id of the padding token."""
    try:
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    except Exception as error:  # the library raises no other class
        raise RerankerUnusable(f"{folder / _TOKENIZER} is not a tokenizer: {redact(str(error))}") from None
    padding = config.get("pad_token_id")
    if not isinstance(padding, int):
        named = (tokenizer.token_to_id(token) for token in ("[PAD]", "<pad>"))
        padding = next((token for token in named if token is not None), 0)
    tokenizer.no_padding()
    limit = _most_tokens(folder, config, padding)
    # The question is cut only if it is longer than the text.
    tokenizer.enable_truncation(max_length=limit, strategy="longest_first")  # pyright: ignore[reportUnknownMemberType]  # untyped keywords
    return tokenizer, padding


def _most_tokens(folder: Path, config: Mapping[str, Any], padding: int) -> int:
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and config.get("model_type") in _SHIFTED_POSITIONS:
        positions -= padding + 1
    declared = _json_of(folder / "tokenizer_config.json").get("model_max_length")
    limits = [
        limit for limit in (positions, declared) if isinstance(limit, (int, float)) and limit >= _LEAST_TOKENS
    ]
    return int(min([*limits, _MOST_TOKENS])) if limits else _DEFAULT_TOKENS


def _json_of(path: Path) -> Mapping[str, Any]:
    """The object in a file; empty if there is no such file. Raises RerankerUnusable."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RerankerUnusable(f"{path} cannot be read: {error}") from None
    return cast("Mapping[str, Any]", content) if isinstance(content, dict) else {}
