"""What commands print: lines of proto-JSON for programs, text without control characters for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import status_pb2
from rich.console import Console

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def as_json(message: Message) -> dict[str, Json]:
    """A message in proto-JSON: lowerCamel names, 64-bit numbers as strings, bytes in base64, unset fields left out."""
    return json_format.MessageToDict(message)


def error_object(status: status_pb2.Status) -> dict[str, Json]:
    """A google.rpc.Status in proto-JSON; details of types that are not known here are left out."""
    try:
        return as_json(status)
    except TypeError:
        return as_json(status_pb2.Status(code=status.code, message=status.message))


def print_json(value: Message | Mapping[str, Json]) -> None:
    """Print one object on one line of stdout, and flush."""
    plain = as_json(value) if isinstance(value, Message) else value
    # Maps have no order of their own; sorted, the same events are always the same bytes.
    sys.stdout.write(json.dumps(plain, ensure_ascii=False, sort_keys=True) + "\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Print text on stdout, made safe for a terminal."""
    sys.stdout.write(shown(text) + "\n")
    sys.stdout.flush()


def shown(text: str) -> str:
    """Text that is safe for a terminal: control characters, with which a document could control the terminal, become �.

    Line feeds and tabs stay, carriage returns before line feeds go.
    """
    return "".join(
        character if character.isprintable() or character in "\n\t" else _harmless(character)
        for character in text.replace("\r\n", "\n")
    )


def one_line(text: str, width: int) -> str:
    """The text's words on one line of at most `width` characters, cut with "…"."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: max(0, width - 1)].rstrip() + "…"


def messages_console() -> Console:
    """The console for progress and statuses: stderr, so that stdout holds results alone."""
    return Console(stderr=True, highlight=False, markup=False)


def _harmless(character: str) -> str:
    # Spaces of other widths are not "printable" to Python, and harmless.
    return " " if character.isspace() and ord(character) >= 0xA0 else "\ufffd"
