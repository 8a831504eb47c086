"""The output of commands: lines of proto-JSON for programs, and text without control characters for users.

A failure prints one sentence with its remedy on stderr, without a stack trace, and has a documented exit code. With
--json, the error is also the last line on stdout, as `{"error": …}` with a google.rpc.Status in proto-JSON. Therefore,
a program needs to read only stdout.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO, cast

import typer
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import status_pb2
from google.rpc.code_pb2 import Code

from responsa_server.cli.exits import EXIT_CANCELLED as EXIT_CANCELLED
from responsa_server.cli.exits import EXIT_CONNECT as EXIT_CONNECT
from responsa_server.cli.exits import EXIT_FAILED as EXIT_FAILED
from responsa_server.cli.exits import EXIT_INTERRUPTED as EXIT_INTERRUPTED
from responsa_server.cli.exits import EXIT_USAGE as EXIT_USAGE

if TYPE_CHECKING:
    from rich.console import Console

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_PASSWORD: Final = re.compile(r"(?<=://)(?:[^\s/?#@:]*:\S*|[^\s/?#@:]+)@")
_CODES = {EXIT_FAILED: Code.UNKNOWN, EXIT_USAGE: Code.INVALID_ARGUMENT, EXIT_CONNECT: Code.UNAVAILABLE}


def as_json(message: Message) -> dict[str, Json]:
    """Return a message in proto-JSON, with lowerCamel names, 64-bit numbers as strings, bytes in base64, and without
    unset fields.
    """
    return json_format.MessageToDict(message)


def error_object(status: status_pb2.Status) -> dict[str, Json]:
    """Return a google.rpc.Status in proto-JSON. If a detail has an unknown type, all details are left out."""
    try:
        return as_json(status)
    except TypeError:
        return as_json(status_pb2.Status(code=status.code, message=status.message))


def print_json(value: Message | Mapping[str, Json]) -> None:
    """Print one object on one line of stdout, and flush."""
    plain = as_json(value) if isinstance(value, Message) else value
    # Maps have no defined order, so their keys are sorted. Equal events then always give equal bytes.
    sys.stdout.write(json.dumps(plain, ensure_ascii=False, sort_keys=True) + "\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Print text on stdout, made safe for a terminal."""
    sys.stdout.write(disarm(text) + "\n")
    sys.stdout.flush()


def echo(text: str, *, err: bool = False) -> None:
    """Print text on stdout or stderr, made safe for a terminal: it may have names of files, or what a file says."""
    typer.echo(disarm(text), err=err)


def disarm(text: str) -> str:
    """Make text safe for a terminal. Each control character becomes �, so that no document can control the terminal.

    Line feeds and tabs stay, and so do the joiners that Persian, Indian scripts and emoji need. A carriage return before
    a line feed is removed.
    """
    return "".join(
        character if character.isprintable() or character in "\n\t\u200c\u200d" else _harmless(character)
        for character in text.replace("\r\n", "\n")
    )


def one_line(text: str, width: int) -> str:
    """Return the text's words on one line of at most `width` characters. A longer text is cut and ends with "…"."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: max(0, width - 1)].rstrip() + "…"


def person(name: str, display_name: str) -> str:
    """A user for people: the display name, if there is one, and `users/{uuid}`."""
    return f"{one_line(display_name, 60)} ({name})" if display_name else name


def safe_name(name: str) -> str:
    """Return a file's name or a source key as a part of a line. Line breaks in it become �, because they would forge
    lines of the output."""
    return "".join("\ufffd" if char in "\n\r\t\v\f" else char for char in disarm(name))


def messages_console() -> Console:
    """Return the console for progress and statuses. It writes to stderr, so that stdout contains only results."""
    from rich.console import Console  # late, because `up` and its servers have none

    return Console(stderr=True, highlight=False, markup=False)


def _harmless(character: str) -> str:
    # Python does not count spaces of other widths as printable, but they are harmless.
    return " " if character.isspace() and ord(character) >= 0xA0 else "\ufffd"


class CommandFailed(Exception):
    """A command cannot continue, for a reason that the command itself found.

    sentence: the fault, as a whole sentence. remedy: the remedy, as a whole sentence, or "". exit_code: the process's
    exit code.
    """

    def __init__(self, sentence: str, remedy: str = "", exit_code: int = EXIT_FAILED) -> None:
        super().__init__(sentence)
        # What a library says of a failure may have the address that it has called.
        self.sentence = _PASSWORD.sub("***@", sentence)
        self.remedy = remedy
        self.exit_code = exit_code


@contextmanager
def reporting(*, json: bool = False) -> Generator[None, None, None]:
    """Print a failure of the block as a sentence, and raise `typer.Exit` with the failure's exit code.

    The notes of a ResponsaError follow on separate lines.
    """
    try:
        yield
    except CommandFailed as failure:
        print_error(f"{failure.sentence} {failure.remedy}".strip())
        if json:
            code = _CODES.get(failure.exit_code, Code.UNKNOWN)
            print_json({"error": error_object(status_pb2.Status(code=code, message=failure.sentence))})
        raise typer.Exit(failure.exit_code) from None
    except KeyboardInterrupt:
        print_error("Stopped.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except Exception as error:
        # Imported late, because `up` and the servers that it starts make no calls.
        from responsa_server.cli.call_errors import ResponsaError, exit_code_of, sentence_of

        if not isinstance(error, ResponsaError):
            raise
        print_error("\n".join((sentence_of(error), *getattr(error, "__notes__", ()))))
        if json:
            print_json({"error": error_object(error.status)})
        raise typer.Exit(exit_code_of(error)) from None


def print_error(sentence: str) -> None:
    """Print one line on stderr. If the caller has closed stderr, the line is lost."""
    if (stderr := cast("TextIO | None", sys.stderr)) is not None:
        stderr.write(f"responsa: {disarm(sentence)}\n")
        stderr.flush()


def valid_text(text: str, what: str) -> str:
    """Return the text if a request can carry it. Python turns an argument's bytes that are not UTF-8 into lone
    surrogates, which a request cannot carry.

    what: the name of the text in the message, e.g. "The question".

    Raises:
        CommandFailed: the text is not valid UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CommandFailed(f"{what} is not valid UTF-8.", "Send it as UTF-8 text.", EXIT_USAGE) from None
    return text


_PLAIN: Final = ("", "dumb", "unknown")


def can_move_cursor() -> bool:
    """Whether the terminal can move its cursor and change the style of its text."""
    return os.environ.get("TERM", "") not in _PLAIN
