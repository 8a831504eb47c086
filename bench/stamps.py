"""Reads streams of words that say when they were sent, over gRPC or from a model's adapter in this process; in a process of its own.

python -m bench.stamps        reads a `Reading` on standard input, prints what it `Found`, or {"error": …}
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

import grpc.aio
from pydantic import TypeAdapter

from bench.calls import METHODS, request_of
from bench.jobs import Call, Job, Transport
from bench.peers.asking import MODEL
from bench.peers.lag import lagging
from responsa_server.app.models import model_table
from responsa_server.app.process import freeze, run
from responsa_server.domain.models import ModelPrompt, PromptMessage, Role, TextPiece
from responsa_server.providers.settings import ModelSettings

# Generic in its stubs alone.
Streaming: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"
_STAMP: Final = re.compile(rb"t(\d{10,19});")
_STREAMS_A_CHANNEL: Final = 50


@dataclass(frozen=True, slots=True)
class Reading:
    """So many streams side by side of so many words each, one every so often; then again, so many times.

    url: of the provider, for the adapter; target, key: of a server, for gRPC. One of both is given. warm_up: words of each stream that are not counted.
    """

    streams: int
    words: int
    pace_ms: int
    rounds: int = 1
    warm_up: int = 0
    url: str = ""
    target: str = ""
    key: str = ""

    @property
    def question(self) -> str:
        """What the provider is asked."""
        return f"{self.words} {self.pace_ms}"


@dataclass(frozen=True, slots=True)
class Found:
    """Milliseconds that words were on their way: the first of each stream, and all. lags: of this process's loop. cpu: seconds of it, of so many."""

    firsts: Sequence[float]
    words: Sequence[float]
    lags: Sequence[float]
    cpu: float
    seconds: float


READINGS: Final = TypeAdapter(Reading)
FOUNDS: Final = TypeAdapter(Found)


class Tally:
    """What came, in milliseconds on its way. warm_up: words of each stream that are not counted among all."""

    def __init__(self, warm_up: int) -> None:
        self.firsts: list[float] = []
        self.words: list[float] = []
        self._warm_up = warm_up

    def add(self, place: int, ages: Iterator[float]) -> int:
        """Count the words of a message, the first of which is the stream's number `place`. Returns the next one's."""
        for age in ages:
            if place == 0:
                self.firsts.append(age)
            if place >= self._warm_up:
                self.words.append(age)
            place += 1
        return place


def _ages(data: bytes) -> Iterator[float]:
    now = time.monotonic_ns()
    return ((now - int(one)) / 1e6 for one in _STAMP.findall(data))


async def by_adapter(reading: Reading, tally: Tally) -> None:
    """Read from the provider itself. Raises RuntimeError when words are missing, ModelError."""
    settings = ModelSettings.model_validate(
        {"servers": {"bench": {"url": reading.url, "concurrent": 10_000}}, "retries": 0}
    )
    models = model_table(settings)
    chain = models.chain([MODEL])
    assert chain is not None
    prompt = ModelPrompt([PromptMessage(Role.USER, reading.question)], "")

    async def stream() -> None:
        for _ in range(reading.rounds):
            place = 0
            async with aclosing(chain.stream(prompt)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, TextPiece):
                        place = tally.add(place, _ages(piece.text.encode()))
            if place != reading.words:
                raise RuntimeError(f"{place} words came of {reading.words}")

    await asyncio.gather(*(stream() for _ in range(reading.streams)))
    await models.close()


async def by_grpc(reading: Reading, tally: Tally) -> None:
    """Read turns of a server. Raises RuntimeError when words are missing, grpc.aio.AioRpcError."""
    job = Job(Call.ASK, Transport.GRPC, reading.target, reading.key, texts=[reading.question])
    metadata = (("authorization", f"Bearer {reading.key}"),)
    options = (("grpc.use_local_subchannel_pool", 1),)
    number = -(-reading.streams // _STREAMS_A_CHANNEL)
    channels = [grpc.aio.insecure_channel(reading.target, options=options) for _ in range(number)]

    async def stream(channel: grpc.aio.Channel) -> None:
        for _ in range(reading.rounds):
            place = 0
            streaming: Streaming = channel.unary_stream(METHODS[job.call])
            async for message in streaming(request_of(job, 0), metadata=metadata):
                # The last one holds the whole text once more, behind what is new.
                place = tally.add(place, islice(_ages(message), reading.words - place))
            if place != reading.words:
                raise RuntimeError(f"{place} words came of {reading.words}")

    await asyncio.gather(*(stream(channels[one % number]) for one in range(reading.streams)))
    await asyncio.gather(*(one.close() for one in channels))


async def main() -> None:
    """Do one reading."""
    reading = READINGS.validate_json(sys.stdin.readline())
    tally = Tally(reading.warm_up)
    freeze()
    async with lagging() as lags:
        begun, cpu = time.perf_counter(), time.process_time()
        try:
            await (by_adapter if reading.url else by_grpc)(reading, tally)
        except Exception as error:  # whoever started this process tells of it
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
            return
        spent = time.process_time() - cpu
        found = Found(tally.firsts, tally.words, list(lags), spent, time.perf_counter() - begun)
    print(FOUNDS.dump_json(found).decode(), flush=True)


if __name__ == "__main__":
    run(main())
