"""A model behind OpenAI's chat completions: a hundred tokens at no pace. They quote the first passage of the prompt, so
that a check of the citations confirms them.

python -m bench.peers.model --listen 127.0.0.1:PORT
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from itertools import cycle
from typing import Any, Final

from bench.peers.process import arguments, until_told
from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from tests.wire.openai import OpenAi
from tests.wire.speaking import Scene

NAME: Final = "bench"
"""The model's name, and its server's in the settings."""
TOKENS: Final = 100
_TOKENS_A_SENTENCE: Final = 25
_MARK: Final = "[1]"


def tokens(prompt: str) -> Sequence[str]:
    """The tokens of the answer to a prompt: the words of the longest paragraph of the first passage, as sentences that
    each end with its mark."""
    passage = prompt.partition(_MARK)[2].partition("[2]")[0]
    words = cycle(max(passage.split("\n\n"), key=len).split() or ["nothing"])
    return [
        f"{next(words)} " if place % _TOKENS_A_SENTENCE else f"{_MARK}. " for place in range(1, TOKENS + 1)
    ]


async def answer(exchange: LoopbackExchange) -> None:
    """Answers a request at once."""
    body: dict[str, Any] = json.loads(exchange.request.body)
    prompt = max((str(message["content"]) for message in body["messages"]), key=len)
    events = OpenAi().events(Scene(tokens(prompt), usage=(len(prompt) // 4, 0, 0, TOKENS)))
    await exchange.begin("text/event-stream")
    await exchange.raw(b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events))
    await exchange.end()


async def main() -> None:
    """Serves until a signal."""
    server = LoopbackServer(answer)
    await server.start(int(arguments(__doc__ or "").address.rpartition(":")[2]))
    await until_told()
    await server.close()


if __name__ == "__main__":
    asyncio.run(main())
