"""Models with scripted replies, which record their requests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from responsa_server.domain.models import (
    ChatModel,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    PromptMessage,
    Role,
)

PROMPT = ModelPrompt([PromptMessage(Role.USER, "Why?")], "turns/1")


def failing(fault: ModelFault, *, passing: bool = False, retry_after: float | None = None) -> ModelError:
    return ModelError(fault, "as told", passing=passing, retry_after=retry_after)


class Told:
    """A model that plays its scripts in order, one per call, and then repeats the last one. A script has pieces to send and
    may have an error to raise.
    """

    def __init__(self, *takes: Sequence[ModelPiece | ModelError], name: str = "told") -> None:
        self.name = name
        self.prompts: list[ModelPrompt] = []
        self.closed = 0
        self._takes = takes

    @property
    def calls(self) -> int:
        return len(self.prompts)

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        take = self._takes[min(self.calls, len(self._takes) - 1)]
        self.prompts.append(prompt)
        try:
            for piece in take:
                if isinstance(piece, ModelError):
                    raise piece
                yield piece
        finally:
            self.closed += 1


async def gathered(model: ChatModel) -> tuple[list[ModelPiece], ModelError | None]:
    """All pieces of a model's stream, and the error that ended the stream (None if there was no error)."""
    pieces: list[ModelPiece] = []
    try:
        async with aclosing(model.stream(PROMPT)) as stream:
            async for piece in stream:
                pieces.append(piece)
    except ModelError as error:
        return pieces, error
    return pieces, None


async def failure(model: ChatModel) -> ModelError:
    """The error that ends a model's stream."""
    error = (await gathered(model))[1]
    assert error is not None
    return error
