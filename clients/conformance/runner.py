"""Drives a client through the cases, or through random cuts of its connections to a real server. The client's driver is
any program that reads orders and writes results, one JSON object a line."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from grpc import aio

from clients.conformance.cases import CASES, kinds
from clients.conformance.proxies import CuttingProxy, random_cuts
from clients.conformance.server import HASTE, TOKEN, Play, ScriptedServer, turn_of
from responsa.chat.v1 import chat_service_pb2, chat_service_pb2_grpc

BACKOFF_MS: Final = 1
ANSWER_SECONDS: Final = 120.0
"""How long a driver may take for one order, also on a busy machine."""
_LINE_BYTES: Final = 1 << 24
_MOST_BYTES: Final = 6000
"""In random cuts, connections are cut after fewer bytes to the client than this number."""


class DriverFailed(Exception):
    """The driver ended, was silent for too long, or wrote something else than a JSON object."""


class Driver:
    """A client's driver. It is started with the first order, and again after it failed."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    async def obey(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """The result of an order. Raises DriverFailed."""
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE_BYTES,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(order).encode() + b"\n")
            await process.stdin.drain()
            async with asyncio.timeout(ANSWER_SECONDS):
                line = await process.stdout.readline()
            result = json.loads(line)
        except (TimeoutError, ValueError, ConnectionError) as error:
            await self.close()
            raise DriverFailed(f"the driver gave no result ({type(error).__name__}: {error})") from error
        return result

    async def close(self) -> None:
        """End the driver's process."""
        if self._process is not None:
            process, self._process = self._process, None
            if process.returncode is None:
                process.kill()
            await process.wait()


@asynccontextmanager
async def driving(command: Sequence[str]) -> AsyncGenerator[Driver]:
    """A driver, which ends with the block."""
    driver = Driver(command)
    try:
        yield driver
    finally:
        await driver.close()


@dataclass
class Verdict:
    """A case and what was wrong with it; nothing if the client conforms.

    calls: the number of calls that the client made.
    """

    case: str
    problems: list[str] = field(default_factory=list[str])
    calls: int = 0
    seconds: float = 0.0


async def run_cases(
    command: Sequence[str], names: Sequence[str] = (), *, any_connection: bool = False
) -> list[Verdict]:
    """Drive a client through cases, one after another.

    Args:
        names: the cases; all by default.
        any_connection: whether the client may not choose its connections, as in a browser.
    """
    verdicts: list[Verdict] = []
    async with ScriptedServer() as server, driving(command) as driver:
        for name in names or CASES:
            if not server.address_in(CASES[name]):
                continue
            verdicts.append(await _run_case(server, driver, name, any_connection=any_connection))
    return verdicts


async def _run_case(server: ScriptedServer, driver: Driver, name: str, *, any_connection: bool) -> Verdict:
    case, play = CASES[name], server.begin(name, any_connection=any_connection)
    verdict, began = Verdict(name), time.monotonic()
    try:
        result = await driver.obey(order_of(case, server))
    except DriverFailed as error:
        verdict.problems = [str(error)]
    else:
        try:
            verdict.problems = [*play.problems, *play.missing(), *_compare(case, play, result)]
        except (KeyError, TypeError, AttributeError) as error:
            verdict.problems = [
                f"the driver's result is not valid ({type(error).__name__}: {error}): {result}"
            ]
    verdict.calls, verdict.seconds = play.calls, time.monotonic() - began
    return verdict


def order_of(case: Mapping[str, Any], server: ScriptedServer) -> Mapping[str, Any]:
    """What a driver must do in a case."""
    resumed = 0 if case["start"] == "ask" else case["start"]["resume"]
    silent = any(call.get("end") == "silent" for call in case["calls"])
    return {
        "case": case["name"],
        "address": server.address_in(case),
        "tokens": case.get("tokens", [TOKEN]),
        "start": "ask" if case["start"] == "ask" else "resume",
        "agent": "",
        "text": case["name"],
        "turn": "" if case["start"] == "ask" else turn_of(case["name"]),
        "after_seq": resumed,
        "include_deltas": case["deltas"],
        "cancel_after": case.get("cancel_after", 0),
        "backoff_ms": BACKOFF_MS,
        # A case without silence must not depend on the load of the machine.
        "silence_ms": 200 if silent else 60_000,
        "patience_ms": 30_000,
        "timeout_ms": round(case["timeout"] * 1000) if "timeout" in case else None,
    }


