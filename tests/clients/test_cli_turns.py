"""`responsa ask`, `resume` and `cancel` across lost connections: each event is printed once and immediately, whichever client asked."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc

from clients.conformance.server import Context, abort, status
from responsa.chat.v1 import chat_service_pb2, turn_pb2
from tests.clients.command_line import CommandLine
from tests.clients.scripted import (
    CHAT,
    CONVERSATION,
    TURN,
    Scripted,
    complete,
    frame,
    play_streams,
    step,
    whole_turn,
)

ASK, RESUME = f"{CHAT}/Ask", f"{CHAT}/ResumeTurn"
Frames = AsyncIterator[chat_service_pb2.AskResponse]


async def test_events_are_printed_as_they_come(server: Scripted, responsa: CommandLine) -> None:
    printed = asyncio.Event()
    events = whole_turn()

    async def slow(_: Any, __: Context) -> Frames:
        for seq in range(6):
            yield frame(seq, seq + 1, events)
            await printed.wait()
            printed.clear()

    server.on(ASK, slow)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "responsa_server",
        "ask",
        "--json",
        "Who?",
        env=responsa.environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    for seq in range(1, 7):
        line = json.loads(await process.stdout.readline())
        assert line["seq"] == str(seq)
        printed.set()
    assert await process.wait() == 0


async def test_how_to_ask_is_passed_on(server: Scripted, responsa: CommandLine) -> None:
    play_streams(server, complete)
    options = ("--agent", "testing", "--on-busy", "interrupt", "--cancel-on-disconnect")
    assert (await responsa("ask", "Who?", "--json", *options)).code == 0
    assert (await responsa("ask", "Who?", "--json")).code == 0
    told, plain = server.requests[ASK]
    assert told.agent == "agents/testing"
    assert told.options.on_busy == chat_service_pb2.ON_BUSY_INTERRUPT
    assert told.cancel_on_disconnect
    assert (plain.agent, plain.options.on_busy, plain.cancel_on_disconnect) == ("", 0, False)
    assert (await responsa("ask", "Who?", "--on-busy", "wait")).code == 2


async def test_resume_follows_from_anywhere(server: Scripted, responsa: CommandLine) -> None:
    async def script(request: Any, __: Context) -> Frames:
        yield frame(request.after_seq, 6, whole_turn())

    server.on(RESUME, script)
    done = await responsa("resume", TURN, "--after", "3", "--json")
    assert (done.code, [line["seq"] for line in done.lines]) == (0, ["4", "5", "6"])
    done = await responsa("resume", TURN.removeprefix("turns/"), RESPONSA_PORT="1", RESPONSA_URL=server.url)
    assert done.out.startswith("Émile wrote it. [1]")
    first, second = server.requests[RESUME]
    assert (first.turn, first.after_seq, first.include_deltas) == (TURN, 3, True)
    assert (second.turn, second.after_seq, second.include_deltas) == (TURN, 0, False)


async def test_resume_at_the_end_prints_no_event(server: Scripted, responsa: CommandLine) -> None:
    async def nothing(_: Any, __: Context) -> Frames:
        for none in ():
            yield none

    async def turn(_: Any, __: Context) -> turn_pb2.Turn:
        ended = whole_turn()[-1]
        return turn_pb2.Turn(name=TURN, last_seq=6, terminal_event=ended, conversation=CONVERSATION)

    server.on(RESUME, nothing)
    server.on(f"{CHAT}/GetTurn", turn)
    done = await responsa("resume", TURN, "--after", "6", "--json")
    assert (done.code, done.out, done.err) == (0, "", "")
    done = await responsa("resume", TURN, "--after", "6")
    assert done.out.startswith("Émile wrote it. [1]")
    # The events do not name the conversation, but the turn does.
    assert (
        done.err == f"responsa: `responsa ask --conversation {CONVERSATION}` continues this conversation.\n"
    )


async def test_a_turn_that_was_cancelled_exits_with_4(server: Scripted, responsa: CommandLine) -> None:
    end = turn_pb2.TurnEvent(seq=3, attempt=1)
    end.cancelled.by = turn_pb2.CANCEL_CAUSE_ADMINISTRATOR

    async def script(_: Any, __: Context) -> Frames:
        yield frame(0, 3, [whole_turn()[0], step(2), end])

    server.on(ASK, script)
    done = await responsa("ask", "Who?")
    assert (done.code, done.out) == (4, "")
    assert done.err.splitlines() == [
        "responsa: The turn was cancelled by an administrator.",
        f"responsa: `responsa ask --conversation {CONVERSATION}` continues this conversation.",
    ]
    done = await responsa("ask", "Who?", "--json")
    assert (done.code, done.lines[-1]["cancelled"]["by"]) == (4, "CANCEL_CAUSE_ADMINISTRATOR")


async def test_giving_up_tells_the_turn(server: Scripted, responsa: CommandLine) -> None:
    async def revoked(_: Any, context: Context) -> Frames:
        yield frame(0, 2, whole_turn())
        await abort(context, status(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_REVOKED"))

    server.on(ASK, revoked)
    done = await responsa("ask", "Who?")
    assert done.code == 3
    assert f"`responsa resume {TURN} --after 2`" in done.err


async def test_nobody_there_to_resume_from(server: Scripted, responsa: CommandLine) -> None:
    await server.stop()
    done = await responsa("resume", TURN)
    assert done.code == 3
    assert "`responsa up`" in done.err
    assert "goes on" not in done.err
