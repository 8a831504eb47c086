"""Finds the documents that `ingest` loads. Each document has a source key that stays the same from run to run.

- The key of a file is the name of its folder and its own name, such as `guide/intro.md`. The key does not depend on the
  folder in which the command runs.
- If the user names a folder, the key of a file below it is the folder's name (or the root that the user gives instead)
  and the path below the
  folder, such as `guide/parts/one.md`. For a glob, the folder is the part before the first wildcard.
- The key of a line of a .jsonl file is the line's id. A .jsonl file without ids and texts is one document, like any other file.

Each file of a folder becomes a document, a problem, or a skipped file. A named rule gives the reason for each skipped file.
"""

from __future__ import annotations

import glob
import json
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import IO, Final, cast

from responsa_client.aio import AsyncResponsa
from responsa_server.cli.output import EXIT_USAGE, CommandFailed
from responsa_server.domain.files import is_left_behind

MAX_LINE_BYTES = 80 * 1024 * 1024
"""The maximum length of a line in a .jsonl file: the largest document (64 MiB), with room for escape sequences."""
MAX_DOCUMENT_BYTES: Final = 64 * 1024 * 1024
_LINES_LOOKED_AT: Final = 10
_MARK: Final = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8."""


class SkipRule(StrEnum):
    """Why a file of a folder is skipped. The values complete the sentence "1 skipped: 1 ..."."""

    HIDDEN = "hidden"
    UNSUPPORTED_SUFFIX = "with an unsupported suffix"
    TOO_LARGE = "too large"
    EMPTY = "empty"
    LINK = "linked"
    LEFT_BEHIND = "left behind by programs"


@dataclass(frozen=True, slots=True)
class LocalDocument:
    """A document to send: a file or a text."""

    source_key: str
    where: str
    """The document's origin for messages: the path, or the path and the line."""
    path: Path | None = None
    text: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class EntryProblem:
    """An entry that cannot be sent. why: the reason, as a clause without a full stop."""

    where: str
    why: str
    source_key: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not sent. A skipped folder stands for all its files."""

    where: str
    source_key: str
    rule: SkipRule


Entry = LocalDocument | EntryProblem | Skipped


@dataclass(frozen=True, slots=True)
class Target:
    """A file that was found. key: its source key. problem: why the file cannot be loaded, or "". skipped: why it is skipped, or None.

    is_lines: whether the file holds one document per line.
    """

    path: Path
    key: str
    problem: str = ""
    skipped: SkipRule | None = None
    is_lines: bool = False

    @property
    def absolute(self) -> Path:
        return absolute(self.path)


async def list_suffixes(client: AsyncResponsa) -> Sequence[str]:
    """Return the suffixes of the files that the server reads, in lower case and with the dot. Raises ResponsaError."""
    return [suffix for format_ in await client.list_formats() for suffix in format_.suffixes]


def find(arguments: Sequence[str], suffixes: Sequence[str], root: str = "") -> list[Target]:
    """Return all files that the arguments name, without duplicates and in a stable order.

    suffixes: the suffixes of the files to load from folders, in lower case and with the dot. A file that an argument
    names explicitly is sent whatever its suffix is, because the server decides whether it can read the file. root: the
    first part of the keys of all files of folders; "" for the folder's name.

    A path that cannot be loaded, such as a folder that cannot be read, becomes a target with a problem. A file of a
    folder that is left out becomes a target that is skipped.

    Raises:
        CommandFailed: an argument matches no file, or names a folder without documents. Nothing is sent.
    """
    by_path: dict[Path, Target] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            targets = _below(path, suffixes, root)
            if all(target.skipped for target in targets):
                loaded = ", ".join(suffixes)
                raise CommandFailed(
                    f"The folder {argument} holds no documents.",
                    f"In folders, only files that end in {loaded} are loaded; name other files explicitly.",
                    EXIT_USAGE,
                )
        elif path.exists() or path.is_symlink():
            targets = [_target_of(path)]
        elif glob.has_magic(argument):
            targets = _matching(argument)
            if not targets:
                raise CommandFailed(f"Nothing matches {argument!r}.", "Check the pattern.", EXIT_USAGE)
        else:
            raise CommandFailed(f"{argument} does not exist.", "Check the path.", EXIT_USAGE)
        for target in targets:
            by_path.setdefault(absolute(target.path), target)
    return list(by_path.values())


def entries(targets: Sequence[Target]) -> Iterator[Entry]:
    """Yield the documents of the targets, and read each file only when its turn comes.

    If a document has the same key as an earlier document, yield a problem instead of the later document.
    """
    seen: dict[str, str] = {}
    for target in targets:
        for part in _entries_of(target):
            entry = replace(part, source_key=compose(part.source_key))
            if isinstance(entry, LocalDocument):
                before = seen.setdefault(entry.source_key, entry.where)
                if before != entry.where:
                    why = f"has the same key, {entry.source_key!r}, as {before}"
                    yield EntryProblem(entry.where, why, entry.source_key)
                    continue
            yield entry


def keys(targets: Sequence[Target]) -> Iterator[str]:
    """Yield the keys of all entries of the targets."""
    for target in targets:
        if target.is_lines:
            yield from (compose(entry.source_key) for entry in _entries_of(target))
        else:
            yield compose(target.key)


def compose(key: str) -> str:
    """The key as the server stores it, in the Unicode form NFC."""
    return unicodedata.normalize("NFC", key)


def count(targets: Sequence[Target]) -> int:
    """Return the approximate number of entries: one per line of a .jsonl file and one per other file."""
    return sum(_count_lines(target.path) if target.is_lines else 1 for target in targets)


def _target(path: Path, key: str) -> Target:
    """A file to load: one document, or one document per line. What programs leave behind is skipped."""
    if (rule := _rule_of_name(path.name)) is SkipRule.LEFT_BEHIND:
        return Target(path, key, skipped=rule)
    return Target(path, key, is_lines=path.suffix.lower() == ".jsonl" and _holds_documents(path))


def _rule_of_name(name: str) -> SkipRule | None:
    if is_left_behind(name):
        return SkipRule.LEFT_BEHIND
    return SkipRule.HIDDEN if name.startswith(".") else None


def _rule_of_size(size: int) -> SkipRule | None:
    if size > MAX_DOCUMENT_BYTES:
        return SkipRule.TOO_LARGE
    return None if size else SkipRule.EMPTY


def _target_of(path: Path) -> Target:
    whole = absolute(path)
    key = f"{whole.parent.name}/{whole.name}".lstrip("/")
    if not path.exists():
        return Target(path, key, "is a link to nothing")
    if not path.is_file():
        return Target(path, key, "is neither a file nor a folder")
    return _target(path, key)


def _below(folder: Path, suffixes: Sequence[str], root: str) -> list[Target]:
    """Return the files below a folder. A hidden folder is one target, which is skipped."""
    base = absolute(folder)
    first = root or base.name
    inside = Path(os.path.realpath(folder))
    targets: list[Target] = []

    def key_of(path: Path) -> str:
        return f"{first}/{absolute(path).relative_to(base).as_posix()}".lstrip("/").removesuffix("/.")

    def refuse(error: OSError) -> None:
        path = Path(str(error.filename))
        targets.append(Target(path, key_of(path), f"cannot be read ({error.strerror})"))

    for parent, folders, files in os.walk(folder, onerror=refuse):
        at = Path(parent)
        hidden = sorted(name for name in folders if name.startswith("."))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        targets += (Target(at / name, key_of(at / name), skipped=SkipRule.HIDDEN) for name in hidden)
        linked = [name for name in folders if (at / name).is_symlink()]
        for path in (at / name for name in linked):
            # The files of a folder within the folder are found at their own place.
            if not Path(os.path.realpath(path)).is_relative_to(inside):
                targets.append(Target(path, key_of(path), skipped=SkipRule.LINK))
        targets += (_in_folder(at / name, key_of(at / name), suffixes, inside) for name in sorted(files))
    return targets


def _in_folder(path: Path, key: str, suffixes: Sequence[str], inside: Path) -> Target:
    """A file of a folder. inside: the real path of the folder, out of which no link may lead."""
    if (rule := _rule_of_name(path.name)) is not None:
        return Target(path, key, skipped=rule)
    if path.suffix.lower() not in suffixes:
        return Target(path, key, skipped=SkipRule.UNSUPPORTED_SUFFIX)
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
        return Target(path, key, skipped=SkipRule.LINK)
    if not path.is_file():
        return Target(path, key, "is a link to nothing" if path.is_symlink() else "is not a file")
    size = path.stat().st_size
    target = _target(path, key) if size else Target(path, key)
    rule = _rule_of_size(size) if not (target.is_lines or target.problem) else None
    return Target(path, key, skipped=rule) if rule else target


def _matching(pattern: str) -> list[Target]:
    """Return the files that match a glob, in which ** descends into folders. Folders that match are skipped."""
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    base = absolute(Path(*parts[:fixed]))
    targets: list[Target] = []
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - a pattern may be absolute
        path = Path(match)
        if path.is_file():
            key = f"{base.name}/{absolute(path).relative_to(base).as_posix()}".lstrip("/")
            targets.append(_target(path, key))
    return targets


def _entries_of(target: Target) -> Iterator[Entry]:
    where = str(target.path)
    if target.skipped is not None:
        yield Skipped(where, _sendable(target.key), target.skipped)
    elif target.problem:
        yield EntryProblem(where, target.problem, _sendable(target.key))
    elif not _is_text(target.key):
        yield EntryProblem(where, "has a name that is not valid UTF-8")
    elif not target.is_lines:
        yield LocalDocument(target.key, where, path=target.path)
    else:
        try:
            with target.path.open("rb") as file:
                yield from _lines(file, where)
        except OSError as error:
            yield EntryProblem(where, f"cannot be read ({error.strerror})", target.key)


def _holds_documents(path: Path) -> bool:
    """Whether one of the first lines of a file is a document: an object with an id and a text."""
    try:
        with path.open("rb") as file:
            lines = iter(lambda: file.readline(MAX_LINE_BYTES), b"")
            return any(
                isinstance(_line(line.removeprefix(_MARK), ""), LocalDocument)
                for line in islice(lines, _LINES_LOOKED_AT)
            )
    except OSError:
        return True  # the error is reported when the file is loaded


def _lines(file: IO[bytes], name: str) -> Iterator[Entry]:
    number, documents = 0, 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        where = f"{name} line {number}"
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            documents += 1
            yield EntryProblem(where, f"is longer than {MAX_LINE_BYTES // 2**20} MiB")
            continue
        if number == 1:
            line = line.removeprefix(_MARK)
        if line.strip():
            documents += 1
            yield _line(line, where)
    if not documents:
        yield EntryProblem(name, "is empty")


def _line(line: bytes, where: str) -> Entry:
    """Parse one line, which must be an object with the texts `id`, `text` and optionally `title`. `id` and `text` must
    not be blank.
    """
    try:
        value: object = json.loads(line)
    except UnicodeDecodeError:
        return EntryProblem(where, "is not valid UTF-8")
    except (ValueError, RecursionError):
        return EntryProblem(where, "is not valid JSON")
    if not isinstance(value, dict):
        return EntryProblem(where, "is not a JSON object")
    fields = cast("dict[str, object]", value)
    texts: dict[str, str] = {}
    for name, wanted in (("id", True), ("text", True), ("title", False)):
        field = fields.get(name)
        a_name = f"an {name}" if name == "id" else f"a {name}"
        if field is None and not wanted:
            continue
        if field is None:
            return EntryProblem(where, f"has no {name}")
        if not isinstance(field, str):
            return EntryProblem(where, f"has {a_name} that is not a string")
        if not _is_text(field):
            return EntryProblem(where, f"has {a_name} with half a surrogate pair")
        if wanted and not field.strip():
            return EntryProblem(where, f"has an empty {name}")
        texts[name] = field
    return LocalDocument(texts["id"], where, text=texts["text"], title=texts.get("title", ""))


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


def _sendable(key: str) -> str:
    """The key, with U+FFFD for what is not valid UTF-8."""
    return key.encode(errors="replace").decode()


def absolute(path: Path) -> Path:
    """Return the absolute path without "..". Links are not resolved, because the key contains a link's own name."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links
