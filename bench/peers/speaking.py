"""A model in this process that sends the same sixty-four pieces at once, so that only the engine is measured."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from responsa_server.domain.events import Usage
from responsa_server.domain.models import Ended, ModelPiece, ModelPrompt, Spent, TextPiece

_SENTENCES: Final = (
    "The tide gauge at Marness was set up in 1877 because of shipping in the strait. [1] ",
    "In 1885 it failed through salt in the bearings, and a heated housing cured that. [1] ",
    "Its drum has been wound every Sunday since. [1] ",
    "So the gauge has been in service, but for that one failure, ever since it was set up, and its record is whole. ",
)


def _pieces() -> tuple[TextPiece, ...]:
    words = [f"{word} " for sentence in _SENTENCES for word in sentence.split()]
    return tuple(TextPiece(word) for word in words[:64])


class Speaking:
    """A `ChatModel`."""

    name = "bench:speaking"

    def __init__(self) -> None:
        self._pieces = _pieces()
        assert len(self._pieces) == 64

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """See `ChatModel.stream`."""
        for piece in self._pieces:
            yield piece
        yield Spent(Usage(input_tokens=200, output_tokens=64), self.name)
        yield Ended(complete=True)
