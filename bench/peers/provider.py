"""A model's server for measurements. Each word that it sends is the time at which the word was sent, so that the reader can
compute how long the word took.

python -m bench.peers.provider --listen IGNORED --port PORT

The last message of a prompt, `WORDS PACE_MS`, sets the number of words and the pace. Times are nanoseconds of the monotonic
clock, which all processes of a machine share. The time of the first word is the time at which the first byte of the answer
was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from itertools import count
from typing import Final

from bench.peers.process import until_told
from responsa_lab.testing.loopback import Exchange, LoopbackServer
from responsa_server.app.process import freeze, run

# Streams that begin together must not send at the same times. Therefore each stream is shifted by a multiple of the golden ratio.
_STEP: Final = 0.618
_CHUNK: Final = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench","service_tier":"default",'
    b'"choices":[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}],"usage":null}\n\n'
)
_LAST: Final = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench","choices":[],'
    b'"usage":{"prompt_tokens":7,"completion_tokens":%d,"total_tokens":7}}\n\ndata: [DONE]\n\n'
)


class Provider:
    """Serves OpenAI's chat completions, without a check of credentials."""

    def __init__(self) -> None:
        self._numbers = count(1)

    async def handle(self, exchange: Exchange) -> None:
        """Answers one request."""
        asked = json.loads(exchange.request.body)["messages"][-1]["content"]
        words, pace_ms = (int(part) for part in asked.split()[:2])
        pace = pace_ms / 1000
        loop = asyncio.get_running_loop()
        due = loop.time() + pace * (next(self._numbers) * _STEP % 1)
        if (pause := due - loop.time()) > 0:
            await asyncio.sleep(pause)
        stamp = _stamp()
        await exchange.begin("text/event-stream")
        await exchange.piece(_CHUNK % (b'{"role":"assistant","content":""}', b"null"))
        for _ in range(words):
            await exchange.piece(_CHUNK % (b'{"content":"%b "}' % stamp, b"null"))
            due += pace
            if (pause := due - loop.time()) > 0:
                await asyncio.sleep(pause)
            stamp = _stamp()
        await exchange.piece(_CHUNK % (b"{}", b'"stop"') + _LAST % words)
        await exchange.end()


def _stamp() -> bytes:
    return b"t%d;" % time.monotonic_ns()


async def main() -> None:
    """Serves until a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen")
    parser.add_argument("--port", type=int, required=True)
    server = LoopbackServer(Provider().handle)
    await server.start(parser.parse_args().port)
    freeze()
    await until_told()
    await server.close()


if __name__ == "__main__":
    run(main())
