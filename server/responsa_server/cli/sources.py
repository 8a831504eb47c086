"""Finds the documents that `ingest` loads. Each document has a source key that stays the same from run to run.

- The key of a file is the name of its folder and its own name, such as `guide/intro.md`. The key does not depend on the
  folder in which the command runs.
- If the user names a folder, the key of a file below it is the folder's name and the path below the folder, such as
  `guide/parts/one.md`. For a glob, the folder is the part before the first wildcard.
- The key of a line of a .jsonl file is the line's id.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from responsa_client.aio import AsyncResponsa
from responsa_server.cli.output import EXIT_USAGE, CommandFailed

MAX_LINE_BYTES = 80 * 1024 * 1024
"""The maximum length of a line in a .jsonl file: the largest document (64 MiB), with room for escape sequences."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document to send, either a file or a text."""

    source_key: str
    where: str
    """The document's origin for messages: the path, or the path and the line."""
    path: Path | None = None
    text: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """An entry that cannot be sent. why: the reason, as a clause without a full stop."""

    where: str
    why: str
    source_key: str = ""


Entry = Document | Problem


@dataclass(frozen=True, slots=True)
class Target:
    """A file that was found. key: its source key. problem: why the file cannot be loaded, or ""."""

    path: Path
    key: str
    problem: str = ""

    @property
    def is_lines(self) -> bool:
        """Whether the file holds one document per line."""
        return self.path.suffix.lower() == ".jsonl"


async def accepted_suffixes(client: AsyncResponsa) -> Sequence[str]:
    """Return the suffixes of the files that the server reads, in lower case and with the dot. Raises ResponsaError."""
    return [suffix for one in await client.list_formats() for suffix in one.suffixes]


def find(arguments: Sequence[str], suffixes: Sequence[str]) -> list[Target]:
    """Return all files that the arguments name, without duplicates and in a stable order.

    suffixes: the suffixes of the files to load from folders, in lower case and with the dot. A file that an argument
    names explicitly is sent whatever its suffix is, because the server decides whether it can read the file.

    A path that cannot be loaded, such as a link out of its folder or a folder that cannot be read, becomes a target
    with a problem.

    Raises:
        CommandFailed: an argument matches no file, or names a folder without documents. Nothing is sent.
    """
    found: dict[Path, Target] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            targets = _below(path, suffixes)
            if not targets:
                raise CommandFailed(
                    f"The folder {argument} holds no documents.",
                    f"In folders, only files that end in {', '.join(suffixes)} are loaded; name other files explicitly.",
                    EXIT_USAGE,
                )
        elif path.exists() or path.is_symlink():
            targets = [_named(path)]
        elif glob.has_magic(argument):
            targets = _matching(argument)
            if not targets:
                raise CommandFailed(f"Nothing matches {argument!r}.", "Check the pattern.", EXIT_USAGE)
        else:
            raise CommandFailed(f"{argument} does not exist.", "Check the path.", EXIT_USAGE)
        for target in targets:
            found.setdefault(_absolute(target.path), target)
    return list(found.values())


def entries(targets: Sequence[Target]) -> Iterator[Entry]:
    """Yield the documents of the targets, and read each file only when its turn comes.

    If a document has the same key as an earlier document, yield a problem instead of the later document.
    """
    seen: dict[str, str] = {}
    for target in targets:
        for entry in _entries_of(target):
            if isinstance(entry, Document):
                before = seen.setdefault(entry.source_key, entry.where)
                if before != entry.where:
                    why = f"has the same key, {entry.source_key!r}, as {before}"
                    yield Problem(entry.where, why, entry.source_key)
                    continue
            yield entry


def count(targets: Sequence[Target]) -> int:
    """Return the approximate number of entries: one per line of a .jsonl file, and one per other file."""
    return sum(
        _count_lines(target.path) if target.is_lines and not target.problem else 1 for target in targets
    )


def _named(path: Path) -> Target:
    absolute = _absolute(path)
    problem = ""
    if not path.exists():
        problem = "is a link to nothing"
    elif not path.is_file():
        problem = "is neither a file nor a folder"
    return Target(path, f"{absolute.parent.name}/{absolute.name}".lstrip("/"), problem)


