"""Sends prepared statements to PostgreSQL in one message, and receives all their results at once.

psycopg sends the statements of its pipeline one by one, and encodes lists element by element in Python. The statements
of turns run so often that this costs more CPU time than the rest of their stores.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any, Final, NamedTuple, cast
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors, pq
from psycopg.pq.abc import PGconn, PGresult

_Encode = Callable[[Any], bytes]
_Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_PARAMETER: Final = re.compile(r"%\((\w+)\)[sb](?:::(\w+(?:\[\])?))?")
_NUMBERS: Final = count(1)
_TRUE, _FALSE = b"\x01", b"\x00"
_LENGTH: Final = struct.Struct(">i").pack
_ARRAY: Final = struct.Struct(">iiIii").pack
_EMPTY_ARRAY: Final = struct.Struct(">iiI").pack
_MICROSECOND: Final = timedelta(microseconds=1)


def _array(oid: int, encode: _Encode) -> _Encode:
    """An encoder of lists without None."""

    def encode_array(values: Sequence[object]) -> bytes:
        if not values:
            return _EMPTY_ARRAY(0, 0, oid)
        parts = [_ARRAY(1, 0, oid, len(values), 1)]
        for value in values:
            part = encode(value)
            parts += (_LENGTH(len(part)), part)
        return b"".join(parts)

    return encode_array


# The binary formats of PostgreSQL's types, with the OIDs of the types and of their arrays.
_SCALARS: Final[Mapping[str, tuple[int, int, _Encode]]] = {
    "bool": (16, 1000, lambda value: _TRUE if value else _FALSE),
    "bytea": (17, 1001, bytes),
    "bigint": (20, 1016, struct.Struct(">q").pack),
    "int": (23, 1007, struct.Struct(">i").pack),
    "text": (25, 1009, str.encode),
    "float8": (701, 1022, struct.Struct(">d").pack),
    "interval": (1186, 1187, lambda value: struct.pack(">qii", value // _MICROSECOND, 0, 0)),
    "uuid": (2950, 2951, lambda value: value.bytes),
    "jsonb": (3802, 3807, lambda value: b"\x01" + json.dumps(value).encode()),
}
_ALIASES: Final = {"int8": "bigint", "boolean": "bool"}


def _type_of(cast_to: str) -> tuple[int, _Encode]:
    name = cast_to.removesuffix("[]")
    oid, of_array, encode = _SCALARS[_ALIASES.get(name, name)]
    return (of_array, _array(oid, encode)) if name != cast_to else (oid, encode)


class Bound(NamedTuple):
    """A statement with the values of its parameters."""

    statement: Prepared
    values: Sequence[bytes | None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement that each connection prepares when it first runs it."""

    name: bytes
    sql: bytes
    parameters: Sequence[tuple[str, _Encode]]
    types: Sequence[int]
    formats: Sequence[int]

    def bind(self, values: Mapping[str, object]) -> Bound:
        """The statement with these values by name. Values that it does not have are ignored."""
        return Bound(
            self,
            [None if (value := values[name]) is None else encode(value) for name, encode in self.parameters],
        )


@functools.cache
def prepare(query: str) -> Prepared:
    """A statement with psycopg's placeholders. Each parameter has a cast (`%(turns)b::uuid[]`) in at least one place,
    which gives its type. Raises ValueError for a parameter without one, and KeyError for an unknown type.
    """
    types: dict[str, str | None] = {}
    for name, cast_to in _PARAMETER.findall(query):
        types[name] = types.get(name) or cast_to
    untyped = [name for name, cast_to in types.items() if not cast_to]
    if untyped:
        raise ValueError(f"parameters without a cast: {', '.join(untyped)}")
    places = {name: index for index, name in enumerate(types, 1)}

    def number(match: re.Match[str]) -> str:
        return f"${places[match[1]]}" + (f"::{match[2]}" if match[2] else "")

    encoders = {name: _type_of(cast("str", cast_to)) for name, cast_to in types.items()}
    return Prepared(
        b"responsa_%d" % next(_NUMBERS),
        _PARAMETER.sub(number, query).encode(),
        [(name, encode) for name, (_, encode) in encoders.items()],
        [oid for oid, _ in encoders.values()],
        [pq.Format.BINARY] * len(encoders),
    )


# The names of the statements that each connection has prepared.
_PREPARED: Final[WeakKeyDictionary[_Connection, set[bytes]]] = WeakKeyDictionary()


async def send(connection: _Connection, statements: Sequence[Bound]) -> Sequence[PGresult]:
    """Run statements in one transaction, which is one message in each direction. Returns the result of each statement,
    with its values in binary format.

    An error in one statement rolls all statements back, and is raised. The connection must be in autocommit mode, and
    no transaction may be open. If the task is cancelled, the connection is closed, because nobody reads the results.
    """
    pgconn = connection.pgconn
    known = _PREPARED.setdefault(connection, set())
    # For each result, the statement that it prepares; None if it is the result of a statement itself.
    expected: list[bytes | None] = []
    try:
        pgconn.enter_pipeline_mode()
        for statement, values in statements:
            if statement.name not in known and statement.name not in expected:
                pgconn.send_prepare(statement.name, statement.sql, statement.types)
                expected.append(statement.name)
            pgconn.send_query_prepared(
                statement.name, values, statement.formats, result_format=pq.Format.BINARY
            )
            expected.append(None)
        pgconn.pipeline_sync()
        results = await _results(pgconn)
        pgconn.exit_pipeline_mode()
    except BaseException:
        pgconn.finish()
        raise
    # What was prepared before an error stays prepared.
    known.update(
        name
        for name, result in zip(expected, results, strict=True)
        if name is not None and result.status == pq.ExecStatus.COMMAND_OK
    )
    error = _error(results)
    if isinstance(error, errors.InvalidSqlStatementName):
        # After a ROLLBACK, psycopg drops the prepared statements of a connection, also those that are not its own.
        cursor = await connection.execute("SELECT name FROM pg_prepared_statements")
        known &= {str(name).encode() for (name,) in await cursor.fetchall()}
        return await send(connection, statements)
    if error is not None:
        raise error
    return [result for name, result in zip(expected, results, strict=True) if name is None]


async def _results(pgconn: PGconn) -> Sequence[PGresult]:
    """The results up to the end of the transaction. Raises OperationalError if the connection is lost."""
    loop = asyncio.get_running_loop()
    results: list[PGresult] = []
    unsent = pgconn.flush()
    try:
        while True:
            await _ready(loop, pgconn.socket, bool(unsent))
            pgconn.consume_input()
            if unsent:
                unsent = pgconn.flush()
            ended = False
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    # One None follows the result of each statement. Another one says that there are no more results yet.
                    if ended:
                        break
                    ended = True
                elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                    return results
                else:
                    results.append(result)
                    ended = False
    except psycopg.OperationalError:
        # The server may have said why it closes the connection.
        if (error := _error(results)) is not None:
            raise error from None
        raise


async def _ready(loop: asyncio.AbstractEventLoop, socket: int, writing: bool) -> None:
    """Wait until the socket can be read, or written if `writing`."""
    woken: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    loop.add_reader(socket, wake)
    if writing:
        loop.add_writer(socket, wake)
    try:
        await woken
    finally:
        loop.remove_reader(socket)
        if writing:
            loop.remove_writer(socket)


def _error(results: Sequence[PGresult]) -> psycopg.Error | None:
    """The error of the statement that has failed."""
    failed = next((result for result in results if result.status == pq.ExecStatus.FATAL_ERROR), None)
    return None if failed is None else errors.error_from_result(failed)
