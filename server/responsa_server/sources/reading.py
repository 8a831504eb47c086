"""Reads the rows of a source, and makes documents of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, cast

from responsa_server.domain.errors import Precondition, Reason
from responsa_server.domain.sources import (
    DatabaseConnection,
    DatabaseFault,
    DatabaseProblem,
    Databases,
    DatabaseSession,
    MadeRow,
)
from responsa_server.sources.mapping import SUBJECT, MappedQuery, RowProblem, SchemaProblem, SourceMapping
from responsa_server.sources.sandbox import AskedRow, FilledRow, Filler, SourceSandbox

PREVIEW_ROWS: Final = 10_000
"""The number of rows that a preview for one subject reads of a query that has no statement for one subject."""
# The faults that another query, or another limit for it, would avoid.
_OF_QUERY: Final = frozenset({DatabaseFault.QUERY, DatabaseFault.TIMEOUT, DatabaseFault.TOO_LARGE})
# So many rows are filled in together: each time takes a process, and memory and the time until a cancellation matter.
_SOME_ROWS: Final = 1000
_SOME_CHARACTERS: Final = 1 << 19


@dataclass(frozen=True, slots=True)
class RowSelection:
    """Which rows are read. subject: "" for all. most: the number of rows of each query that are returned; None for all, up to the limit of the connection."""

    subject: str = ""
    most: int | None = None


async def read_rows(
    databases: Databases,
    sandbox: SourceSandbox,
    connection: DatabaseConnection,
    mapping: SourceMapping,
    asked: RowSelection,
) -> AsyncGenerator[MadeRow]:
    """Each row of each query, with what each kind of documents makes of it.

    A kind and a key that occur twice are a problem of the second row. With a subject, rows of the subject alone are returned; a row of somebody else in a statement for one subject
    is a problem. Raises Precondition (SOURCE_UNREADABLE), Unavailable.
    """
    filler = Filler(sandbox, mapping)
    name, field = mapping.queries[0].name, "sql"
    try:
        async with databases.session(connection) as session:
            for query in mapping.queries:
                name = query.name
                field = "one_subject" if asked.subject and query.one_subject else "sql"
                async with aclosing(_of_query(session, filler, connection, query, asked)) as rows:
                    async for row in rows:
                        yield row
    except SchemaProblem as error:
        message = f"{mapping.place(name, field)}: {error}"
        raise unreadable(connection.name, name, DatabaseFault.SCHEMA, message) from error
    except DatabaseProblem as error:
        of_query = error.fault in _OF_QUERY
        message = f"{mapping.place(name, field)}: {error.message}" if of_query else error.message
        raise unreadable(connection.name, name, error.fault, message) from error


def unreadable(connection: str, query: str, fault: DatabaseFault, message: str) -> Precondition:
    """The error for a database that cannot be read."""
    return Precondition(
        Reason.SOURCE_UNREADABLE,
        message,
        {"connection": connection, "query": query, "fault": fault.value},
    )


async def _of_query(
    session: DatabaseSession,
    filler: Filler,
    connection: DatabaseConnection,
    query: MappedQuery,
    asked: RowSelection,
) -> AsyncGenerator[MadeRow]:
    own = bool(asked.subject and query.one_subject)
    values = {SUBJECT: asked.subject} if own else dict[str, str]()
    limit = connection.rows
    if asked.most is not None:
        limit = min(limit, PREVIEW_ROWS if asked.subject and not own else asked.most)
    # One row more shows that there are too many.
    wanted = limit if asked.most is not None else limit + 1
    sql = query.one_subject if own else query.sql
    keys, count, shown = set[tuple[str, str]](), 0, 0
    async with aclosing(session.read(sql, values, wanted)) as pieces:
        async for piece in pieces:
            read, rows = query.reader(piece.columns), iter(piece.rows)
            while some := await asyncio.to_thread(_some, query, read, piece.columns, rows):
                filled = iter(await filler.fill([one for each in some for one in each]))
                for each in some:
                    count += 1
                    if asked.most is None and count > limit:
                        message = f"The query {query.name} returns more than {limit:,} rows, which the connection does not allow; select fewer, or raise `rows` in the declaration."
                        raise DatabaseProblem(DatabaseFault.TOO_LARGE, message)
                    made = [_made(one, next(filled), keys) for one in each]
                    found = [one for row in made if (one := _seen(row, asked, own=own))]
                    for one in found:
                        yield one
                    shown += bool(found)
                    if asked.most is not None and shown >= asked.most:
                        return


def _some(
    query: MappedQuery,
    read: Callable[[Sequence[object]], Mapping[str, object]],
    columns: Sequence[str],
    rows: Iterator[Sequence[object]],
) -> Sequence[Sequence[AskedRow]]:
    """The next rows as plain values, each for every kind of documents of the query. Empty at the end."""
    found, size = list[Sequence[AskedRow]](), 0
    for row in rows:
        try:
            plain, problem = read(row), ""
        except RowProblem as error:
            plain, problem = query.readable(columns, row), str(error)
        found.append([AskedRow(kind, plain, problem) for kind in query.kinds])
        size += sum(map(_size, plain.values()))
        if len(found) == _SOME_ROWS or size > _SOME_CHARACTERS:
            break
    return found


def _size(value: object) -> int:
    """About how many characters a value has in JSON."""
    match value:
        case str():
            return len(value)
        case dict():
            pairs = cast("dict[str, object]", value).items()
            return sum(len(name) + _size(one) for name, one in pairs)
        case list():
            return sum(map(_size, cast("list[object]", value)))
        case _:
            return 8


def _made(asked: AskedRow, filled: FilledRow, keys: set[tuple[str, str]]) -> MadeRow:
    """What a row makes of one kind. keys: the kinds and keys so far, to which that of the row is added."""
    row = dict[str, object]() if asked.problem else asked.row
    if filled.problem:
        return MadeRow(asked.kind, row, None, filled.problem, filled.key, filled.subject)
    at, problem = (asked.kind, filled.key), ""
    if at in keys:
        problem = f"Another row has the same key, “{filled.key}”."
    keys.add(at)
    return MadeRow(asked.kind, row, filled.document(asked.kind), problem)


def _seen(one: MadeRow, asked: RowSelection, *, own: bool) -> MadeRow | None:
    """The row as it is returned: without its content if it may be about another subject, and None if it is about another one. own: whether the statement is that for one subject.

    A row whose subject could not be read is returned with its key. Otherwise a run would delete its document, as if the row were gone.
    """
    subject = one.document.subject if one.document else one.subject
    if not asked.subject or subject == asked.subject:
        return one
    if own and subject:
        return MadeRow(one.kind, {}, None, "The statement for one subject returned a row of another subject.")
    if one.document or subject or (not own and asked.most is not None):
        return None
    return MadeRow(one.kind, {}, None, one.problem, one.key)
