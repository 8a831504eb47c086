"""`responsa call` on a terminal: what it asks, and what the terminal does not show. tests/system/test_call.py calls a real server."""

from __future__ import annotations

import pytest
from google.protobuf import empty_pb2

from tests.clients.command_line import CommandLine
from tests.clients.scripted import (
    ADMIN,
    AUTH,
    Scripted,
)
from tests.clients.terminal import Terminal

NAME = "teachers/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10"


@pytest.fixture(autouse=True)
def served(server: Scripted) -> None:
    server.reply(f"{ADMIN}/DeleteTeacher", empty_pb2.Empty())
    server.reply(f"{AUTH}/ChangePassword", empty_pb2.Empty())


async def test_a_terminal_is_asked_before_something_is_deleted(
    server: Scripted, responsa: CommandLine
) -> None:
    terminal = Terminal(responsa, "call", "AdminService.DeleteTeacher", "--name", NAME, whole=True)
    await terminal.then("AdminService.DeleteTeacher deletes for good. Continue?")
    terminal.types("n\n")
    await terminal.then("Nothing was deleted. Enter y, or add --yes.")
    assert (await terminal.end())[0] == 1
    assert not server.requests
    done = await responsa("call", "AdminService.DeleteTeacher", "--name", NAME, "--etag", "3")
    assert (done.code, done.out, done.err) == (0, "", "")
    [request] = server.requests[f"{ADMIN}/DeleteTeacher"]
    assert (request.name, request.etag) == (NAME, "3")


async def test_the_terminal_does_not_show_a_value_that_is_asked_for(
    server: Scripted, responsa: CommandLine
) -> None:
    words = ("AuthService.ChangePassword", "--current-password", "-", "--new-password=-")
    terminal = Terminal(responsa, "call", *words, whole=True)
    for prompt, typed in (("Current password: ", ""), ("New password: ", "four quiet otters")):
        await terminal.then(prompt)
        terminal.types(f"{typed}\n")
    assert (await terminal.end())[0] == 0
    assert "otters" not in terminal.text
    [request] = server.requests[f"{AUTH}/ChangePassword"]
    assert (request.current_password, request.new_password) == ("", "four quiet otters")
