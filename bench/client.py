"""The calling process. It makes the calls of jobs in a separate process, so that the caller's work does not count as the server's work.

python -m bench.client        reads one `Job` per line from standard input, and prints its `Outcome`, or {"error": …}, on one line
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Final, TypeAlias

import grpc.aio

from bench.agent_server_client import AgentServerCaller
from bench.calls import METHODS, answered, request_of
from bench.jobs import JOBS, OUTCOMES, Call, Job, Outcome, Transport
from bench.socket_client import SocketCaller
from bench.web import WebCaller

# This class is generic only in its stubs.
Streaming: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"
Unary: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"

# The maximum number of streams that are being opened at the same time. Each stream asks a question when it opens, and a server
# should not get a thousand questions at once.
_OPENED_AT_ONCE: Final = 64
_SETTLING_SECONDS: Final = 2.0


@dataclass(slots=True)
class Tally:
    """Collects the results of a job's calls."""

    totals: list[float] = field(default_factory=list[float])
    firsts: list[float] = field(default_factory=list[float])
    messages: int = 0
    odd: int = 0

    def add(self, begun: float, first: float, ended: float, messages: int, *, good: bool) -> None:
        """Counts one call. The times are in seconds of time.perf_counter."""
        self.totals.append((ended - begun) * 1000)
        self.firsts.append((first - begun) * 1000)
        self.messages += messages
        self.odd += not good


def places(job: Job, until: float) -> Callable[[], int | None]:
    """A function that returns the number of the next call; None if the job begins no more calls. Several threads may
    call the function, because the interpreter's lock protects it.
    """
    numbers = count(job.first)

    def following() -> int | None:
        place = next(numbers)
        ended = job.calls and place - job.first >= job.calls
        return None if ended or time.perf_counter() >= until else place

    return following


@asynccontextmanager
async def _channels(job: Job) -> AsyncGenerator[list[grpc.aio.Channel]]:
    # Each channel gets its own pool. Otherwise all channels would share one connection, which carries at most a hundred streams.
    options = (("grpc.use_local_subchannel_pool", 1),)
    number = -(-job.streams // job.streams_a_channel)
    channels = [grpc.aio.insecure_channel(job.target, options=options) for _ in range(number)]
    try:
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        yield channels
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))


async def by_grpc(job: Job) -> Outcome:
    """Does a job over gRPC. Raises grpc.aio.AioRpcError."""
    metadata = (("authorization", f"Bearer {job.key}"),)
    method, tally = METHODS[job.call], Tally()

    async def stream(channel: grpc.aio.Channel, following: Callable[[], int | None]) -> None:
        # Requests and responses are bytes here, so that parsing in the caller does not count as the server's work.
        streaming: Streaming = channel.unary_stream(method)
        unary: Unary = channel.unary_unary(method)
        while (place := following()) is not None:
            request = request_of(job, place)
            begun = first = time.perf_counter()
            messages, last = 0, b""
            if job.call is Call.ASK:
                async for message in streaming(request, metadata=metadata):
                    messages, last = messages + 1, message
                    if messages == 1:
                        first = time.perf_counter()
            else:
                last, messages = await unary(request, metadata=metadata), 1
                first = time.perf_counter()
            tally.add(
                begun,
                first,
                time.perf_counter(),
                messages,
                good=answered(job.call, last, refusals=job.refusals),
            )

    async with _channels(job) as channels:
        begun = time.perf_counter()
        following = places(job, begun + job.seconds)
        await asyncio.gather(
            *(stream(channels[number % len(channels)], following) for number in range(job.streams))
        )
        return Outcome(time.perf_counter() - begun, tally.totals, tally.firsts, tally.messages, tally.odd)