def _compare(case: Mapping[str, Any], play: Play, result: Mapping[str, Any]) -> list[str]:
    problems: list[str] = []

    def check(what: str, found: object, wanted: object) -> None:
        if found != wanted:
            problems.append(f"{what}: {found!r}, expected: {wanted!r}")

    events: list[tuple[int, str]] = [(seq, kind) for seq, kind in result["events"]]
    seqs = [seq for seq, _ in events]
    check("seqs", seqs, case["hands_out"])
    check("kinds that were not sent", set(events) - kinds(case), set[tuple[int, str]]())
    error, ends = result["error"], case["ends"]
    if isinstance(ends, str):
        check("error", error, None)
        check("terminal", result["terminal"], ends)
    elif error is None:
        problems.append(f"no error, expected: {ends['error']}")
    else:
        check("error.reason", error["reason"], ends["error"])
        check("error.message", ends.get("message", "") in error["message"], True)
        check("error.fields", error["fields"], ends.get("fields", []))
        if "retry_after" in ends:
            check("error.retry_after_ms", error["retry_after_ms"], round(ends["retry_after"] * HASTE * 1000))
        if seqs:
            check("error.turn", error["turn"], play.turn)
            check("error.after_seq", error["after_seq"], seqs[-1])
    check("text", result["text"], case.get("text", result["text"]))
    check("sha256", result["sha256"], hashlib.sha256(result["text"].encode()).hexdigest())
    if "citations" in case:
        check("citations", result["citations"], len(case["citations"]))
    if "places" in case and "places" in result:
        check("places", result["places"], case["places"])
    if "pauses_ms" in result:
        check(
            "pauses_ms",
            [round(pause, 3) for pause in result["pauses_ms"][play.repeated :]],
            [round(pause, 3) for pause in _pauses(case)],
        )
    return problems


def _pauses(case: Mapping[str, Any]) -> list[float]:
    """The pauses in milliseconds of a client without jitter."""
    found: list[float] = []
    for pause in (call["pause"] for call in case["calls"] if "pause" in call):
        if "exactly" in pause:
            found.append(pause["exactly"] * HASTE * 1000)
        else:
            found.append(
                max(BACKOFF_MS * 2.0 ** (pause["backoff"] - 1), pause.get("at_least", 0) * HASTE * 1000)
            )
    return found


@dataclass(frozen=True, slots=True)
class Cuts:
    """The result of random cuts: how many there were, over how many turns, and what was wrong with the turns."""

    cuts: int
    turns: int
    problems: Sequence[str]


async def run_cuts(
    command: Sequence[str],
    target: str,
    token: str,
    count: int,
    *,
    port: int,
    agent: str,
    text: str,
    seed: int,
) -> Cuts:
    """Let a client ask a real server, one question after another, until its connections were cut `count` times. Then
    each turn is read again without cuts, and compared.

    Args:
        target: the server's host and port, without TLS.
        port: the proxy's port on 127.0.0.1, which the server's setting `allowed_hosts` must name; 0 for any free one.
        text: the question; each "{n}" is replaced by the number of the question.
    """
    dice, problems, turns = random.Random(seed), list[str](), 0  # noqa: S311  # these numbers keep no secret
    host, _, target_port = target.rpartition(":")
    proxy = CuttingProxy(("127.0.0.1", port), (host, int(target_port)), random_cuts(dice, _MOST_BYTES))
    async with proxy, driving(command) as driver, aio.insecure_channel(target) as channel:
        chat = chat_service_pb2_grpc.ChatServiceStub(channel)
        for number in range(1, 100 * count):
            if proxy.cuts >= count:
                break
            order = {
                "case": f"random cuts {number}",
                "address": f"127.0.0.1:{proxy.port}",
                "tokens": [token],
                "start": "ask",
                "agent": agent,
                "text": text.replace("{n}", str(number)),
                "turn": "",
                "after_seq": 0,
                "include_deltas": True,
                "cancel_after": 0,
                "backoff_ms": 10,
                "silence_ms": 45_000,
                "patience_ms": 60_000,
                "timeout_ms": None,
            }
            result = await driver.obey(order)
            if result["error"] is not None and result["error"]["reason"] == "unreachable":
                continue  # the client's very first connection was cut before it reached the server
            turns += 1
            if result["error"] is not None:
                problems.append(f"question {number}: {result['error']}")
                continue
            problems += [f"question {number}: {one}" for one in await _differences(chat, token, result)]
    return Cuts(proxy.cuts, turns, problems)


async def _differences(
    chat: chat_service_pb2_grpc.ChatServiceStub, token: str, result: Mapping[str, Any]
) -> list[str]:
    request = chat_service_pb2.ResumeTurnRequest(turn=result["turn"], include_deltas=True)
    events, text = list[list[Any]](), ""
    async for frame in chat.ResumeTurn(request, metadata=(("authorization", f"Bearer {token}"),)):
        for event in frame.events:
            if event.seq and (kind := event.WhichOneof("event")):
                events.append([event.seq, kind])
                text = event.answer.text
    found = (result["events"], result["text"], result["terminal"])
    return [] if found == (events, text, events[-1][1]) else [f"{found}, expected: {(events, text)}"]
