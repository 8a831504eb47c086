"""Models that fail, each in a different way. They show the consequences of a model's failure and need no server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from enum import StrEnum
from itertools import count

from responsa_lab.scripted.strong import Strong, tokens_read
from responsa_server.domain.events import Usage
from responsa_server.domain.models import (
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    Spent,
    Stop,
    TextPiece,
)


class Kind(StrEnum):
    """The way in which a model fails.

    INVALID_JSON: if a prompt has a schema, the reply does not fit the schema; all other replies are the same as those of the strong model. EMPTY: the answer has no words.
    ENDLESS: the answer never ends, whatever its limit. CUT: the answer breaks off after some words. STALL: the model never sends a word. HANG: the model sends
    some words and then no more. UNSAFE: the model refuses to answer. UNREACHABLE, 401, 429, 500: no answer begins. The errors UNREACHABLE, 429
    and 500 are marked as passing, so the same request can succeed later.
    """

    INVALID_JSON = "invalid-json"
    EMPTY = "empty"
    ENDLESS = "endless"
    CUT = "cut"
    STALL = "stall"
    HANG = "hang"
    UNSAFE = "unsafe"
    UNREACHABLE = "unreachable"
    CREDENTIAL = "401"
    RATE_LIMITED = "429"
    OVERLOADED = "500"


_ERRORS = {
    Kind.UNREACHABLE: (ModelFault.UNREACHABLE, True),
    Kind.CREDENTIAL: (ModelFault.CREDENTIAL, False),
    Kind.RATE_LIMITED: (ModelFault.RATE_LIMITED, True),
    Kind.OVERLOADED: (ModelFault.OVERLOADED, True),
    Kind.EMPTY: (ModelFault.EMPTY, False),
}
_WORDS = ("So", " far", " so", " good")
_RETRY_SECONDS = 1.0


class Broken:
    """A `ChatModel` with the name `broken-KIND`. idle_seconds: the number of seconds without a word after which the model raises TIMEOUT, as an adapter does."""

    def __init__(self, kind: Kind, idle_seconds: float = 60.0) -> None:
        self._kind = kind
        self._idle_seconds = idle_seconds
        self._strong = Strong()

    @property
    def name(self) -> str:
        return f"broken-{self._kind.value}"

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        if self._kind in _ERRORS:
            fault, passing = _ERRORS[self._kind]
            after = _RETRY_SECONDS if fault is ModelFault.RATE_LIMITED else None
            raise ModelError(fault, f"{self.name}, as the script says", retry_after=after, passing=passing)
        read = tokens_read(prompt)
        match self._kind:
            case Kind.INVALID_JSON if prompt.schema is None:
                async for piece in self._strong.stream(prompt):
                    yield piece
            case Kind.INVALID_JSON:
                yield TextPiece('Sure! {"intent": [qa, ')
                yield Spent(Usage(input_tokens=read, output_tokens=4))
                yield Ended(complete=True)
            case Kind.UNSAFE:
                yield Spent(Usage(input_tokens=read))
                yield Ended(complete=False, stop=Stop.UNSAFE)
            case Kind.ENDLESS:
                for place in count(1):
                    await asyncio.sleep(0)
                    yield TextPiece(f"word {place} and ")
            case Kind.STALL:
                await self._silence()
            case _:
                for word in _WORDS:
                    yield TextPiece(word)
                if self._kind is Kind.HANG:
                    await self._silence()
                raise ModelError(ModelFault.CUT, f"{self.name}, as the script says")

    async def _silence(self) -> None:
        await asyncio.sleep(self._idle_seconds)
        raise ModelError(ModelFault.TIMEOUT, f"{self.name}: no word for {self._idle_seconds} s")