async def by_holding(job: Job) -> Outcome:
    """Opens the streams of a job, keeps them open, and closes them. Raises grpc.aio.AioRpcError, and RuntimeError if a
    stream ends by itself."""
    metadata = (("authorization", f"Bearer {job.key}"),)
    tally, gaps = Tally(), list[float]()
    opening = asyncio.Semaphore(_OPENED_AT_ONCE)
    all_open = asyncio.Event()
    lasts: dict[int, float] = {}

    async def stream(channel: grpc.aio.Channel, number: int) -> None:
        streaming: Streaming = channel.unary_stream(METHODS[job.call])
        async with opening:
            begun = time.perf_counter()
            call = streaming(request_of(job, number), metadata=metadata)
            await call.read()
            opened = time.perf_counter()
        tally.add(begun, opened, opened, 1, good=True)
        if len(tally.firsts) == job.streams:
            all_open.set()
        while await call.read() is not grpc.aio.EOF:
            tally.messages += 1
            if number in lasts:
                now = time.perf_counter()
                gaps.append((now - lasts[number]) * 1000)
                lasts[number] = now
        raise RuntimeError("a stream ended that should stay open")

    async with _channels(job) as channels:
        begun = time.perf_counter()
        streams = [
            asyncio.ensure_future(stream(channels[number % len(channels)], number))
            for number in range(job.streams)
        ]
        waiting = asyncio.ensure_future(all_open.wait())
        await asyncio.wait([waiting, *streams], return_when=asyncio.FIRST_COMPLETED)
        # First read the messages that arrived while the streams were being opened.
        await asyncio.wait(streams, timeout=_SETTLING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        lasts.update(dict.fromkeys(range(job.streams), time.perf_counter()))
        ended, _ = await asyncio.wait(streams, timeout=job.hold, return_when=asyncio.FIRST_COMPLETED)
        now = time.perf_counter()
        # The silence at the end of a stream is a gap too.
        gaps.extend((now - last) * 1000 for last in lasts.values())
        lasts.clear()
        for one in ended:
            one.result()
        for one in (waiting, *streams):
            one.cancel()
        await asyncio.gather(waiting, *streams, return_exceptions=True)
        return Outcome(now - begun, tally.firsts, tally.firsts, tally.messages, 0, gaps)


def _web_caller(job: Job) -> WebCaller | SocketCaller | AgentServerCaller:
    match job.transport:
        case Transport.WEBSOCKET:
            return SocketCaller(job)
        case Transport.AGENT_SERVER:
            return AgentServerCaller(job)
        case _:
            return WebCaller(job, METHODS[job.call])


async def by_web(job: Job) -> Outcome:
    """Does a job over HTTP or WebSockets, with one thread and one connection per stream. Raises OSError,
    http.client.HTTPException, WebProblem."""
    tally = Tally()

    def stream(
        caller: WebCaller | SocketCaller | AgentServerCaller, following: Callable[[], int | None]
    ) -> None:
        while (place := following()) is not None:
            request = request_of(job, place)
            begun = time.perf_counter()
            first, messages, good = caller.call(request)
            tally.add(begun, first, time.perf_counter(), messages, good=good)

    callers = [_web_caller(job) for _ in range(job.streams)]
    try:
        begun = time.perf_counter()
        following = places(job, begun + job.seconds)
        # asyncio's own pool has fewer threads on a small machine.
        with ThreadPoolExecutor(job.streams) as pool:
            loop = asyncio.get_running_loop()
            await asyncio.gather(
                *(loop.run_in_executor(pool, stream, caller, following) for caller in callers)
            )
        return Outcome(time.perf_counter() - begun, tally.totals, tally.firsts, tally.messages, tally.odd)
    finally:
        for caller in callers:
            caller.close()


async def main() -> None:
    """Does jobs until standard input ends."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        job = JOBS.validate_json(line)
        try:
            if job.hold:
                outcome = await by_holding(job)
            else:
                outcome = await (by_grpc(job) if job.transport is Transport.GRPC else by_web(job))
        except Exception as error:  # the parent process must get every error
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        else:
            print(OUTCOMES.dump_json(outcome).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
