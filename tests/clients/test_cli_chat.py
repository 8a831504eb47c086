"""`responsa chat`: a talk on a terminal and from a pipe, answers that are stopped, and errors that end the talk or do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from clients.conformance.server import Context, abort, status
from responsa.chat.v1 import chat_service_pb2, conversation_pb2, turn_pb2
from tests.clients.agents_served import ServedAgents
from tests.clients.command_line import CommandLine
from tests.clients.scripted import (
    ASK,
    CHAT,
    CONVERSATION,
    TURN,
    Scripted,
    frame,
    refused,
    started,
    step,
    whole_turn,
)
from tests.clients.terminal import Terminal

Frames = AsyncIterator[chat_service_pb2.AskResponse]
CANCEL = f"{CHAT}/CancelTurn"
GO_ON = f"responsa: `responsa chat --conversation {CONVERSATION}` continues this conversation."
WRITTEN = (
    "Émile wrote it. [1] It was in 1898. [2]\n\nSources\n"
    '[1] Letters (letters.md)\n    "Émile wrote it."\n'
    '[2] Letters (letters.md)\n    "It was in 1898."\n'
    "\nResponsa checked that the quotes are there, not that they are right.\n"
)
"""The answer in a pipe."""


@pytest.fixture(autouse=True)
def served(server: Scripted) -> ServedAgents:
    """The agents, and one conversation."""
    agents = ServedAgents()
    agents.serve(server)

    async def conversation(request: Any, context: Context) -> conversation_pb2.Conversation:
        if request.name == "conversations/notes":
            field = [("name", "string.pattern", "must be a conversation")]
            wrong = status(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "No name.", violations=field)
            await abort(context, wrong)
        if request.name != CONVERSATION:
            missing = status(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", "Conversation not found.")
            await abort(context, missing)
        return conversation_pb2.Conversation(name=CONVERSATION, title="Letters \x1b[2J")

    server.on(f"{CHAT}/GetConversation", conversation)
    return agents


def cancelled(seq: int) -> turn_pb2.TurnEvent:
    event = turn_pb2.TurnEvent(seq=seq, attempt=1)
    event.cancelled.by = turn_pb2.CANCEL_CAUSE_OWNER
    return event


def plays(server: Scripted) -> asyncio.Event:
    """Serve questions by their texts. The returned event is set when a turn is cancelled."""
    stopped = asyncio.Event()

    async def ask(request: Any, context: Context) -> Frames:
        match request.text:
            case "slow":
                yield frame(0, 3, whole_turn())
                await stopped.wait()
                yield frame(3, 4, [cancelled(4)])
            case "refuse":
                yield frame(0, 3, [started(), step(2), refused(3)])
            case "busy":
                await abort(context, status(grpc.StatusCode.ABORTED, "CONVERSATION_BUSY", "It is busy."))
            case _:
                yield frame(0, 6, whole_turn())

    async def cancel(_: Any, __: Context) -> turn_pb2.Turn:
        stopped.set()
        return turn_pb2.Turn(name=TURN, last_seq=4, terminal_event=cancelled(4))

    server.on(ASK, ask)
    server.on(CANCEL, cancel)
    return stopped


def questions_of(server: Scripted) -> list[tuple[str, str]]:
    return [(request.text, request.conversation) for request in server.requests.get(ASK, [])]


async def test_a_talk_on_a_terminal(server: Scripted, responsa: CommandLine) -> None:
    plays(server)
    terminal = Terminal(responsa, "chat", whole=True)
    await terminal.then("Responsa answers. Ctrl-C stops an answer, Ctrl-D ends the conversation.")
    await terminal.then("> ")
    terminal.types("Who?\r")
    await terminal.then("Émile wrote it. [1] It was in 1898. [2]")
    await terminal.then("[1] Letters (letters.md)")
    await terminal.then("> ")
    terminal.types("busy\r")
    await terminal.then("responsa: It is busy.")
    await terminal.then("> ")
    terminal.types("slow\r")
    await terminal.then("Émile")
    terminal.types("\x03")
    # The text that had arrived stays.
    await terminal.then("Émile\r\n")
    await terminal.then("responsa: The answer was stopped.")
    await terminal.then("> ")
    terminal.types("\x04")
    assert await terminal.end() == (0, "")
    assert GO_ON in terminal.text
    assert [request.name for request in server.requests[CANCEL]] == [TURN]
    assert questions_of(server) == [("Who?", ""), ("busy", CONVERSATION), ("slow", CONVERSATION)]


async def test_a_talk_goes_on_with_a_conversation_and_writes_answers_to_a_file(
    server: Scripted, responsa: CommandLine
) -> None:
    plays(server)
    given = ("--conversation", CONVERSATION.removeprefix("conversations/"))
    terminal = Terminal(responsa, "chat", *given, whole=True, piped=True)
    await terminal.then("Continuing the conversation “Letters \ufffd[2J”.")
    for question in ("Who?\n", "And who?\n", "\x03"):
        await terminal.then("> ")
        terminal.types(question)
    assert await terminal.end() == (0, f"{WRITTEN}\n{WRITTEN}")
    assert GO_ON in terminal.text
    assert questions_of(server) == [("Who?", CONVERSATION), ("And who?", CONVERSATION)]


async def test_questions_from_a_pipe(server: Scripted, responsa: CommandLine) -> None:
    plays(server)
    questions = b"/help\nWho?\n\n  \nbusy\nrefuse\n\xff\nAnd who?"
    options = ("--agent", "tutor", "--collection", "notes", "--filter", "labels.a = b")
    done = await responsa("chat", *options, stdin=questions)
    assert done.out == f"{WRITTEN}\nNothing in the documents supports an answer.\n\n{WRITTEN}"
    assert done.err.splitlines() == [
        "responsa: Each line is a question. Ctrl-C stops an answer, Ctrl-D ends the conversation.",
        "responsa: It is busy.",
        "responsa: The question is not valid UTF-8. Send it as UTF-8 text.",
        (
            f"responsa: `responsa chat --conversation {CONVERSATION} --agent tutor --collection notes --filter "
            "'labels.a = b'` continues this conversation."
        ),
    ]
    assert {one.options.scope.filter for one in server.requests[ASK]} == {"labels.a = b"}
    # The exit code is the one of the last question that failed, which is not a text.
    assert done.code == 2
    assert questions_of(server) == [
        ("Who?", ""),
        ("busy", CONVERSATION),
        ("refuse", CONVERSATION),
        ("And who?", CONVERSATION),
    ]
    assert {request.agent for request in server.requests[ASK]} == {"agents/tutor"}


async def test_ctrl_c_stops_an_answer_to_a_pipe_and_ends_the_command(
    server: Scripted, responsa: CommandLine
) -> None:
    plays(server)
    terminal = Terminal(responsa, "chat", stdin=b"slow\nWho?\n")
    await terminal.then("Émile")
    terminal.interrupt()
    assert await terminal.end() == (130, "Émile \n")
    assert "responsa: The answer was stopped." in terminal.text
    assert GO_ON in terminal.text
    assert questions_of(server) == [("slow", "")]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--agent", "tuter"), 2, "Agent not found. Known: default, tutor."),
        (("--conversation", "00000000-0000-4000-8000-000000000000"), 2, "Conversation not found."),
        (("--conversation", "notes"), 2, "--collection selects a collection."),
        (("--agent", "tutor", "--param", "level"), 2, "'level' does not have the form name=value."),
    ],
)
async def test_without_hope_no_question_is_read(
    server: Scripted, responsa: CommandLine, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = await responsa("chat", *arguments, stdin=b"Who?\n")
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert ASK not in server.requests


async def test_a_lost_connection_ends_a_pipe(server: Scripted, responsa: CommandLine) -> None:
    await server.stop()
    assert (await responsa("chat", stdin=b"Who?\nAnd who?\n")).code == 3
