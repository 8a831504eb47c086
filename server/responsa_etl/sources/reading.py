"""Reads the rows of a source, and makes documents of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from responsa_etl.domain import (
    DatabaseConnection,
    DatabaseFault,
    DatabaseProblem,
    Databases,
    DatabaseSession,
    MadeRow,
    bytes_of,
)
from responsa_etl.sources.mapping import (
    SUBJECT,
    MappedQuery,
    MissingColumns,
    RowProblem,
    SourceMapping,
)
from responsa_etl.sources.sandbox import RenderedRow, RowRenderer, RowRequest, SourceSandbox
from responsa_server.domain.errors import Precondition, Reason

PREVIEW_ROWS: Final = 10_000
"""The number of rows that a preview for one subject reads of a query that has no statement for one subject."""
PREVIEW_BYTES: Final = 8 << 20
"""About how many bytes of rows a preview reads and how many it shows, of all queries together."""
MAX_ROW_BYTES: Final = 4 << 20
"""The maximum length of the columns of a row that a mapping declares. JSON may make six times as much of them for the sandbox."""
# The faults that another query, or another limit for it, would avoid.
_OF_QUERY: Final = frozenset({DatabaseFault.QUERY, DatabaseFault.TIMEOUT, DatabaseFault.TOO_LARGE})
# So many rows are filled in together: each time takes a process, and memory and the time until a cancellation matter.
_SOME_ROWS: Final = 1000
_SOME_BYTES: Final = 1 << 19
_VALUE_BYTES: Final = 64
_SHORT_BYTES: Final = 1 << 10
_LONG_ROW: Final = (
    f"The columns that the mapping declares have more than {MAX_ROW_BYTES >> 20} MiB "
    "together; declare fewer, or shorten them."
)


@dataclass(frozen=True, slots=True)
class RowSelection:
    """Which rows are read. subject: "" for all. most: the number of rows of each query that are returned; None for all,
    up to the limit of the connection."""

    subject: str = ""
    most: int | None = None


async def read_rows(
    databases: Databases,
    tenant_id: str,
    sandbox: SourceSandbox,
    connection: DatabaseConnection,
    mapping: SourceMapping,
    selection: RowSelection,
) -> AsyncGenerator[MadeRow]:
    """Each row of each query, with what each kind of documents makes of it.

    A kind and a key that occur twice are a problem of the second row. With a subject, rows of the subject alone are
    returned; a row of somebody else in a statement for one subject is a problem. A preview ends its session before it
    fills in templates, which may take long. Raises Precondition (SOURCE_UNREADABLE), Unavailable.
    """
    renderer, keys, shown = RowRenderer(sandbox, mapping), set[tuple[str, str]](), Counter[str]()
    read = _batches(databases, tenant_id, connection, mapping, selection)
    async with aclosing(read if selection.most is None else _first(read)) as batches:
        async for batch in batches:
            name = batch.query.name
            if selection.most is not None and shown[name] >= selection.most:
                continue
            async with aclosing(renderer.render([row for each in batch.rows for row in each])) as filled:
                for each in batch.rows:
                    yielded = False
                    for row in each:
                        result = _redact(_make_row(row, await anext(filled), keys), selection, own=batch.own)
                        if result is not None:
                            yielded = True
                            yield result
                    shown[name] += yielded
                    if selection.most is not None and shown[name] >= selection.most:
                        break


def unreadable(connection: str, query: str, fault: DatabaseFault, message: str) -> Precondition:
    """The error for a database that cannot be read."""
    return Precondition(
        Reason.SOURCE_UNREADABLE,
        message,
        {"connection": connection, "query": query, "fault": fault.value},
    )


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows of a query as plain values, each for every kind of documents of the query. own: whether the statement is
    that for one subject. size: about how many bytes the rows take."""

    query: MappedQuery
    own: bool
    rows: Sequence[Sequence[RowRequest]]
    size: int


async def _first(read: AsyncGenerator[_Batch]) -> AsyncGenerator[_Batch]:
    """The first batches, `PREVIEW_BYTES` or a little more together, after the reading has ended."""
    held, size = list[_Batch](), 0
    async with aclosing(read) as batches:
        async for batch in batches:
            held.append(batch)
            size += batch.size
            if size >= PREVIEW_BYTES:
                break
    for batch in held:
        yield batch


