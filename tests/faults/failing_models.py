"""Model servers for the campaign of failovers: the first breaks off its answer at a byte, the second takes the answer up well or badly.

A case is named in the question, `case N`. The servers speak the three protocols over real sockets.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from tests.wire.anthropic import Anthropic
from tests.wire.gemini import Gemini
from tests.wire.openai import OpenAi
from tests.wire.speaking import KEY, Scene, WireServer

WIRES: Mapping[str, WireServer] = {"openai": OpenAi(), "anthropic": Anthropic(), "gemini": Gemini()}
PREFILLS: Mapping[str, str] = {"openai": "continue", "anthropic": "last"}
"""How the wires that can continue a text are asked to."""
_CASE = re.compile(r"case (\d+)")
_SYLLABLES = ["ba", "de", "ki", "lo", "mu", "na", "pé", "ri", "so", "tü", "va", "ze", "чи", "gø", "fa", "hu"]


class Act(StrEnum):
    """What the second model does."""

    CONTINUES = "continues"
    REPEATS = "repeats"
    RESTARTS = "restarts"


@dataclass
class Case:
    """One question. text: the answer. cut: the byte of the first server's body at which it breaks off. began: when each
    answer of the second server sent its first text.
    """

    text: str
    cut: float
    act: Act
    dice: random.Random
    cut_at: int = 0
    began: list[float] = field(default_factory=list[float])
    answers: list[str] = field(default_factory=list[str])


def answer_text(dice: random.Random) -> str:
    """An answer of sentences, with a list. No word and no number occurs twice."""
    used = set[str]()

    def word() -> str:
        while (one := "".join(dice.choices(_SYLLABLES, k=dice.randint(2, 4)))) in used:
            pass
        used.add(one)
        return one

    def sentence() -> str:
        words = [word() for _ in range(dice.randint(5, 12))]
        number = dice.randrange(10_000, 100_000)
        while str(number) in used:
            number += 1
        used.add(str(number))
        words.insert(dice.randint(1, len(words) - 1), str(number))
        return " ".join(words).capitalize() + "."

    paragraphs = [" ".join(sentence() for _ in range(dice.randint(2, 5))) for _ in range(2)]
    items = "\n".join(f"- {sentence()}" for _ in range(3))
    return "\n\n".join([paragraphs[0], items, paragraphs[1]])


@dataclass
class Models:
    """The servers. cases: the cases by number. settings: the environment that declares the servers to Responsa."""

    cases: dict[int, Case] = field(default_factory=dict[int, Case])
    settings: dict[str, str] = field(default_factory=dict[str, str])

    async def first(self, wire: WireServer, exchange: LoopbackExchange) -> None:
        """Answer, and break off."""
        case = self._case(wire, exchange)
        body = b"".join(wire.events(Scene(texts=_pieces(case.text, case.dice))))
        case.cut_at = int(case.cut * len(body))
        await exchange.begin("text/event-stream")
        place = 0
        while place < case.cut_at:
            end = min(case.cut_at, place + case.dice.randint(1, 400))
            await exchange.piece(body[place:end])
            place = end
            await asyncio.sleep(0)
        exchange.cut()

    async def second(self, wire: WireServer, exchange: LoopbackExchange) -> None:
        """Take the answer up."""
        case = self._case(wire, exchange)
        stands, prefix = _stands(json.loads(exchange.request.body))
        text = case.text
        if stands:
            assert text.startswith(stands), (stands, text)
            rest = text[len(stands) :]
            match case.act:
                case Act.CONTINUES:
                    text = rest if prefix else rest.lstrip()
                case Act.REPEATS:
                    again = " ".join(stands.split()[-case.dice.randint(3, 9) :])
                    text = f"{again}{rest}"
                case Act.RESTARTS:
                    pass
        await exchange.begin("text/event-stream")
        pieces = _pieces(text, case.dice)
        case.answers.append(text)
        events = wire.events(Scene(texts=pieces))
        # The opening events of a protocol have no text.
        opening = len(events) - len(pieces) - len(wire.events(Scene())) + 1
        for place, event in enumerate(events):
            await exchange.piece(event)
            if b'"text' in event or b'"content"' in event:
                if len(case.began) < len(case.answers) and place >= max(0, opening):
                    case.began.append(time.monotonic())
                await asyncio.sleep(case.dice.uniform(0, 0.03) if place < 16 else 0)
        await exchange.end()

    def _case(self, wire: WireServer, exchange: LoopbackExchange) -> Case:
        wire.check(exchange)
        found = _CASE.search(exchange.request.body.decode())
        assert found is not None
        return self.cases[int(found[1])]


def _pieces(text: str, dice: random.Random) -> Sequence[str]:
    pieces: list[str] = []
    place = 0
    while place < len(text):
        size = dice.randint(2, 7)
        pieces.append(text[place : place + size])
        place += size
    return pieces


def _stands(body: Mapping[str, Any]) -> tuple[str, bool]:
    """What stands of the answer according to a request, and whether it is the text to continue."""
    if "contents" in body:
        said = [one["parts"][0]["text"] for one in body["contents"] if one["role"] == "model"]
        return (said[-1] if said else ""), False
    messages = body["messages"]
    said = [message["content"] for message in messages if message["role"] == "assistant"]
    if not said:
        return "", False
    text = said[-1] if isinstance(said[-1], str) else said[-1][0]["text"]
    return text, messages[-1]["role"] == "assistant"


@asynccontextmanager
async def models() -> AsyncGenerator[Models]:
    """The servers, running: `first-WIRE`, `second-WIRE`, and `prefill-WIRE` for the wires that can continue a text."""
    served = Models()
    async with AsyncExitStack() as stack:
        for name, wire in WIRES.items():
            for role, handler in (("first", served.first), ("second", served.second)):
                server = LoopbackServer(lambda exchange, wire=wire, handler=handler: handler(wire, exchange))
                await server.start()
                stack.push_async_callback(server.close)
                roles = [role, "prefill"] if role == "second" and name in PREFILLS else [role]
                for server_role in roles:
                    key = f"RESPONSA_MODELS__SERVERS__{server_role}-{name}__".upper()
                    served.settings |= {
                        f"{key}URL": f"{server.url}{wire.root}",
                        f"{key}API_KEY": KEY,
                        f"{key}WIRE": name,
                        f"{key}PREFILL": PREFILLS[name] if server_role == "prefill" else "none",
                    }
        yield served
