"""Builds the ONNX graph of all-MiniLM-L6-v2 from the weights.

The published model is BERT with six post-norm layers of 384 dimensions, 12 heads and exact (erf) GELU. A text's vector is
the mean of its tokens' last states, scaled to length one (Reimers and Gurevych 2019, arXiv:1908.10084; Wang et al. 2020,
arXiv:2002.10957). The graph uses onnxruntime's fused operators and keeps the linear layers as 8-bit integers
in blocks of 32 (`MatMulNBits`). Every block has its own scale. Therefore a text's vector does not depend on the other texts in
its batch. With one scale for a whole tensor, the vector would depend on them. For processors that multiply floats faster, the same
rounded weights are stored as floats.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from responsa_server.providers.minilm_shape import BUILDER_VERSION, DIMENSIONS, Float

Weights = Mapping[str, Float]

LAYERS: Final = 6
HEADS: Final = 12
LAYER_NORM_EPSILON: Final = 1e-12
BLOCK: Final = 32
_CONTRIB: Final = "com.microsoft"
_FLOAT, _INT32, _INT64 = 1, 6, 7
"""The numbers of ONNX's types of elements."""
_TYPES: Final = {"float32": _FLOAT, "uint8": 2, "int64": _INT64, "float16": 10}


def encode(*fields: tuple[int, int | float | str | bytes]) -> bytes:
    """A message of protobuf. fields: their numbers and values. The package onnx would do it too, but needs 37 MB."""
    parts: list[bytes] = []
    for number, value in fields:
        if isinstance(value, float):
            parts += _varint(number << 3 | 5), struct.pack("<f", value)
        elif isinstance(value, int):
            parts += _varint(number << 3), _varint(value % (1 << 64))
        else:
            data = value.encode() if isinstance(value, str) else value
            parts += _varint(number << 3 | 2), _varint(len(data)), data
    return b"".join(parts)


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def _tensor(name: str, kind: int, *sizes: str | int) -> bytes:
    """A ValueInfoProto: what goes in or out. sizes: of the dimensions, or their names."""
    dimensions = [(1, encode((1 if isinstance(size, int) else 2, size))) for size in sizes]
    return encode((1, name), (2, encode((1, encode((1, kind), (2, encode(*dimensions)))))))


@dataclass(slots=True)
class _Graph:
    """The nodes and weights of the graph so far. Every method adds a value and returns the value's name."""

    weights: Weights
    unpacked: bool
    nodes: list[bytes]
    constants: list[bytes]

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        sizes = [(1, size) for size in value.shape]
        # The fields of a TensorProto.
        self.constants.append(encode(*sizes, (2, _TYPES[value.dtype.name]), (8, name), (9, value.tobytes())))
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def node(
        self, operator: str, inputs: list[str], output: str, domain: str = "", **attributes: float
    ) -> str:
        # The fields of an AttributeProto, and of a NodeProto.
        kinds = [
            encode((1, key), (2, value), (20, 1))
            if isinstance(value, float)
            else encode((1, key), (3, value), (20, 2))
            for key, value in sorted(attributes.items())
        ]
        ends = (2, output), (3, output), (4, operator), *((5, kind) for kind in kinds), (7, domain)
        self.nodes.append(encode(*((1, name) for name in inputs), *ends))
        return output

    def linear(self, value: str, weight: str, output: str) -> str:
        """Adds the product of `value` and the transpose of a stored [out, in] matrix, without the bias."""
        matrix = self.weights[weight]
        packed, scales = quantise_blocks(matrix)
        if self.unpacked:
            return self.node(
                "MatMul", [value, self.constant(weight, restore_blocks(packed, scales).T)], output
            )
        return self.node(
            "MatMulNBits",
            [value, self.constant(f"{weight}.q", packed), self.constant(f"{weight}.scale", scales)],
            output,
            domain=_CONTRIB,
            K=matrix.shape[1],
            N=matrix.shape[0],
            bits=8,
            block_size=BLOCK,
            accuracy_level=4,
        )

    def skip_norm(self, value: str, skip: str, norm: str, bias: str, output: str) -> str:
        return self.node(
            "SkipLayerNormalization",
            [value, skip, self.weight(f"{norm}.weight"), self.weight(f"{norm}.bias"), self.weight(bias)],
            output,
            domain=_CONTRIB,
            epsilon=LAYER_NORM_EPSILON,
        )


