"""Reads streams of words over gRPC, or from a model's adapter in this process. Each word contains the time at which it was sent. This module runs in a separate process.

python -m bench.stamps        reads a `Reading` from standard input, and prints a `Found`, or {"error": …}
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

# This class is generic only in its stubs.
Streaming: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"
_STAMP: Final = re.compile(rb"t(\d{10,19});")
_STREAMS_A_CHANNEL: Final = 50


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading of `streams` concurrent streams, each with `words` words at a fixed pace. The reading is repeated `rounds` times.

    To read from the adapter, set `url` to the provider's URL. To read over gRPC, set `target` and `key` for a server. warm_up: the number of words at the beginning of
    each stream that do not count.
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
        """The prompt for the provider."""
        return f"{self.words} {self.pace_ms}"


@dataclass(frozen=True, slots=True)
class Found:
    """firsts, words: the milliseconds from the sending of a word to its receipt, for the first word of each stream and for all
    words. lags: the lags of this process's event loop. cpu: the CPU seconds of this process.
    """

    firsts: Sequence[float]
    words: Sequence[float]
    lags: Sequence[float]
    cpu: float
    seconds: float


READINGS: Final = TypeAdapter(Reading)
FOUNDS: Final = TypeAdapter(Found)


class Tally:
    """Collects the received words, with the milliseconds since they were sent. warm_up: the number of words at the beginning of each stream that do not count."""

    def __init__(self, warm_up: int) -> None:
        self.firsts: list[float] = []
        self.words: list[float] = []
        self._warm_up = warm_up

    def add(self, place: int, ages: Iterator[float]) -> int:
        """Counts the words of a message. The first word of the message has the number `place` in the stream. Returns the number of the next word."""
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
    """Reads from the provider itself. Raises ModelError, and RuntimeError if words are missing."""
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
                raise RuntimeError(f"{place} of {reading.words} words arrived")

    await asyncio.gather(*(stream() for _ in range(reading.streams)))
    await models.close()


async def by_grpc(reading: Reading, tally: Tally) -> None:
    """Reads turns of a server. Raises grpc.aio.AioRpcError, and RuntimeError if words are missing."""
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
                # The last frame contains the whole text again, after the new words.
                place = tally.add(place, islice(_ages(message), reading.words - place))
            if place != reading.words:
                raise RuntimeError(f"{place} of {reading.words} words arrived")

    await asyncio.gather(*(stream(channels[one % number]) for one in range(reading.streams)))
    await asyncio.gather(*(one.close() for one in channels))


async def main() -> None:
    """Does one reading."""
    reading = READINGS.validate_json(sys.stdin.readline())
    tally = Tally(reading.warm_up)
    freeze()
    async with lagging() as lags:
        begun, cpu = time.perf_counter(), time.process_time()
        try:
            await (by_adapter if reading.url else by_grpc)(reading, tally)
        except Exception as error:  # the parent process reports the error
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
            return
        spent = time.process_time() - cpu
        found = Found(tally.firsts, tally.words, list(lags), spent, time.perf_counter() - begun)
    print(FOUNDS.dump_json(found).decode(), flush=True)


if __name__ == "__main__":
    run(main())
