from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from responsa_server.providers import minilm
from responsa_server.providers.minilm import (
    EmbeddingModelUnavailable,
    MiniLmEmbedder,
    load,
    multiplies_bytes_fast,
)
from responsa_server.providers.minilm_graph import quantise_blocks, restore_blocks

TEXTS = [
    "A turn is durable.",
    "A passage keeps its byte range in the canonical text, so that a citation can be checked again.",
    "The client goes on after its connection was cut by sending the same request_id again.",
    "x",
    "Deleting a document removes its passages and vectors. " * 12,
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def model(cache: Path) -> Iterator[MiniLmEmbedder]:
    embedder = load(cache, threads=0)
    yield embedder
    embedder.close()


def test_vectors_have_length_one_and_keep_the_order(model: MiniLmEmbedder) -> None:
    vectors = model.embed_sync(TEXTS)
    assert vectors.shape == (len(TEXTS), model.dimensions)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    for place, text in enumerate(TEXTS):
        assert float(vectors[place] @ model.embed_sync([text])[0]) == pytest.approx(1.0, abs=1e-5)
    assert model.embed_sync([]).shape == (0, model.dimensions)


def test_short_texts_are_not_padded_to_the_length_of_a_long_one(
    model: MiniLmEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["river " * count for count in (240, 3, 30, 240, 14, 15, 3)]
    shapes: list[tuple[int, ...]] = []
    session = vars(model)["_session"]

    class Watched:
        def run(self, names: list[str], inputs: dict[str, npt.NDArray[np.int64]]) -> list[minilm.Float]:
            shapes.append(inputs["ids"].shape)
            return session.run(names, inputs)

    monkeypatch.setattr(model, "_session", Watched())
    vectors = model.embed_sync(texts)
    # Every text has two marks. Texts of nearly equal length share a run, because a run has a cost too.
    assert sorted(shapes) == [(1, 32), (2, 5), (2, 17), (2, 242)]
    monkeypatch.undo()
    assert np.abs(vectors - np.vstack([model.embed_sync([text]) for text in texts])).max() < 1e-5


def test_meaning_is_near(model: MiniLmEmbedder) -> None:
    question, near, far = model.embed_sync(
        ["How do I remove a file?", "Deleting a document", "The volcano erupted in the night"]
    )
    assert question @ near > 0.4 > question @ far + 0.2


def test_tokens_up_to_254_are_read_and_no_more(model: MiniLmEmbedder) -> None:
    words = ["river"] * model.max_tokens
    base = model.embed_sync([" ".join(words)])[0]
    changed = [*words[:-1], "volcano"]
    assert base @ model.embed_sync([" ".join(changed)])[0] < 0.9999
    assert np.abs(base - model.embed_sync([" ".join([*words, "volcano"])])[0]).max() < 1e-6


def test_token_offsets_cut_nothing(model: MiniLmEmbedder) -> None:
    text = "Größe zählt: " + "byte ranges " * 400
    offsets = model.token_offsets(text)
    assert len(offsets) > 800
    assert all(start < end for start, end in offsets)
    assert text[slice(*offsets[-1])] == "ranges"
    assert model.token_offsets("") == []


def test_weights_as_floats_give_the_same_vectors(cache: Path) -> None:
    packed, unpacked = (load(cache / str(form), threads=0, unpacked=form) for form in (False, True))
    try:
        assert packed.name == unpacked.name
        vectors = unpacked.embed_sync(TEXTS)
        assert (vectors * packed.embed_sync(TEXTS)).sum(axis=1).min() > 0.999
        assert np.abs(vectors - np.vstack([unpacked.embed_sync([text]) for text in TEXTS])).max() < 1e-5
    finally:
        packed.close()
        unpacked.close()


@pytest.mark.parametrize(
    ("machine", "flags", "fast"),
    [
        ("x86_64", "flags : fpu avx avx2 fma", False),
        ("x86_64", "flags : avx2 avx512f avx512_vnni", True),
        ("AMD64", "flags : avx2 avx_vnni", True),
        ("aarch64", "Features : fp asimd", True),
        ("x86_64", None, True),
    ],
)
def test_the_form_of_the_weights_depends_on_the_processor(
    tmp_path: Path, machine: str, flags: str | None, fast: bool
) -> None:
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(flags)
    assert multiplies_bytes_fast(machine, tmp_path / "cpuinfo") is fast


def test_blocks_are_restored_to_half_a_step() -> None:
    matrix = np.random.default_rng(3).normal(size=(4, 64)).astype(np.float32)
    packed, scales = quantise_blocks(matrix)
    assert np.abs(restore_blocks(packed, scales) - matrix).max() <= scales.max() / 2 + 1e-6


async def test_embedding_leaves_the_event_loop(
    model: MiniLmEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    inner = model.embed_sync

    def spy(texts: list[str]) -> minilm.Float:
        threads.append(threading.current_thread().name)
        return inner(texts)

    monkeypatch.setattr(model, "embed_sync", spy)
    assert (await model.embed(["one"])).shape == (1, 384)
    assert threads[0].startswith("embed")


def test_the_graph_is_written_once_and_whole(tmp_path: Path) -> None:
    load(tmp_path, threads=0).close()
    (written,) = tmp_path.iterdir()
    assert minilm.WEIGHTS_SHA256[:12] in written.name
    before = written.stat().st_mtime_ns
    load(tmp_path, threads=0).close()
    assert [path.stat().st_mtime_ns for path in tmp_path.iterdir()] == [before]


def test_other_weights_are_refused_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "package"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"not the weights")
    monkeypatch.setattr(minilm, "model_folder", lambda: weights)
    with pytest.raises(EmbeddingModelUnavailable, match="SHA-256"):
        load(tmp_path / "cache", threads=0)
    assert not (tmp_path / "cache").exists()


def test_a_missing_package_is_told_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "model_folder", lambda: None)
    with pytest.raises(EmbeddingModelUnavailable, match="responsa setup"):
        load(tmp_path, threads=0)