async def _batches(
    databases: Databases,
    tenant_id: str,
    connection: DatabaseConnection,
    mapping: SourceMapping,
    selection: RowSelection,
) -> AsyncGenerator[_Batch]:
    """The rows of all queries. Raises Precondition (SOURCE_UNREADABLE)."""
    name, field = mapping.queries[0].name, "sql"
    try:
        async with databases.session(connection, tenant_id) as session:
            for query in mapping.queries:
                name = query.name
                field = "one_subject" if selection.subject and query.one_subject else "sql"
                async with aclosing(_of_query(session, connection, query, selection)) as batches:
                    async for batch in batches:
                        yield batch
    except MissingColumns as error:
        message = f"queries.{name}.{field}: {error}"
        raise unreadable(connection.name, name, DatabaseFault.SCHEMA, message) from error
    except DatabaseProblem as error:
        of_query = error.fault in _OF_QUERY
        message = f"queries.{name}.{field}: {error.message}" if of_query else error.message
        raise unreadable(connection.name, name, error.fault, message) from error


async def _of_query(
    session: DatabaseSession, connection: DatabaseConnection, query: MappedQuery, selection: RowSelection
) -> AsyncGenerator[_Batch]:
    own = bool(selection.subject and query.one_subject)
    values = {SUBJECT: selection.subject} if own else dict[str, str]()
    limit = connection.rows
    if selection.most is not None:
        limit = min(limit, PREVIEW_ROWS if selection.subject and not own else selection.most)
    # One row more shows that there are too many.
    wanted = limit if selection.most is not None else limit + 1
    sql = query.one_subject if own else query.sql
    count = 0
    async with aclosing(session.read(sql, values, wanted)) as pieces:
        async for piece in pieces:
            read, rows = query.reader(piece.columns), iter(piece.rows)
            while (batch := await asyncio.to_thread(_some, query, own, read, piece.columns, rows)).rows:
                count += len(batch.rows)
                if count > limit:
                    message = (
                        f"The query {query.name} returns more than {limit:,} rows, which the connection does not "
                        "allow; select fewer, or raise `rows` in the declaration."
                    )
                    raise DatabaseProblem(DatabaseFault.TOO_LARGE, message)
                yield batch


def _some(
    query: MappedQuery,
    own: bool,
    read: Callable[[Sequence[object]], Mapping[str, object]],
    columns: Sequence[str],
    rows: Iterator[Sequence[object]],
) -> _Batch:
    """The next rows. Empty at the end."""
    next_rows, size = list[Sequence[RowRequest]](), 0
    for row in rows:
        try:
            plain, problem = read(row), ""
        except RowProblem as error:
            plain, problem = query.readable(columns, row), str(error)
        length = sum(map(_size, plain.values()))
        if length > MAX_ROW_BYTES:
            # What a key or a subject may be made of.
            plain = {name: value for name, value in plain.items() if _size(value) <= _SHORT_BYTES}
            length, problem = sum(map(_size, plain.values())), _LONG_ROW
        next_rows.append([RowRequest(kind, plain, problem) for kind in query.kinds])
        size += length + _VALUE_BYTES * len(query.kinds)
        if len(next_rows) == _SOME_ROWS or size > _SOME_BYTES:
            break
    return _Batch(query, own, next_rows, size)


def _size(value: object) -> int:
    """About how many bytes a plain value takes."""
    return _VALUE_BYTES + (bytes_of(value) if isinstance(value, str) else 0)


def _make_row(request: RowRequest, filled: RenderedRow, keys: set[tuple[str, str]]) -> MadeRow:
    """What a row makes of one kind. keys: the kinds and keys so far, to which that of the row is added."""
    row = dict[str, object]() if request.problem or filled.unfit else request.row
    if filled.problem:
        return MadeRow(request.kind, row, None, filled.problem, filled.key, filled.subject)
    at, problem = (request.kind, filled.key), ""
    if at in keys:
        problem = f"Another row has the same key, “{filled.key}”."
    keys.add(at)
    return MadeRow(request.kind, row, filled.document(request.kind), problem)


def _redact(row: MadeRow, selection: RowSelection, *, own: bool) -> MadeRow | None:
    """The row as it is returned: without its content if it may be about another subject, and None if it is about
    another one. own: whether the statement is that for one subject.

    A row whose subject could not be read is returned with its key. Otherwise a run would delete its document, as if the row were gone.
    """
    subject = row.document.subject if row.document else row.subject
    if not selection.subject or subject == selection.subject:
        return row
    if own and subject:
        return MadeRow(row.kind, {}, None, "The statement for one subject returned a row of another subject.")
    if row.document or subject or (not own and selection.most is not None):
        return None
    return MadeRow(row.kind, {}, None, row.problem, row.key)
