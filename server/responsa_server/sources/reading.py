"""Reads the rows of a source, and makes documents of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from responsa_server.domain.errors import Precondition, Reason
from responsa_server.domain.sources import (
    DatabaseConnection,
    DatabaseFault,
    DatabaseProblem,
    Databases,
    DatabaseSession,
    MadeRow,
)
from responsa_server.sources.filling import Filler
from responsa_server.sources.mapping import SUBJECT, MappedQuery, RowProblem, SchemaProblem, SourceMapping

PREVIEW_ROWS: Final = 10_000
"""The number of rows that a preview for one subject reads of a query that has no statement for one subject."""
# The faults that another query, or another limit for it, would avoid.
_OF_QUERY: Final = frozenset({DatabaseFault.QUERY, DatabaseFault.TIMEOUT, DatabaseFault.TOO_LARGE})
_SOME_CHARACTERS: Final = 1 << 18
_SOME_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class RowSelection:
    """Which rows are read. subject: "" for all. most: the number of rows of each query that are returned; None for all, up to the limit of the connection."""

    subject: str = ""
    most: int | None = None


async def read_rows(
    databases: Databases, connection: DatabaseConnection, mapping: SourceMapping, asked: RowSelection
) -> AsyncGenerator[MadeRow]:
    """Each row of each query, with what each kind of documents makes of it.

    A kind and a key that occur twice are a problem of the second row. With a subject, rows of the subject alone are returned; a row of somebody else in a statement for one subject
    is a problem. Raises Precondition (SOURCE_UNREADABLE).
    """
    name, field = mapping.queries[0].name, "sql"
    try:
        async with databases.session(connection) as session:
            for query in mapping.queries:
                name = query.name
                field = "one_subject" if asked.subject and query.one_subject else "sql"
                async with aclosing(_of_query(session, connection, mapping, query, asked)) as rows:
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
    connection: DatabaseConnection,
    mapping: SourceMapping,
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
    reading = session.read(sql, values, wanted)
    async with aclosing(reading) as pieces, _filler(mapping) as filler:
        async for piece in pieces:
            made = partial(_made, mapping, filler, query, query.reader(piece.columns), piece.columns, keys)
            rows = iter(piece.rows)
            # Templates are filled in in a thread: those of many rows take too long for the event loop.
            while some := await asyncio.to_thread(_some, made, rows):
                for each in some:
                    count += 1
                    if asked.most is None and count > limit:
                        message = f"The query {query.name} returns more than {limit:,} rows, which the connection does not allow; select fewer, or raise `rows` in the declaration."
                        raise DatabaseProblem(DatabaseFault.TOO_LARGE, message)
                    found = [one for row in each if (one := _seen(row, asked, own=own))]
                    for one in found:
                        yield one
                    shown += bool(found)
                    if asked.most is not None and shown >= asked.most:
                        return


@asynccontextmanager
async def _filler(mapping: SourceMapping) -> AsyncGenerator[Filler]:
    filler = Filler(mapping)
    try:
        yield filler
    finally:
        # A cancelled read leaves a thread that may still fill in a row; it ends with the process.
        filler.close()


def _some(
    made: Callable[[Sequence[object]], Sequence[MadeRow]], rows: Iterator[Sequence[object]]
) -> Sequence[Sequence[MadeRow]]:
    """What the next rows make: not so many that memory or the time until a cancellation matters. Empty at the end."""
    found, size, until = list[Sequence[MadeRow]](), 0, time.monotonic() + _SOME_SECONDS
    for row in rows:
        found.append(made(row))
        size += sum(len(one.document.text) for one in found[-1] if one.document)
        if size > _SOME_CHARACTERS or time.monotonic() > until:
            break
    return found


def _made(
    mapping: SourceMapping,
    filler: Filler,
    query: MappedQuery,
    read: Callable[[Sequence[object]], Mapping[str, object]],
    columns: Sequence[str],
    keys: set[tuple[str, str]],
    row: Sequence[object],
) -> Sequence[MadeRow]:
    """What a row makes. keys: the kinds and keys so far, to which those of the row are added."""
    try:
        plain = read(row)
    except RowProblem as error:
        some = query.readable(columns, row)
        return [MadeRow(kind, {}, None, str(error), *mapping.about(kind, some)) for kind in query.kinds]
    made = list[MadeRow]()
    for kind in query.kinds:
        try:
            document = filler.document(kind, plain)
        except RowProblem as error:
            made.append(MadeRow(kind, plain, None, str(error), *mapping.about(kind, plain)))
            continue
        problem = ""
        if (kind, document.key) in keys:
            problem = f"Another row has the same key, “{document.key}”."
        keys.add((kind, document.key))
        made.append(MadeRow(kind, plain, document, problem))
    return made


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
