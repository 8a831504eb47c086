"""Files of one JSON object a line, read for the commands that measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from responsa_server.cli.failures import EXIT_USAGE, CommandFailed

Line = TypeVar("Line", bound=BaseModel)
Item = TypeVar("Item")


def lines(path: Path, kind: type[Line], what: str, remedy: str = "") -> Iterator[tuple[str, Line]]:
    """Where each line stands ("FILE line N") and what it says, in their order; empty lines are passed over.

    Args:
        what: what a line is, for whoever reads that one is none: "question".
        remedy: for a file that cannot be read.

    Raises:
        CommandFailed: the file cannot be read, or a line is no `kind`; the line and the first field that is wrong are named.
    """
    try:
        with path.open("rb") as opened:
            for number, line in enumerate(opened, start=1):
                if line.strip():
                    where = f"{path} line {number}"
                    yield where, _line(line, kind, what, where)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read ({error.strerror}).", remedy, EXIT_USAGE) from None


def _line(line: bytes, kind: type[Line], what: str, where: str) -> Line:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CommandFailed(
            f"{where} is no {what}: {place or 'it'}: {first['msg']}.", "", EXIT_USAGE
        ) from None


def spread(items: Sequence[Item], limit: int) -> Sequence[Item]:
    """So many of the items, evenly over all; 0: all."""
    if not 0 < limit < len(items):
        return items
    return [items[place * len(items) // limit] for place in range(limit)]
