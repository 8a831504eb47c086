"""`python -m bench.tools`: what calls of tools add to a turn, beyond the time of the tools themselves, over gRPC and through Envoy.

Three APIs answer after 100, 200 and 300 ms. Turns that call all three at once are measured alternately with turns that call the slowest alone. The aim is that all three cost at most 20 ms more. The model is a scripted one in the
server's process, which answers at once.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc

from bench.interleaved import interleaved
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1.turn_pb2 import TurnEvent
from responsa_lab.testing.loopback import Exchange, LoopbackServer
from tests.instance import instance_in
from tests.transports import stub_of

DELAYS_MS: Final = (100, 200, 300)
AIM_MS: Final = 20.0
ROUNDS: Final = 40
WARM_UP: Final = 3
AGENT: Final = """name = "Waiting"
description = "Calls the tools that a question names."
start = "write"
model = { chain = ["scripted:calling"], max_output_tokens = 500 }
history = { messages = 0 }

[tools]
use = ["wait100", "wait200", "wait300"]

[nodes]
write = { kind = "prompt", prompt = "reply", tools = true }
call = { kind = "tool_caller" }
end = { kind = "prompt", prompt = "reply" }

[graph]
edges = [
  { from = "write", to = "finish", when = { field = "calls", empty = true } },
  { from = "write", to = "call" },
  { from = "call", to = "end" },
]
"""
PROMPT: Final = '+++\nvariables = { question = "what was asked" }\n+++\nAnswer.\n=== user\n{{ question }}\n'


async def _answer(exchange: Exchange) -> None:
    """Answer `/N?…` after N milliseconds."""
    await asyncio.sleep(int(exchange.request.path.removeprefix("/").partition("?")[0]) / 1000)
    await exchange.reply(200, b'"It is done."')


@contextmanager
def _serving() -> Generator[str]:
    """The APIs, in a thread. Yields their address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="apis", daemon=True)
    thread.start()
    server = LoopbackServer(_answer)
    asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    try:
        yield server.url
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _declare(folder: Path, url: str) -> None:
    (folder / "tools").mkdir()
    for delay in DELAYS_MS:
        (folder / "tools" / f"wait{delay}.toml").write_text(
            f'kind = "http_api"\nurl = "{url}/{delay}"\nallow_private = ["127.0.0.1"]\nquery = {{ n = "{{n}}" }}\n[parameters.n]\ntype = "integer"\n',
            encoding="utf-8",
        )
    home = folder / "agents" / "waiting"
    (home / "prompts").mkdir(parents=True)
    (home / "agent.toml").write_text(AGENT, encoding="utf-8")
    (home / "prompts" / "reply.md").write_text(PROMPT, encoding="utf-8")


def _asked(stub: Any, key: str, delays: Sequence[int], number: int) -> float:
    """The milliseconds of a turn, from the question to the last event."""
    text = "\n".join(f'call wait{delay} {{"n": {number}}}' for delay in delays)
    begin = time.perf_counter()
    stream = stub.Ask(
        chat.AskRequest(agent="agents/waiting", text=text), metadata=(("authorization", f"Bearer {key}"),)
    )
    events: list[TurnEvent] = [event for frame in stream for event in frame.events]
    took = (time.perf_counter() - begin) * 1000
    results = [one.tool_result for one in events if one.HasField("tool_result")]
    if len(results) != len(delays) or any(one.outcome != 1 for one in results):
        raise SystemExit(f"a call failed: {results}")
    return took


def measure(rounds: int) -> None:
    """Print the figures of this many rounds."""
    with tempfile.TemporaryDirectory(prefix="rsp-tools-") as name, _serving() as url:
        folder = Path(name)
        _declare(folder, url)
        settings = {
            "RESPONSA_DOCS": "none",
            "RESPONSA_MODELS__SCRIPTED": "true",
            "RESPONSA_TOOLS__FOLDER": str(folder / "tools"),
            "RESPONSA_AGENTS__FOLDER": str(folder / "agents"),
        }
        with (
            instance_in(folder, **settings) as instance,
            grpc.insecure_channel(instance.target) as channel,
        ):
            stub = stub_of(channel, "ChatService")
            server = instance.processes()["server"]
            slowest = DELAYS_MS[-1:]

            def side(delays: Sequence[int]) -> Callable[[int], tuple[float, float]]:
                def ask(number: int) -> tuple[float, float]:
                    before = server.cpu_times()
                    took = _asked(stub, instance.key, delays, number)
                    after = server.cpu_times()
                    return took, (after.user + after.system - before.user - before.system) * 1000

                return ask

            for number in range(WARM_UP):
                _asked(stub, instance.key, DELAYS_MS, -1 - number)
            measured = interleaved(rounds, side(DELAYS_MS), side(slowest))
    three, alone = ([took for took, _ in one] for one in measured)
    cpu, cpu_alone = (statistics.mean(used for _, used in one) for one in measured)
    more = sorted(one - other for one, other in zip(three, alone, strict=True))
    ratio = statistics.median(one / other for one, other in zip(three, alone, strict=True))
    print(f"a turn with the slowest tool ({slowest[0]} ms) alone: {statistics.median(alone):.1f} ms")
    print(f"a turn with three tools at once: {statistics.median(three):.1f} ms ({ratio:.3f})")
    print(
        f"the difference: {statistics.median(more):.1f} ms ({more[0]:.1f} to {more[-1]:.1f}; aim: at most {AIM_MS:.0f})"
    )
    print(f"the server's CPU time: {cpu_alone:.1f} ms alone, {cpu:.1f} ms with three tools")


def main() -> None:
    """Measure on a throw-away instance."""
    parser = argparse.ArgumentParser(prog="python -m bench.tools", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    measure(parser.parse_args().rounds)


if __name__ == "__main__":
    main()
