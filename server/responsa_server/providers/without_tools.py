"""Models that cannot request tools."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from responsa_server.domain.models import ChatModel, ModelPiece, ModelPrompt, PromptMessage, Provenance, Role


class WithoutTools:
    """A `ChatModel` that cannot request tools. It is offered none, and earlier calls and their results reach it as text, because its server may refuse other messages."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    @property
    def name(self) -> str:
        return self._model.name

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        plain = replace(prompt, tools=(), messages=list(_plain(prompt.messages)))
        async with aclosing(self._model.stream(plain)) as pieces:
            async for piece in pieces:
                yield piece


def _plain(messages: Sequence[PromptMessage]) -> Iterator[PromptMessage]:
    asked = {request.call_id: request for message in messages for request in message.requests}
    for message in messages:
        if message.role is Role.TOOL:
            call = asked.get(message.answers)
            of = (
                ""
                if call is None
                else f" {call.tool}, called with {json.dumps(dict(call.arguments), ensure_ascii=False)}"
            )
            text = f"The result of the tool{of}:\n\n{message.text}"
            yield PromptMessage(Role.USER, text, place=Provenance.RETRIEVED)
        elif not message.requests:
            yield message
        elif message.text:
            yield replace(message, requests=())
