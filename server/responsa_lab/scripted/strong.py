"""Plays a strong model: it does what its prompts ask, as far as rules can, and pays no heed to what is asked elsewhere."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Final

from responsa_lab.scripted.choosing import filled
from responsa_lab.scripted.reading import Reading
from responsa_lab.scripted.writing import written
from responsa_server.domain.events import Usage
from responsa_server.domain.ports.models import (
    Ended,
    ModelPiece,
    ModelPrompt,
    Spent,
    Stop,
    TextPiece,
)

_PIECE: Final = re.compile(r"\s*\S+")
_BYTES_A_TOKEN: Final = 4


class Strong:
    """A `ChatModel`. Words are its tokens, and a piece each; what it reads counts a token for four bytes. It asks for no tools.

    asked: how often for each `purpose`, since it was made.
    """

    def __init__(self, name: str = "strong") -> None:
        self._name = name
        self.asked: Counter[str] = Counter()

    @property
    def name(self) -> str:
        """See `ChatModel.name`."""
        return self._name

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """See `ChatModel.stream`. The same prompt has the same answer."""
        self.asked[prompt.purpose] += 1
        read = tokens_read(prompt)
        yield Spent(Usage(input_tokens=read))
        pieces = _PIECE.findall(self.says(Reading(prompt)))
        for piece in pieces[: prompt.max_tokens]:
            # Others get their turn, as they do while a socket is read.
            await asyncio.sleep(0)
            yield TextPiece(piece)
        whole = len(pieces) <= prompt.max_tokens
        yield Spent(Usage(input_tokens=read, output_tokens=min(len(pieces), prompt.max_tokens)))
        yield Ended(complete=whole, stop=Stop.END if whole else Stop.LIMIT)

    def says(self, reading: Reading) -> str:
        """The whole answer, never empty."""
        if (schema := reading.prompt.schema) is not None:
            return json.dumps(filled(schema, reading), ensure_ascii=False)
        return written(reading)


def tokens_read(prompt: ModelPrompt) -> int:
    """What a prompt counts."""
    return -(-sum(len(one.text.encode()) for one in prompt.messages) // _BYTES_A_TOKEN)
