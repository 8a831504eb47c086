"""`responsa chat`: a talk on a terminal and from a pipe, answers that are stopped, and errors that end the talk or do not."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from responsa.chat.v1 import chat_service_pb2, conversation_pb2, turn_pb2
from tests.clients.agents_served import ServedAgents
from tests.clients.command_line import CommandLine
from tests.clients.scripted import (
    ASK,
    CHAT,
    CONVERSATION,
    RESUME,
    TURN,
    Context,
    Scripted,
    abort,
    frame,
    passages,
    refused,
    started,
    status,
    step,
    whole_turn,
)
from tests.clients.terminal import Terminal

Frames = AsyncIterator[chat_service_pb2.AskResponse]
CANCEL = f"{CHAT}/CancelTurn"
PROMPT = "\x1b[?2004h"
"""The prompt tells the terminal to mark pasted text."""
GO_ON = f"responsa: `responsa chat -c {CONVERSATION}` continues this conversation."
WRITTEN = (
    "Émile wrote it. [1] It was in 1898. [2]\n\nSources\n"
    '[1] Letters (letters.md, bytes 100-116)\n    "Émile wrote it."\n'
    '[2] Letters (letters.md, bytes 300-315)\n    "It was in 1898."\n'
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
            case "cut":
                yield frame(0, 3, whole_turn())
                await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
            case "passages":
                yield frame(0, 3, [started(), step(2), passages(3)])
            case "refuse":
                yield frame(0, 3, [started(), step(2), refused(3)])
            case "busy":
                await abort(context, status(grpc.StatusCode.ABORTED, "CONVERSATION_BUSY", "It is busy."))
            case "gone":
                about = {"resource_type": "conversation", "resource_name": request.conversation}
                missing = status(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", "No.", metadata=about)
                await abort(context, missing)
            case _:
                yield frame(0, 6, whole_turn())

    async def resume(request: Any, _: Context) -> Frames:
        yield frame(request.after_seq, 6, whole_turn())

    async def cancel(_: Any, __: Context) -> turn_pb2.Turn:
        stopped.set()
        return turn_pb2.Turn(name=TURN, last_seq=4, terminal_event=cancelled(4))

    server.on(ASK, ask)
    server.on(RESUME, resume)
    server.on(CANCEL, cancel)
    return stopped


def asked(server: Scripted) -> list[tuple[str, str]]:
    return [(request.text, request.conversation) for request in server.requests.get(ASK, [])]


async def test_a_talk_on_a_terminal(server: Scripted, responsa: CommandLine, tmp_path: Path) -> None:
    """The second talk goes on with the conversation of the first one and offers its questions."""
    plays(server)
    terminal = Terminal(responsa, "chat", whole=True)
    await terminal.then("Responsa answers. Ctrl-C stops an answer, Ctrl-D ends the talk, /help says more.")
    await terminal.then(PROMPT)
    terminal.types("Who?\r")
    await terminal.then("Émile wrote it. [1] It was in 1898. [2]")
    await terminal.then("[1] Letters (letters.md, bytes 100-116)")
    await terminal.then(PROMPT)
    terminal.types("slow\r")
    await terminal.then("Émile")
    terminal.types("\x03")
    # The text that had arrived stays.
    await terminal.then("Émile\r\n")
    await terminal.then("responsa: The answer was stopped.")
    await terminal.then(PROMPT)
    # Ctrl-C clears a line, and Ctrl-D ends the talk.
    terminal.types("half\x03\x04")
    assert await terminal.end() == (0, "")
    assert GO_ON in terminal.text
    assert [request.name for request in server.requests[CANCEL]] == [TURN]
    kept = tmp_path / "state" / "responsa" / "chat-history"
    assert kept.read_text() == '"Who?"\n"slow"\n'
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700

    terminal = Terminal(responsa, "chat", "-c", CONVERSATION.removeprefix("conversations/"), whole=True)
    await terminal.then("Continuing the conversation “Letters \ufffd[2J”.")
    await terminal.then(PROMPT)
    terminal.types("\x1b[A\x1b[A\r")
    await terminal.then("Sources")
    await terminal.then(PROMPT)
    terminal.types("\x03")
    assert (await terminal.end())[0] == 0
    assert GO_ON in terminal.text
    assert asked(server) == [("Who?", ""), ("slow", CONVERSATION), ("Who?", CONVERSATION)]


async def test_a_talk_outlives_what_goes_wrong(
    server: Scripted, responsa: CommandLine, tmp_path: Path
) -> None:
    stopped = plays(server)

    async def silent(_: Any, __: Context) -> turn_pb2.Turn:
        await asyncio.Event().wait()
        return turn_pb2.Turn()

    server.on(CANCEL, silent)
    terminal = Terminal(responsa, "chat", "--no-history", whole=True)
    for question, told in (
        ("cut", "Émile wrote it. [1] It was in 1898. [2]"),
        ("refuse", "Nothing in the documents supports an answer."),
        ("busy", "responsa: It is busy."),
        ("gone", "The next question begins a new conversation."),
    ):
        await terminal.then(PROMPT)
        terminal.types(f"{question}\r")
        await terminal.then(told)
    # While the server does not cancel, a second Ctrl-C leaves the turn to it.
    await terminal.then(PROMPT)
    terminal.types("slow\r")
    await terminal.then("Émile")
    terminal.types("\x03")
    await terminal.then("Stopping the answer...")
    terminal.types("\x03")
    await terminal.then(f"{TURN} continues: `responsa resume {TURN} --after 3` follows it")
    await terminal.then(PROMPT)
    # A pasted text of several lines is one question.
    terminal.types("\x1b[200~two\nlines\x1b[201~\r")
    await terminal.then("Sources")
    await terminal.then(PROMPT)
    await server.stop()
    terminal.types("Still there?\r")
    await terminal.then("Connecting again...")
    terminal.types("\x03")
    await terminal.then("Interrupted before the server had confirmed the question")
    await terminal.then(PROMPT)
    terminal.types("\x04")
    assert await terminal.end() == (0, "")
    assert "Traceback" not in terminal.text
    stopped.set()
    assert asked(server) == [
        ("cut", ""),
        ("refuse", CONVERSATION),
        ("busy", CONVERSATION),
        ("gone", CONVERSATION),
        ("slow", ""),
        ("two\nlines", CONVERSATION),
    ]
    assert [request.after_seq for request in server.requests[RESUME]] == [3]
    assert not (tmp_path / "state").exists()


async def test_a_plain_terminal_and_answers_to_a_file(server: Scripted, responsa: CommandLine) -> None:
    """Without a line editor, the end of the talk begins on its own line. Answers in a file are apart."""
    plays(server)
    terminal = Terminal(responsa, "chat", whole=True, piped=True, TERM="dumb")
    for question in ("Who?\n", "And who?\n", "\x04"):
        await terminal.then("> ")
        terminal.types(question)
    assert await terminal.end() == (0, f"{WRITTEN}\n{WRITTEN}")
    assert f"> \r\n{GO_ON}" in terminal.text


async def test_questions_from_a_pipe(server: Scripted, responsa: CommandLine) -> None:
    plays(server)
    questions = b"Who?\n\n  \nbusy\nrefuse\n\xff\ngone\nAnd who?"
    options = ("--agent", "tutor", "--collection", "notes", "--filter", "labels.a = b")
    done = await responsa("chat", *options, stdin=questions)
    assert done.out == f"{WRITTEN}\nNothing in the documents supports an answer.\n\n{WRITTEN}"
    assert done.err.splitlines() == [
        "responsa: It is busy.",
        "responsa: The question is not valid UTF-8. Send it as UTF-8 text.",
        "responsa: No.",
        "The next question begins a new conversation.",
        f"responsa: `responsa chat -c {CONVERSATION} --agent tutor --collection notes --filter 'labels.a = b'` continues this conversation.",
    ]
    assert {one.options.scope.filter for one in server.requests[ASK]} == {"labels.a = b"}
    # The exit code is the one of the last question that failed: a conversation that does not exist.
    assert done.code == 2
    assert asked(server) == [
        ("Who?", ""),
        ("busy", CONVERSATION),
        ("refuse", CONVERSATION),
        ("gone", CONVERSATION),
        ("And who?", ""),
    ]
    assert {request.agent for request in server.requests[ASK]} == {"agents/tutor"}


async def test_the_words_of_the_talk_are_no_questions(server: Scripted, responsa: CommandLine) -> None:
    plays(server)
    done = await responsa("chat", stdin=b"/help\n/more\npassages\n/more\n/etc is what?\n/more\n/quit\nWho?\n")
    assert done.code == 0
    assert [text for text, _ in asked(server)] == ["passages", "/etc is what?"]
    assert done.err.startswith("responsa: Enter sends a question,")
    assert done.err.count("responsa: The last answer has no further passages.\n") == 2
    assert "responsa: /more prints them whole.\n" in done.err
    assert done.out.count("[1] Letters › Authors (post, more.md, bytes 0-13)\n  > Anna read it.\n") == 1


async def test_ctrl_c_stops_an_answer_to_a_pipe_and_ends_the_command(
    server: Scripted, responsa: CommandLine, tmp_path: Path
) -> None:
    plays(server)
    terminal = Terminal(responsa, "chat", stdin=b"slow\nWho?\n")
    await terminal.then("Émile")
    terminal.interrupt()
    assert await terminal.end() == (130, "Émile \n")
    assert "responsa: The answer was stopped." in terminal.text
    assert GO_ON in terminal.text
    assert asked(server) == [("slow", "")]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--agent", "tuter"), 2, "Agent not found. Known: default, tutor."),
        (("-c", "00000000-0000-4000-8000-000000000000"), 2, "Conversation not found."),
        (("-c", "notes"), 2, "--collection selects a collection."),
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


async def test_what_every_question_would_meet_ends_the_talk(server: Scripted, responsa: CommandLine) -> None:
    async def refuse(_: Any, context: Context) -> Frames:
        wrong = status(grpc.StatusCode.INVALID_ARGUMENT, "PARAMETERS_INVALID", "teacher_id is missing.")
        await abort(context, wrong)
        yield frame(0, 1, whole_turn())

    server.on(ASK, refuse)
    done = await responsa("chat", "--agent", "tutor", stdin=b"Who?\nAnd who?\n")
    assert (done.code, len(server.requests[ASK])) == (2, 1)
    assert "--param teacher_id=…  Teacher, required:" in done.err
    await server.stop()
    assert (await responsa("chat", stdin=b"Who?\n")).code == 3
