"""What commands say and how they end while a part of the server is away."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from clients.conformance.server import Context, abort, status
from responsa.knowledge.v1 import knowledge_service_pb2
from tests.clients.command_line import CommandLine
from tests.clients.scripted import ADMIN, ASK, CHAT, KNOWLEDGE, Scripted

LIST = f"{KNOWLEDGE}/ListDocuments"
STATUS = f"{ADMIN}/GetSystemStatus"
AWAY = "The database cannot be reached at the moment"
WAITS = r"Waiting until \d\d:\d\d:\d\d, {} seconds?\.\n"


NO_DATABASE = status(
    grpc.StatusCode.UNAVAILABLE,
    "PART_UNAVAILABLE",
    f"{AWAY}; try again.",
    metadata={"part": "postgresql"},
    retry_after=0.6,
)


@pytest.mark.parametrize(
    ("command", "path"), [(("documents", "list"), LIST), (("ask", "Who wrote it?"), ASK)], ids=["list", "ask"]
)
async def test_a_command_says_what_it_waits_for_and_ends_in_time(
    command: tuple[str, ...], path: str, server: Scripted, responsa: CommandLine
) -> None:
    server.refuse(path, NO_DATABASE)
    done = await responsa(*command, "--timeout", "2")
    # the time may end while the command waits or, on a busy machine, during its last attempt
    end = rf"(?:{AWAY}; try again in 0.6 seconds|http://\S+ did not answer within 2 seconds)"
    assert re.fullmatch(rf"responsa: {AWAY}\. {WAITS.format(2)}responsa: {end}\.\n", done.err)
    assert (done.code, done.out) == (1, "")
    assert len(server.requests[path]) > 1


async def test_a_command_goes_on_when_the_part_is_back(server: Scripted, responsa: CommandLine) -> None:
    async def later(request: Any, context: Context) -> Message:
        if len(server.requests[LIST]) < 3:
            await abort(context, NO_DATABASE)
        return knowledge_service_pb2.ListDocumentsResponse()

    server.on(LIST, later)
    done = await responsa("documents", "list")
    assert done.code == 0
    assert re.fullmatch(rf"responsa: {AWAY}\. {WAITS.format(30)}", done.err.splitlines(keepends=True)[0])


async def test_the_status_does_not_wait_for_what_it_reports_on(
    server: Scripted, responsa: CommandLine
) -> None:
    server.refuse(STATUS, NO_DATABASE)
    done = await responsa("call", "AdminService.GetSystemStatus")
    assert (done.code, done.err) == (1, f"responsa: {AWAY}; try again in 0.6 seconds.\n")
    assert len(server.requests[STATUS]) == 1


async def test_a_server_that_is_silent_is_waited_for_with_a_word(
    server: Scripted, responsa: CommandLine
) -> None:
    async def silent(_: Any, __: Context) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    server.on(LIST, silent)
    server.on(f"{CHAT}/ListAgents", silent)
    said = rf"responsa: {server.url} has not answered yet\. {WAITS}"
    for words in (
        ("documents", "list", "--timeout", "1.5"),
        ("call", "--timeout=1.5", "ChatService.ListAgents"),
    ):
        done = await responsa(*words)
        ended = f"responsa: {server.url} did not answer within 1.5 seconds.\n"
        assert re.fullmatch(said.format(1) + re.escape(ended), done.err)
        assert done.code == 1


@pytest.mark.parametrize(
    "words",
    [("documents", "list", "--timeout", "soon"), ("call", "--timeout", "0", "ChatService.ListAgents")],
)
async def test_the_time_of_a_command_is_a_number(words: tuple[str, ...], responsa: CommandLine) -> None:
    done = await responsa(*words)
    assert done.code == 2
    assert "--timeout" in done.err