def _below(folder: Path, suffixes: Sequence[str]) -> list[Target]:
    """Return the documents below a folder. Names that begin with a dot are skipped."""
    base = _absolute(folder)
    inside = Path(os.path.realpath(folder))
    targets: list[Target] = []

    def refuse(error: OSError) -> None:
        place = Path(str(error.filename))
        targets.append(Target(place, str(place), f"cannot be read ({error.strerror})"))

    for parent, folders, files in os.walk(folder, onerror=refuse):
        at = Path(parent)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in (*sorted(files), *(name for name in folders if (at / name).is_symlink())):
            path = at / name
            is_document = path.suffix.lower() in suffixes and not name.startswith(".")
            linked_folder = name in folders
            if not is_document and not linked_folder:
                continue
            key = f"{base.name}/{(_absolute(at) / name).relative_to(base).as_posix()}".lstrip("/")
            problem = ""
            if path.is_symlink():
                if not Path(os.path.realpath(path)).is_relative_to(inside):
                    problem = "is a link that leads out of the folder; name it explicitly to load it"
                elif linked_folder:
                    continue
            if not problem and not path.is_file():
                problem = "is a link to nothing" if path.is_symlink() else "is not a file"
            targets.append(Target(path, key, problem))
    return targets


def _matching(pattern: str) -> list[Target]:
    """Return the files that match a glob, in which ** descends into folders. Folders that match are skipped."""
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    base = _absolute(Path(*parts[:fixed]))
    targets: list[Target] = []
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - a pattern may be absolute
        path = Path(match)
        if path.is_file():
            key = f"{base.name}/{_absolute(path).relative_to(base).as_posix()}".lstrip("/")
            targets.append(Target(path, key))
    return targets


def _entries_of(target: Target) -> Iterator[Entry]:
    where = str(target.path)
    if target.problem:
        yield Problem(where, target.problem, target.key)
    elif not _is_text(target.key):
        yield Problem(where, "has a name that is not valid UTF-8")
    elif not target.is_lines:
        yield Document(target.key, where, path=target.path)
    else:
        try:
            with target.path.open("rb") as file:
                yield from _lines(file, where)
        except OSError as error:
            yield Problem(where, f"cannot be read ({error.strerror})", target.key)


def _lines(file: IO[bytes], name: str) -> Iterator[Entry]:
    number, documents = 0, 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        where = f"{name} line {number}"
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            documents += 1
            yield Problem(where, f"is longer than {MAX_LINE_BYTES // 2**20} MiB")
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            documents += 1
            yield _line(line, where)
    if not documents:
        yield Problem(name, "is empty")


def _line(line: bytes, where: str) -> Entry:
    """Parse one line, which must be an object with the texts `id`, `text` and optionally `title`. `id` and `text` must
    not be blank.
    """
    try:
        value: object = json.loads(line)
    except UnicodeDecodeError:
        return Problem(where, "is not valid UTF-8")
    except (ValueError, RecursionError):
        return Problem(where, "is not valid JSON")
    if not isinstance(value, dict):
        return Problem(where, "is not a JSON object")
    fields = cast("dict[str, object]", value)
    texts: dict[str, str] = {}
    for name, wanted in (("id", True), ("text", True), ("title", False)):
        given = fields.get(name)
        a_name = f"an {name}" if name == "id" else f"a {name}"
        if given is None and not wanted:
            continue
        if given is None:
            return Problem(where, f"has no {name}")
        if not isinstance(given, str):
            return Problem(where, f"has {a_name} that is not a string")
        if not _is_text(given):
            return Problem(where, f"has {a_name} with half a surrogate pair")
        if wanted and not given.strip():
            return Problem(where, f"has an empty {name}")
        texts[name] = given
    return Document(texts["id"], where, text=texts["text"], title=texts.get("title", ""))


def _count_lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            lines, last = 0, b"\n"
            while block := file.read(1024 * 1024):
                lines += block.count(b"\n")
                last = block[-1:]
            return max(1, lines + (last != b"\n"))
    except OSError:
        return 1


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _absolute(path: Path) -> Path:
    """Return the absolute path without "..". Links are not resolved, because the key contains a link's own name."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links
