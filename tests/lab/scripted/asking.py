"""The shipped prompts, filled in, and functions that ask scripted models with these prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing

from responsa_lab.scripted import scripted_models
from responsa_server.agents.config.files import SHIPPED, read
from responsa_server.agents.engine.declining import NO_ANSWER
from responsa_server.agents.engine.prompts import PromptSet, Untrusted
from responsa_server.agents.engine.state import StateMessage
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.models import ChatModel, ModelPiece, ModelPrompt, TextPiece

MARK = "0123456789ab"
MODELS = scripted_models(idle_seconds=0.01)
STRONG = MODELS["scripted:strong"]
TRUSTED = {
    "agent": "Ann",
    "persona": "",
    "language": "",
    "categories": ["chitchat", "qa", "post", "linkedin"],
    "examples": [],
    "formats": "{}",
    "without_retrieval": "",
    "questions": ["Why?"],
    "talk": "greeting",
    "most": 3,
    "sources": [],
    "no_answer": NO_ANSWER,
    "instructions": "",
    "today": "Sun 2026-11-29",
    "tool": "time: Tells the time.",
    "tools": [{"name": "time", "description": "Tells the time."}],
}
TALK = (
    StateMessage(speaker=Speaker.USER, text="How many devices can the Rook hub serve?"),
    StateMessage(speaker=Speaker.ASSISTANT, text="One hub serves up to 40 devices. It stands in the hall."),
)


def shipped(agent: str) -> PromptSet:
    files = read(SHIPPED / agent).files
    return PromptSet(files.prompts, files.partials)


PROMPTS = {agent: shipped(agent) for agent in ("tutor", "chat")}


def prompt_for(
    name: str,
    question: str,
    *,
    agent: str = "chat",
    history: Sequence[StateMessage] = (),
    passages: Sequence[str] = (),
    schema: Mapping[str, object] | None = None,
    max_tokens: int = 1024,
) -> ModelPrompt:
    trusted = {**TRUSTED, "summary": "", "parameters": ""}
    messages = PROMPTS[agent].render(name, trusted, Untrusted(question, history, passages), MARK)
    return ModelPrompt(messages, "turns/1", schema=schema, max_tokens=max_tokens, purpose=name)


async def pieces_of(model: ChatModel, prompt: ModelPrompt) -> list[ModelPiece]:
    async with aclosing(model.stream(prompt)) as pieces:
        return [piece async for piece in pieces]


async def said(model: ChatModel, prompt: ModelPrompt) -> str:
    return "".join(piece.text for piece in await pieces_of(model, prompt) if isinstance(piece, TextPiece))
