"""What the server lets the sandbox do for sources: mappings, their templates and listings are read by native parsers,
which hostile bytes may overthrow.

Whatever a process does, the caller gets an answer, a problem of the text or row at which the process ended, or `Unavailable`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from responsa_etl.domain import MAX_KEY_BYTES, MAX_TEXT_BYTES, SourceDocument
from responsa_etl.sources.listings import ListedEntry, ListingProblem, unpack_listing
from responsa_etl.sources.mapping import FILE, SourceMapping, finish_mapping
from responsa_formats.containers import MIB
from responsa_formats.rejections import ParserUnavailable, Rejected
from responsa_formats.sandbox.computation import ParseLimits
from responsa_formats.sandbox.pool import ParserPool
from responsa_server.agents.config.problems import Problem
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.tenant_locks import TenantLocks
from responsa_server.ingest.parsing import document_error

MOST_PROBLEM: Final = 2000
"""The maximum length of a problem of a row."""
# A result may be one text, whose control characters are escaped, behind those of a moment.
_LIMITS: Final = ParseLimits(memory_bytes=256 * MIB, cpu_seconds=5, wall_seconds=60.0, result_bytes=12 * MIB)
_OF_LISTINGS: Final = ParseLimits(
    memory_bytes=512 * MIB, cpu_seconds=20, wall_seconds=120.0, result_bytes=64 * MIB
)
_MOST_DEATHS: Final = 10
# What a process gets, beyond its first thing: all of it is in memory at once.
_PACKED_BYTES: Final = 1 * MIB
_TOO_MUCH: Final = "The templates take too much memory or time for this row; simplify them."
_TOO_OFTEN: Final = (
    "The templates took too much memory or time for earlier rows, so this row was not tried; simplify them."
)
_UNREADABLE: Final = "takes too much memory or time to be read; simplify its templates and tables"


@dataclass(frozen=True, slots=True)
class ReadMapping:
    """What the sandbox finds in the text of a mapping. mapping: None if its tables have mistakes."""

    mapping: SourceMapping | None
    problems: Sequence[Problem]


_Text = Annotated[str, Field(max_length=MAX_TEXT_BYTES, pattern=r"^[^\x00]*$")]
_Line = Annotated[str, Field(max_length=MOST_PROBLEM, pattern=r"^[^\x00]*$")]


@dataclass(frozen=True, slots=True)
class RenderedRow:
    """What a row makes. problem: why it makes no document; then only the key and the subject may be known. unfit:
    whether a value of the row does not fit its declared column."""

    problem: _Line
    key: Annotated[_Line, Field(max_length=MAX_KEY_BYTES)] = ""
    subject: _Line = ""
    title: _Line = ""
    text: _Text = ""
    uri: _Line = ""
    metadata: Mapping[_Line, _Line] = field(default_factory=dict[str, str])
    unfit: bool = False

    def document(self, kind: str) -> SourceDocument:
        """The document of a row without a problem."""
        return SourceDocument(
            kind, self.key, self.title, self.text, self.subject, self.uri, dict(self.metadata)
        )


@dataclass(frozen=True, slots=True)
class RowRequest:
    """A row for the templates of a kind. problem: "" if its document is wanted; otherwise only its key and its subject
    are, for this problem."""

    kind: str
    row: Mapping[str, object]
    problem: str = ""


_READ: Final = TypeAdapter(ReadMapping)
_RENDERED: Final = TypeAdapter(RenderedRow)
_Answer = TypeVar("_Answer")


class SourceSandboxes:
    """The sandboxes of all tenants. One process of a tenant runs at a time, and its further ones wait behind those of
    other tenants, so no tenant takes all slots of the parsers."""

    def __init__(self, parser: ParserPool) -> None:
        self._parser = parser
        self._locks = TenantLocks()

    def of(self, tenant_id: str) -> SourceSandbox:
        """The sandbox of a tenant."""
        return SourceSandbox(self._parser, self._locks.of(tenant_id))


class SourceSandbox:
    """Reads in the sandbox what administrators and websites wrote."""

    def __init__(self, parser: ParserPool, slot: asyncio.Lock) -> None:
        """slot: is held while a process runs."""
        self._parser = parser
        self._slot = slot

    async def page(self, data: bytes, name: str, media_type: str) -> tuple[str, str]:
        """The title and the text of a page. name: its file name or path. Raises DocumentRejected, Unavailable."""
        try:
            async with self._slot:
                document = await self._parser.parse(data, name, media_type)
        except ParserUnavailable as error:
            raise _unavailable(error) from error
        except Rejected as error:
            raise document_error(error, name, media_type) from error
        return document.title, document.canonical_text

    async def listing(self, data: bytes) -> Sequence[ListedEntry]:
        """What a server lists of folders or pages; see `listings`. Raises ListingProblem, Unavailable."""
        async with self._slot:
            result, failure = await self._compute("listings:LISTING", data, _OF_LISTINGS)
        if failure is not None:
            raise ListingProblem("takes too much memory or time to be read")
        return await asyncio.to_thread(unpack_listing, result)

    async def mapping(self, text: str) -> tuple[SourceMapping | None, Sequence[Problem]]:
        """The mapping, or all its problems with their lines. Raises Unavailable."""
        return (await self.mappings([text]))[0]

    async def mappings(
        self, texts: Sequence[str]
    ) -> Sequence[tuple[SourceMapping | None, Sequence[Problem]]]:
        """What `mapping` returns, for several texts. Raises Unavailable."""
        mappings = list[tuple[SourceMapping | None, Sequence[Problem]]]()
        while len(mappings) < len(texts):
            rest = texts[len(mappings) :]
            answers, died = await self.answers("in_sandbox:READ", rest, _READ)
            for text, answer in zip(rest, answers, strict=False):
                mapping = None if answer.mapping is None else replace(answer.mapping, text=text)
                mappings.append(finish_mapping(mapping, answer.problems))
            if died:
                mappings.append((None, [Problem(FILE, _UNREADABLE)]))
        return mappings

    async def answers(
        self, name: str, requests: Sequence[object], adapter: TypeAdapter[_Answer], *head: object
    ) -> tuple[Sequence[_Answer], bool]:
        """The answers to the first things asked for, and whether the process ended at the next one. If it did not,
        there is at least one. Raises Unavailable."""
        async with self._slot:
            source, count = await asyncio.to_thread(_pack, head, requests)
            result, failure = await self._compute(name, source, _LIMITS)
            answers = await asyncio.to_thread(_unpack, result, count, adapter)
        return answers, len(answers) < count and (failure is not None or not answers)

    async def _compute(self, name: str, source: bytes, limits: ParseLimits) -> tuple[bytes, Rejected | None]:
        try:
            return await self._parser.compute(f"responsa_etl.sources.{name}", source, limits)
        except ParserUnavailable as error:
            raise _unavailable(error) from error


class RowRenderer:
    """Makes documents of the rows of one reading. After a few rows at which the process ended, it only finds out which
    documents are meant, and after as many more nothing."""

    def __init__(self, sandbox: SourceSandbox, mapping: SourceMapping) -> None:
        self._sandbox = sandbox
        self._text = mapping.text
        self._deaths = 0

    async def render(self, rows: Sequence[RowRequest]) -> AsyncGenerator[RenderedRow]:
        """What each row makes, as soon as it is known: the texts of many rows are never in memory together. Raises Unavailable."""
        done = 0
        while done < len(rows):
            rest = rows[done:]
            if self._deaths >= _MOST_DEATHS:
                rest = [replace(row, problem=row.problem or _TOO_OFTEN) for row in rest]
            if self._deaths >= 2 * _MOST_DEATHS:
                for row in rest:
                    yield RenderedRow(row.problem)
                return
            answers, died = await self._ask(rest)
            done += len(answers)
            for answer in answers:
                yield answer
            if died:
                self._deaths += 1
                done += 1
                culprit = rest[len(answers)]
                about, _ = await self._ask([replace(culprit, problem=culprit.problem or _TOO_MUCH)])
                yield about[0] if about else RenderedRow(culprit.problem or _TOO_MUCH)

    async def _ask(self, rows: Sequence[RowRequest]) -> tuple[Sequence[RenderedRow], bool]:
        requests = [(row.kind, row.row, not row.problem) for row in rows]
        answers, died = await self._sandbox.answers("in_sandbox:FILL", requests, _RENDERED, self._text)
        return [
            replace(answer, problem=row.problem) if row.problem else answer
            for row, answer in zip(rows, answers, strict=False)
        ], died


def _pack(head: Iterable[object], requests: Sequence[object]) -> tuple[bytes, int]:
    """The lines for a process, and how many of the things asked for are among them: at least the first one."""
    lines, size = [_line(value) for value in head], 0
    first = len(lines)
    for value in requests:
        line = _line(value)
        if size and size + len(line) > _PACKED_BYTES:
            break
        lines.append(line)
        size += len(line)
    return b"\n".join(lines), len(lines) - first


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _unpack(result: bytes, count: int, adapter: TypeAdapter[_Answer]) -> Sequence[_Answer]:
    """The answers up to the first one that is not whole."""
    answers = list[_Answer]()
    for line in result.split(b"\n", count)[:-1]:
        try:
            answers.append(adapter.validate_json(line))
        except ValidationError:
            break
    return answers


def _unavailable(error: ParserUnavailable) -> Unavailable:
    message = f"The sandbox for mappings and pages does not run: {error.message} Try again later, or ask the operator."
    return Unavailable(Reason.PART_UNAVAILABLE, message, {"part": "parser"})
