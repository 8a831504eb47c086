"""The reranking model that runs in the server, with tiny graphs: a pair's score is the number of times that the second
text has the word "eels"."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from responsa_server.domain.models import ModelError, ModelFault
from responsa_server.providers.onnx_reranker import OnnxReranker, RerankerUnusable

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "eels", "return", "a", "mill"]
EELS = WORDS.index("eels")
TEXTS = ["a mill", "eels eels eels", "eels return"]


def write_graph(
    path: Path,
    *,
    types: bool = False,
    shape: tuple[int, ...] = (1,),
    integers: int = TensorProto.INT64,
    extra: str = "",
) -> None:
    """types: whether the graph has token types, and counts only words of the second text. shape: of one pair's logits:
    (1,) or (2,) or (); with two, the second is the count and the first its negative.
    """
    names = [
        "input_ids",
        "attention_mask",
        *(["token_type_ids"] if types else []),
        *([extra] if extra else []),
    ]
    inputs = [helper.make_tensor_value_info(name, integers, ["n", "width"]) for name in names]
    kind = np.int64 if integers == TensorProto.INT64 else np.int32
    constants = [
        numpy_helper.from_array(np.array([EELS], kind), "eels"),
        numpy_helper.from_array(np.array([1]), "axis"),
    ]
    nodes = [
        helper.make_node("Equal", ["input_ids", "eels"], ["same"]),
        helper.make_node("Cast", ["same"], ["one"], to=TensorProto.FLOAT),
        helper.make_node(
            "Cast", ["token_type_ids" if types else "attention_mask"], ["of_second"], to=TensorProto.FLOAT
        ),
        helper.make_node("Mul", ["one", "of_second"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "axis"], ["count"], keepdims=1),
        helper.make_node("Neg", ["count"], ["less"]),
    ]
    if shape == (2,):
        nodes.append(helper.make_node("Concat", ["less", "count"], ["logits"], axis=1))
    elif shape == ():
        nodes.append(helper.make_node("Squeeze", ["count", "axis"], ["logits"]))
    else:
        nodes.append(helper.make_node("Concat", ["count"] * shape[0], ["logits"], axis=1))
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", *shape])
    graph = helper.make_graph(nodes, "tiny", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())


def write_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "tiny-reranker"
    found.mkdir()
    write_tokenizer(found)
    return found


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[OnnxReranker]:
    reranker = OnnxReranker(folder, threads=1)
    try:
        yield reranker
    finally:
        reranker.close()


@pytest.mark.parametrize(("shape", "scores"), [((1,), [0, 3, 1]), ((), [0, 3, 1]), ((2,), [0, 6, 2])])
@pytest.mark.parametrize("integers", [TensorProto.INT64, TensorProto.INT32])
async def test_scores_come_from_one_logit_or_from_the_last_of_two(
    folder: Path, shape: tuple[int, ...], scores: list[float], integers: int
) -> None:
    write_graph(folder / "model.onnx", shape=shape, integers=integers)
    async with opened(folder) as reranker:
        found = await reranker.rank("a mill", TEXTS)
        assert list(found.scores) == scores
        # Pairs have three marks: at the beginning, between the texts and at the end.
        assert found.usage.input_tokens == sum(3 + 2 + len(text.split()) for text in TEXTS)
        assert (reranker.name, found.usage.cost_micros, found.usage.unpriced_tokens) == (
            "onnx:tiny-reranker",
            0,
            0,
        )
        assert list((await reranker.rank("a mill", [])).scores) == []


async def test_token_types_are_given_only_to_a_graph_that_has_them(folder: Path) -> None:
    for name, types, of_question in (("onnx/model.onnx", False, 1), ("model.onnx", True, 0)):
        write_graph(folder / name, types=types)
        async with opened(folder) as reranker:
            assert list((await reranker.rank("eels", TEXTS)).scores) == [
                of_question + count for count in (0, 3, 1)
            ]


async def test_many_pairs_of_different_lengths_keep_their_scores(folder: Path) -> None:
    write_graph(folder / "model.onnx")
    texts = [f"{'a ' * (place % 7)}{'eels ' * (place % 5)}" for place in range(90)]
    async with opened(folder) as reranker:
        assert list((await reranker.rank("mill", texts)).scores) == [place % 5 for place in range(90)]


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({}, 512),
        ({"config.json": {"max_position_embeddings": 20}}, 20),
        (
            {"config.json": {"max_position_embeddings": 22, "model_type": "xlm-roberta", "pad_token_id": 1}},
            20,
        ),
        (
            {
                "tokenizer_config.json": {"model_max_length": 18},
                "config.json": {"max_position_embeddings": 20},
            },
            18,
        ),
        ({"tokenizer_config.json": {"model_max_length": 1e30}}, 1024),
    ],
)
async def test_a_pair_is_cut_to_the_models_limit(folder: Path, files: dict[str, object], most: int) -> None:
    write_graph(folder / "model.onnx")
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    async with opened(folder) as reranker:
        # A question of two tokens and three marks leave the rest to the text.
        assert list((await reranker.rank("a mill", ["eels " * 2000])).scores) == [most - 5]


async def test_a_cancelled_call_leaves_the_model_to_the_next_one(folder: Path) -> None:
    write_graph(folder / "model.onnx")
    async with opened(folder) as reranker:
        calls = [asyncio.create_task(reranker.rank("a mill", TEXTS * 50)) for _ in range(20)]
        results = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0)
        for call in calls[:5]:
            call.cancel()
        faults = [result.fault for result in await results if isinstance(result, ModelError)]
        assert faults == [ModelFault.OVERLOADED] * 11  # one runs, eight wait
        assert list((await reranker.rank("a mill", TEXTS)).scores) == [0, 3, 1]


async def test_a_score_that_is_not_finite_is_an_error(folder: Path) -> None:
    write_graph(folder / "model.onnx")
    model = onnx.ModelProto.FromString((folder / "model.onnx").read_bytes())
    # A question of 1 word gives 1/1; "eels" gives 1/0.
    [node] = [node for node in model.graph.node if node.op_type == "Concat"]
    model.graph.node.remove(node)
    model.graph.node.append(helper.make_node("Log", ["less"], ["logits"]))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(RerankerUnusable, match="a score is not finite"):
        OnnxReranker(folder)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("no graph", "has no model.onnx"),
        ("no tokenizer", "has no tokenizer.json"),
        ("bad graph", "cannot be loaded"),
        ("bad tokenizer", "is not a tokenizer"),
        ("bad config", "config.json cannot be read"),
        ("another input", "has the inputs"),
        ("three logits", "not a cross-encoder: for 2 pairs"),
        ("float inputs", "type"),
    ],
)
def test_a_folder_that_cannot_be_used_says_why(folder: Path, broken: str, message: str) -> None:
    if broken != "no graph":
        write_graph(
            folder / "model.onnx",
            shape=(3,) if broken == "three logits" else (1,),
            extra="pixel_values" if broken == "another input" else "",
        )
    match broken:
        case "no tokenizer":
            (folder / "tokenizer.json").unlink()
        case "bad graph":
            (folder / "model.onnx").write_bytes(b"nothing")
        case "bad tokenizer":
            (folder / "tokenizer.json").write_text("{")
        case "bad config":
            (folder / "config.json").write_text("{")
        case "float inputs":
            model = onnx.ModelProto.FromString((folder / "model.onnx").read_bytes())
            model.graph.input[1].type.tensor_type.elem_type = TensorProto.FLOAT
            (folder / "model.onnx").write_bytes(model.SerializeToString())
        case _:
            pass
    with pytest.raises(RerankerUnusable, match=message):
        OnnxReranker(folder)