def quantise_blocks(matrix: Float) -> tuple[npt.NDArray[np.uint8], Float]:
    """Quantises an [out, in] matrix symmetrically to 8 bits, in blocks of 32 along the input. `in` must be a multiple of 32.

    Returns two arrays: the bytes of shape [out, in / 32, 32], where 128 stands for zero, and a flat array with one scale per block.
    """
    blocks = matrix.reshape(matrix.shape[0], matrix.shape[1] // BLOCK, BLOCK)
    scales = np.abs(blocks).max(axis=2) / np.float32(127)
    scales[scales == 0] = 1
    packed = np.clip(np.rint(blocks / scales[:, :, None]), -127, 127) + 128
    return packed.astype(np.uint8), scales.astype(np.float32).reshape(-1)


def restore_blocks(packed: npt.NDArray[np.uint8], scales: Float) -> Float:
    """The [out, in] matrix that `quantise_blocks` rounded."""
    restored = (packed.astype(np.float32) - 128) * scales.reshape(*packed.shape[:2], 1)
    return restored.reshape(packed.shape[0], -1)


def build(weights: Weights, *, unpacked: bool) -> bytes:
    """The model, a ModelProto. unpacked: store the rounded weights as floats. Its inputs are `ids` and `mask`,
    both int64 [texts, tokens]. Its output is `vectors`, float32 [texts, 384], each of length one.
    """
    graph = _Graph(weights, unpacked, [], [])
    state = _embeddings(graph)
    mask = graph.node("Cast", ["mask"], "mask32", to=_INT32)
    for layer in range(LAYERS):
        state = _layer(graph, layer, state, mask, f"state{layer}")
    _pooling(graph, state)
    content = encode(
        *((1, node) for node in graph.nodes),
        (2, "all-MiniLM-L6-v2"),
        *((5, constant) for constant in graph.constants),
        *((11, _tensor(name, _INT64, "texts", "tokens")) for name in ("ids", "mask")),
        (12, _tensor("vectors", _FLOAT, "texts", DIMENSIONS)),
    )
    operators = (8, encode((1, ""), (2, 17))), (8, encode((1, _CONTRIB), (2, 1)))
    return encode((1, 10), (2, "responsa"), (3, str(BUILDER_VERSION)), (7, content), *operators)


def _embeddings(graph: _Graph) -> str:
    """Adds the sum of the embeddings of the word, the position and the first token type, normalised."""
    weights = graph.weights
    # Half precision halves the largest table (47 MB). The relative error of half precision is at most 5e-4, far less than the error of the
    # quantised blocks.
    words = weights["embeddings.word_embeddings.weight"].astype(np.float16)
    position = (
        weights["embeddings.position_embeddings.weight"]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    halves = graph.node("Gather", [graph.constant("words", words), "ids"], "word16")
    word = graph.node("Cast", [halves], "word", to=_FLOAT)
    graph.node("Shape", ["ids"], "ids_shape")
    tokens = graph.node("Gather", ["ids_shape", graph.constant("one", np.array([1], np.int64))], "tokens")
    start = graph.constant("start", np.array([0], np.int64))
    offset = graph.node("Slice", [graph.constant("positions", position), start, tokens, start], "place")
    total = graph.node("Add", [word, offset], "embedded")
    return graph.node(
        "LayerNormalization",
        [total, graph.weight("embeddings.LayerNorm.weight"), graph.weight("embeddings.LayerNorm.bias")],
        "state",
        axis=-1,
        epsilon=LAYER_NORM_EPSILON,
    )


def _layer(graph: _Graph, layer: int, state: str, mask: str, output: str) -> str:
    """Adds self-attention and a feed-forward network, each followed by its residual connection and normalisation.
    output: the name of the result."""
    prefix = f"encoder.layer.{layer}"
    attention = f"{prefix}.attention.self"
    parts = ("query", "key", "value")
    projected = [graph.linear(state, f"{attention}.{part}.weight", f"{part}{layer}") for part in parts]
    bias = np.concatenate([graph.weights[f"{attention}.{part}.bias"] for part in parts])
    mixed = graph.node(
        "MultiHeadAttention",
        [*projected, graph.constant(f"{attention}.bias", bias), mask],
        f"mixed{layer}",
        domain=_CONTRIB,
        num_heads=HEADS,
    )
    attended = graph.skip_norm(
        graph.linear(mixed, f"{prefix}.attention.output.dense.weight", f"attended{layer}"),
        state,
        f"{prefix}.attention.output.LayerNorm",
        f"{prefix}.attention.output.dense.bias",
        f"middle{layer}",
    )
    wide = graph.linear(attended, f"{prefix}.intermediate.dense.weight", f"wide{layer}")
    active = graph.node(
        "BiasGelu",
        [wide, graph.weight(f"{prefix}.intermediate.dense.bias")],
        f"active{layer}",
        domain=_CONTRIB,
    )
    return graph.skip_norm(
        graph.linear(active, f"{prefix}.output.dense.weight", f"narrow{layer}"),
        attended,
        f"{prefix}.output.LayerNorm",
        f"{prefix}.output.dense.bias",
        output,
    )


def _pooling(graph: _Graph, state: str) -> None:
    last = graph.constant("last", np.array([2], np.int64))
    second = graph.constant("second", np.array([1], np.int64))
    mask = graph.node("Unsqueeze", [graph.node("Cast", ["mask"], "maskf", to=_FLOAT), last], "kept")
    total = graph.node("ReduceSum", [graph.node("Mul", [state, mask], "masked"), second], "total", keepdims=0)
    count = graph.node("ReduceSum", [mask, second], "count", keepdims=0)
    graph.node("LpNormalization", [graph.node("Div", [total, count], "mean")], "vectors", axis=-1, p=2)
