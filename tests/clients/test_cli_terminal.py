"""The output that only a terminal gets, and Ctrl-C."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from clients.conformance.server import Context
from responsa.chat.v1 import chat_service_pb2, turn_pb2
from tests.clients.command_line import CommandLine
from tests.clients.library import ScriptedLibrary
from tests.clients.scripted import (
    AUTH,
    CHAT,
    OPERATIONS,
    TURN,
    Scripted,
    answer,
    complete,
    delta,
    frame,
    play_streams,
    whole_turn,
)
from tests.clients.terminal import Terminal

_CLEANED_UP = (
    "import atexit, runpy; atexit.register(print, 'cleaned up'); "
    "runpy.run_module('responsa_server', run_name='__main__', alter_sys=True)"
)
"""This program reports when the interpreter cleans up."""


async def test_progress_lives_on_the_terminal_and_the_answer_on_stdout(
    server: Scripted, responsa: CommandLine
) -> None:
    seen = asyncio.Event()
    events = whole_turn()

    async def script(_: Any, __: Context) -> AsyncIterator[chat_service_pb2.AskResponse]:
        yield frame(0, 3, events)
        await seen.wait()
        yield frame(3, 6, events)

    server.on(f"{CHAT}/Ask", script)
    terminal = Terminal(responsa, "ask", "Who?")
    await terminal.shows("Searching knowledge base...")
    await terminal.shows("Émile")
    seen.set()
    code, out = await terminal.end()
    assert code == 0
    assert out.startswith("Émile wrote it. [1]")
    assert "Searching" not in out


async def test_what_delays_an_answer_is_told_as_it_happens(server: Scripted, responsa: CommandLine) -> None:
    """The terminal shows the place in the queue, a lost connection, and another worker that starts over. Then the
    displayed text shrinks to its valid part."""
    steps = [asyncio.Event() for _ in range(3)]
    restarted = turn_pb2.TurnAttemptRestarted(discard_from_seq=4, keep_bytes=7)
    again = delta(6, "wrote it. It was in 1898.", 7)
    again.attempt = 2
    end = answer(7)
    end.attempt = 2
    events = [
        *whole_turn()[:3],
        delta(4, "lost it.", 7),
        turn_pb2.TurnEvent(seq=5, attempt=2, attempt_restarted=restarted),
        again,
        end,
    ]
    behind = turn_pb2.TurnEvent(heartbeat=turn_pb2.TurnHeartbeat(queue_place=2))

    async def script(_: Any, context: Context) -> AsyncIterator[chat_service_pb2.AskResponse]:
        yield frame(0, 1, events)
        yield chat_service_pb2.AskResponse(turn=TURN, after_seq=1, through_seq=1, events=[behind])
        await steps[0].wait()
        yield frame(1, 4, events)
        await steps[1].wait()
        await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")

    async def resumed(_: Any, __: Context) -> AsyncIterator[chat_service_pb2.AskResponse]:
        yield frame(4, 5, events)
        await steps[2].wait()
        yield frame(5, 7, events)

    server.on(f"{CHAT}/Ask", script)
    server.on(f"{CHAT}/ResumeTurn", resumed)
    terminal = Terminal(responsa, "ask", "Who?")
    for step, texts in zip(
        steps, [["Waiting for 2 earlier questions"], ["Émile lost it."], ["Starting again"]], strict=True
    ):
        for text in texts:
            await terminal.shows(text)
        step.set()
    code, out = await terminal.end()
    assert code == 0
    assert out.startswith("Émile wrote it. [1] It was in 1898. [2]")


async def test_ingestion_shows_its_progress(
    server: Scripted, responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    seen = asyncio.Event()
    kept = library.serve_wait

    async def slow(request: Any, context: Context) -> operations_pb2.Operation:
        if len(server.requests[f"{OPERATIONS}/WaitOperation"]) > 1:
            await seen.wait()
        return await kept(request, context)

    server.on(f"{OPERATIONS}/WaitOperation", slow)
    (tmp_path / "a.md").write_text("A")
    (tmp_path / "b.md").write_text("B")
    terminal = Terminal(responsa, "ingest", str(tmp_path))
    await terminal.shows("1/2")
    seen.set()
    assert await terminal.end() == (0, "2 documents: 2 new, 0 changed, 0 unchanged, 0 failed\n")


async def test_ctrl_c_ends_an_ingestion_with_one_line(
    server: Scripted, responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    begun = asyncio.Event()

    async def endless(_: Any, __: Context) -> operations_pb2.Operation:
        begun.set()
        await asyncio.Event().wait()
        return operations_pb2.Operation()

    server.on(f"{OPERATIONS}/WaitOperation", endless)
    (tmp_path / "a.md").write_text("A")
    terminal = Terminal(responsa, "ingest", str(tmp_path))
    await begun.wait()
    terminal.interrupt()
    code, out = await terminal.end()
    assert (code, out) == (130, "")
    assert "responsa: Stopped." in terminal.text
    assert "Traceback" not in terminal.text


async def test_ctrl_c_leaves_a_turn_and_tells_how_to_go_on(server: Scripted, responsa: CommandLine) -> None:
    async def silent(_: Any, __: Context) -> AsyncIterator[chat_service_pb2.AskResponse]:
        yield frame(0, 2, whole_turn())
        await asyncio.Event().wait()

    server.on(f"{CHAT}/Ask", silent)
    server.on(f"{CHAT}/ResumeTurn", silent)
    follow = f"`responsa resume {TURN} --after 2`"
    for arguments, message in (
        (
            ("ask", "Who?"),
            f"{follow} follows it, `responsa call ChatService.CancelTurn --name {TURN}` cancels it.",
        ),
        (
            ("ask", "Who?", "--cancel-on-disconnect"),
            f"{TURN} is cancelled in 10 seconds unless you follow it: {follow}.",
        ),
        (("resume", TURN), f"{TURN} continues: {follow}"),
    ):
        terminal = Terminal(responsa, *arguments)
        await terminal.shows("Searching")
        terminal.interrupt()
        assert await terminal.end() == (130, "")
        assert message in terminal.text
        assert "Traceback" not in terminal.text
    assert f"{CHAT}/CancelTurn" not in server.requests


async def test_ctrl_c_before_the_turn_is_known(server: Scripted, responsa: CommandLine) -> None:
    arrived = asyncio.Event()

    async def silent(_: Any, __: Context) -> AsyncIterator[chat_service_pb2.AskResponse]:
        arrived.set()
        await asyncio.Event().wait()
        yield frame(0, 1, whole_turn())

    server.on(f"{CHAT}/Ask", silent)
    terminal = Terminal(responsa, "ask", "Who?")
    await arrived.wait()
    terminal.interrupt()
    assert await terminal.end() == (130, "")
    assert f"--request-id {server.requests[f'{CHAT}/Ask'][0].request_id}" in terminal.text


async def test_no_lock_of_grpc_can_hold_up_the_end_of_a_command(
    server: Scripted, responsa: CommandLine
) -> None:
    """The interpreter's clean-up frees calls after it has stopped gRPC's threads, which may hold the calls' locks."""

    play_streams(server, complete)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CLEANED_UP, "ask", "Who?", env=responsa.environment(), stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert out
    assert b"cleaned up" not in out


@pytest.mark.parametrize(("closed", "argument"), [("2>&-", "Who?"), (">&-", "--help")])
async def test_a_closed_stream_changes_no_exit_code(
    server: Scripted, responsa: CommandLine, closed: str, argument: str
) -> None:
    play_streams(server, complete)
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        f'exec "$@" {closed}',
        "sh",
        sys.executable,
        "-m",
        "responsa_server",
        "ask",
        argument,
        env=responsa.environment(),
    )
    assert await process.wait() == 0


@pytest.mark.parametrize("arguments", [(), ("--email", "ada@example.org")])
async def test_ctrl_d_in_place_of_an_answer_sends_nothing(
    server: Scripted, responsa: CommandLine, arguments: tuple[str, ...]
) -> None:
    terminal = Terminal(responsa, "login", *arguments, whole=True)
    await terminal.then("Password: " if arguments else "E-mail address: ")
    terminal.types("\x04")
    code, _ = await terminal.end()
    assert code == 2
    assert f"There is no {'password' if arguments else 'e-mail address'}." in terminal.text
    assert f"{AUTH}/Login" not in server.requests
