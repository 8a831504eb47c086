"""`responsa ask`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Annotated

import typer

from responsa.chat.v1 import turn_pb2
from responsa_client.client import Responsa
from responsa_client.results import turn_error
from responsa_server.cli.answers import answer_text
from responsa_server.cli.failures import EXIT_FAILED, EXIT_USAGE, CommandFailed, reporting, sentence_of, tell
from responsa_server.cli.output import messages_console, print_json, print_text, shown
from responsa_server.cli.session import open_client
from responsa_server.cli.texts import valid_text

_MAX_STDIN = 1024 * 1024


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(ask)


def ask(
    question: Annotated[
        str, typer.Argument(help="The question, 16 KiB at most; - reads it from standard input.")
    ],
    conversation: Annotated[
        str, typer.Option(help="Go on with this conversation, conversations/{uuid}. Default: a new one.")
    ] = "",
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection", "-c", help="Answer from this collection; repeatable. Default: all you may read."
        ),
    ] = None,
    request_id: Annotated[
        str | None,
        typer.Option(
            help="Any UUID; the same one with the same question shows the turn that it made before."
        ),
    ] = None,
    deltas: Annotated[
        bool, typer.Option("--deltas/--no-deltas", help="With --json: pieces of the answer as they are made.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print one TurnEvent a line, as proto-JSON.")] = False,
) -> None:
    """Ask a question and get a cited answer, or a refusal that says why.

    Exit codes: 0 answered or refused, 1 the turn failed, 2 bad usage, 3 cannot connect or sign in. With --json an
    error before the turn is a line {"error": google.rpc.Status}.
    """
    with reporting(json=json), open_client(timeout=None) as client:
        text = valid_text(_from_stdin() if question == "-" else question, "The question")
        terminal = _follow(client, text, conversation, collection or [], request_id, deltas and json, json)
        error = turn_error(terminal)
        if error is not None:
            tell(sentence_of(error) + (" Ask again." if terminal.failed.retriable else ""))
            raise typer.Exit(EXIT_FAILED)


def _follow(
    client: Responsa,
    text: str,
    conversation: str,
    collections: list[str],
    request_id: str | None,
    deltas: bool,
    json: bool,
) -> turn_pb2.TurnEvent:
    """Ask, print what comes, and return the terminal event."""
    console = messages_console()
    live = console.status("Asking...") if console.is_terminal and not json else nullcontext()
    with client.ask(text, conversation or None, collections, request_id, deltas) as stream, live as line:
        for event in stream:
            if json:
                print_json(event)
            elif line is not None and event.WhichOneof("event") == "status":
                line.update(shown(event.status.message))
        terminal = stream.terminal
    # A stream that ends without raising has had its terminal event.
    assert terminal is not None
    if not json:
        _print_end(terminal)
    return terminal


def _print_end(event: turn_pb2.TurnEvent) -> None:
    match event.WhichOneof("event"):
        case "answer":
            print_text(answer_text(event.answer))
        case "refused":
            print_text(event.refused.message)
        case _:
            pass


def _from_stdin() -> str:
    if sys.stdin.isatty():
        sys.stderr.write("Write the question, then Ctrl-D.\n")
    data = sys.stdin.buffer.read(_MAX_STDIN)
    try:
        return data.decode().rstrip("\n")
    except UnicodeDecodeError:
        raise CommandFailed(
            "The question is not valid UTF-8.", "Send it as UTF-8 text.", EXIT_USAGE
        ) from None
