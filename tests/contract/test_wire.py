"""Statements that are sent in one message: their values, their transaction, and the connection afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import psycopg
import pytest
from psycopg import pq
from uuid_utils.compat import uuid7

from responsa_server.stores.postgres.wire import Bound, prepare, send
from tests.conftest import DatabaseUrls
from tests.contract.turn_steps import until_somebody_waits
from tests.raising import raises

_VALUES: Final = [
    ("bool", True, "true"),
    ("boolean", False, "false"),
    ("bytea", b"\x00\xff", "\\x00ff"),
    ("bigint", -(2**62), str(-(2**62))),
    ("int8", 7, "7"),
    ("int", -7, "-7"),
    ("text", "Zürich, 'Ω'", "Zürich, 'Ω'"),
    ("text", None, None),
    ("float8", 0.1, "0.1"),
    ("interval", timedelta(days=2, microseconds=5), "48:00:00.000005"),
    ("interval", timedelta(seconds=-1.5), "-00:00:01.5"),
    ("jsonb", [{"a": "Ω", "b": None, "c": [1, 2]}], '[{"a": "Ω", "b": null, "c": [1, 2]}]'),
    ("bigint[]", [1, -2], "{1,-2}"),
    ("text[]", ["", "a,b", "Ω"], '{"","a,b",Ω}'),
    ("bytea[]", [b"", b"\x01"], '{"\\\\x","\\\\x01"}'),
    ("uuid[]", [], "{}"),
    ("float8[]", [0.5], "{0.5}"),
    ("bool[]", [True, False], "{t,f}"),
]
"""Casts, values, and what PostgreSQL makes of them as text."""

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


@pytest.fixture
async def connection(database_urls: DatabaseUrls) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database_urls.owner, autocommit=True) as made:
        yield made


def statement(query: str, **values: object) -> Bound:
    return prepare(query).bind(values)


async def test_postgresql_reads_each_value_as_it_was(connection: Connection) -> None:
    asked = [statement(f"SELECT %(value)s::{cast}::text", value=value) for cast, value, _ in _VALUES]
    found = [result.get_value(0, 0) for result in await send(connection, asked)]
    assert [None if one is None else one.decode() for one in found] == [text for *_, text in _VALUES]


async def test_ids_come_and_go(connection: Connection) -> None:
    ids = [uuid7(), uuid7()]
    query = (
        "SELECT id FROM unnest(%(ids)b::uuid[]) AS ids (id) WHERE id <> %(but)s::uuid AND %(but)s IS NOT NULL"
    )
    (result,) = await send(connection, [statement(query, ids=ids, but=ids[0])])
    assert [result.get_value(row, 0) for row in range(result.ntuples)] == [ids[1].bytes]


def test_each_parameter_needs_a_type() -> None:
    with pytest.raises(ValueError, match="without a cast: b"):
        prepare("SELECT %(a)s::int + %(b)s")
    with pytest.raises(KeyError):
        prepare("SELECT %(a)s::point")


async def test_an_error_takes_everything_back_and_leaves_a_usable_connection(connection: Connection) -> None:
    await connection.execute("CREATE TABLE kept (number int)")
    insert = statement("INSERT INTO kept VALUES (%(number)s::int)", number=1)
    await raises(
        psycopg.errors.DivisionByZero,
        send(connection, [insert, statement("SELECT 1 / %(by)s::int", by=0), insert]),
    )
    for _ in range(2):
        _, counted = await send(connection, [insert, statement("SELECT count(*)::text FROM kept")])
    assert counted.get_value(0, 0) == b"2"
    found = await connection.execute("SELECT count(*), count(DISTINCT xmin::text) FROM kept")
    assert await found.fetchone() == (2, 2)
    assert connection.info.transaction_status is pq.TransactionStatus.IDLE


async def test_a_statement_is_prepared_once(connection: Connection) -> None:
    query = "SELECT %(value)s::int AS once"
    for value in range(3):
        await send(connection, [statement(query, value=value), statement(query, value=value)])
    found = await connection.execute(
        "SELECT count(*) FROM pg_prepared_statements WHERE statement ~ 'AS once'"
    )
    assert await found.fetchone() == (1,)


async def test_statements_that_psycopg_dropped_are_prepared_again(connection: Connection) -> None:
    query = "SELECT %(value)s::int::text"
    await send(connection, [statement(query, value=1)])
    await connection.execute("SELECT %s::int", [1], prepare=True)
    async with connection.transaction(force_rollback=True):
        await connection.execute("SELECT 1")
    (names,) = await (await connection.execute("SELECT count(*) FROM pg_prepared_statements")).fetchall()
    assert names == (0,)
    other, first = await send(connection, [statement("SELECT 'other'"), statement(query, value=2)])
    assert (other.get_value(0, 0), first.get_value(0, 0)) == (b"other", b"2")
    await send(connection, [statement(query, value=3)])


async def test_a_message_may_be_larger_than_what_the_socket_takes_at_once(connection: Connection) -> None:
    large = b"x" * 8_000_000
    results = await send(connection, [statement("SELECT %(value)s::bytea", value=large)] * 3)
    assert [result.get_value(0, 0) for result in results] == [large] * 3


async def test_who_is_cancelled_while_it_waits_closes_the_connection(
    connection: Connection, database_urls: DatabaseUrls
) -> None:
    database_urls.ask("CREATE TABLE kept (number int)")
    with psycopg.connect(database_urls.superuser) as holder:
        holder.execute("LOCK TABLE kept")
        sending = asyncio.ensure_future(send(connection, [statement("SELECT FROM kept")]))
        await until_somebody_waits(database_urls, sending)
        sending.cancel()
        await raises(asyncio.CancelledError, sending)
    assert connection.closed


async def test_why_the_server_ends_a_session_is_raised(connection: Connection) -> None:
    await raises(
        psycopg.errors.AdminShutdown,
        send(connection, [statement("SELECT pg_terminate_backend(pg_backend_pid())")]),
    )
    assert connection.closed
    await raises(psycopg.OperationalError, send(connection, [statement("SELECT 1")]))
