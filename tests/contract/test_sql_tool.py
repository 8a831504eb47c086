"""The tool `sql_query` on a real database: values, bounds, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import psycopg
import pytest
from psycopg import conninfo

from responsa_server.domain.people import Principal
from responsa_server.domain.tools import (
    Declaration,
    SecretPlace,
    ToolCall,
    ToolFault,
    ToolOutcome,
    ToolResult,
    ToolUnfit,
)
from responsa_server.embedded.postgres import EmbeddedPostgres
from responsa_server.tools.kinds import ToolParts
from responsa_server.tools.sql_query import KIND, Query, SqlOptions
from tests.conftest import DatabaseUrls
from tests.unit.agents.evidence import WHO

MINE = Query(
    sql="SELECT id, total, placed FROM orders WHERE tenant = %(tenant)s AND person = %(subject)s AND item ILIKE %(item)s AND item NOT LIKE 'x%%' ORDER BY id",
    parameters={"item": {"type": "string"}},
    rows=2,
)


@pytest.fixture(scope="module")
def shop(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database of the organisation."""
    with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop TEMPLATE template0")
    url = postgres.dsn("superuser", database="shop")
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE TABLE orders (id int, tenant text, person text, item text, total numeric, placed date)"
        )
        connection.execute(
            "INSERT INTO orders SELECT n, 'acme', CASE WHEN n < 5 THEN 'ann' ELSE 'bob' END, 'lamp ' || n, n + 0.10, DATE '2026-03-01' + n FROM generate_series(1, 9) AS n"
        )
    yield url
    with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE shop WITH (FORCE)")


async def asked(
    url: str,
    query: Query,
    arguments: Mapping[str, object] | None = None,
    *,
    subject: str = "ann",
    seconds: float = 10.0,
) -> ToolResult:
    async def subject_of(_: Principal) -> str:
        return subject

    options = SqlOptions(connection="url", queries={"mine": query})
    declared = Declaration(
        "shop", "sql_query", "the shop", "Orders.", options, secrets={"url": SecretPlace(env="X")}
    )
    (tool,) = KIND.make(declared, options, ToolParts(secret=lambda _: url, subject=subject_of))
    assert tool.card.id == "shop_mine"
    return await tool.call(ToolCall("k", arguments or {}, WHO, seconds=seconds))


async def test_a_query_reads_with_the_values_of_the_model_and_of_the_server(shop: str) -> None:
    result = await asked(shop, MINE, {"item": "lamp%"})
    assert result.data == {
        "rows": [
            {"id": 1, "total": "1.10", "placed": "2026-03-02"},
            {"id": 2, "total": "2.10", "placed": "2026-03-03"},
        ],
        "more": True,
    }
    assert result.content.endswith("There are more rows.")
    (source,) = result.sources
    assert source.text in result.content
    nothing = await asked(shop, MINE, {"item": "' OR true --"})
    assert (nothing.outcome, nothing.content, nothing.sources) == (ToolOutcome.OK, "No row was found.", ())
    assert (await asked(shop, MINE, {"item": "%"}, subject="")).error is ToolFault.REFUSED


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("DELETE FROM orders RETURNING id", ToolFault.STATUS),
        ("SELECT 1; DROP TABLE orders", ToolFault.STATUS),
        ("WITH gone AS (DELETE FROM orders RETURNING id) SELECT id FROM gone", ToolFault.STATUS),
        ("SELECT nextval('numbers')", ToolFault.STATUS),
        ("SELECT lo_create(0)", ToolFault.REFUSED),
        ("SELECT pg_sleep(10)", ToolFault.TIMEOUT),
        ("SELECT 'x'::int", ToolFault.ARGUMENTS),
        ("SELECT nonsense", ToolFault.STATUS),
    ],
)
async def test_what_fails_or_would_change_data_is_a_typed_failure(
    shop: str, text: str, fault: ToolFault
) -> None:
    result = await asked(shop, Query(sql=text), seconds=0.5 if "sleep" in text else 10.0)
    assert (result.outcome, result.error) == (ToolOutcome.ERROR, fault)
    with psycopg.connect(shop) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (9,)


async def test_responsas_own_database_and_a_missing_one_are_not_read(
    shop: str, database_urls: DatabaseUrls
) -> None:
    own = await asked(database_urls.owner, Query(sql="SELECT 1"))
    assert (own.error, "own database" in own.content) == (ToolFault.REFUSED, True)
    gone = await asked(conninfo.make_conninfo(shop, dbname="none"), Query(sql="SELECT 1"))
    assert (gone.error, gone.content) == (ToolFault.UNREACHABLE, "The database cannot be reached.")


async def test_large_results_are_cut(shop: str) -> None:
    result = await asked(
        shop, Query(sql="SELECT repeat('x', 1000) AS x FROM generate_series(1, 100)", rows=100)
    )
    data = cast("Mapping[str, list[object]]", result.data)
    assert (len(data["rows"]), data["more"]) == (5, True)
    # The rest is not even read.
    rest = Query(
        sql="SELECT repeat('x', 1000) AS x, 1 / (90 - n) AS y FROM generate_series(1, 100) AS n", rows=100
    )
    assert (await asked(shop, rest)).outcome is ToolOutcome.OK


async def test_a_value_of_64_mib_is_cut_by_the_database(shop: str) -> None:
    query = Query(
        sql="SELECT repeat('x', 64 << 20) AS long, to_jsonb(repeat('y', 64 << 20)) AS json, decode(repeat('00', 64 << 20), 'hex') AS bytes; -- all"
    )
    before = peak_bytes(reset=True)
    result = await asked(shop, query, seconds=60.0)
    assert peak_bytes() - before < 16 << 20
    (row,) = cast("Mapping[str, list[dict[str, str]]]", result.data)["rows"]
    assert row == {
        "long": "x" * 8192 + "…",
        "json": '"' + "y" * 8191 + "…",
        "bytes": "67108864 bytes",
    }


def peak_bytes(*, reset: bool = False) -> int:
    """The highest resident size of this process since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


async def test_values_of_all_kinds_are_plain_json(shop: str) -> None:
    query = """SELECT 1 AS number, 1.10 AS exact, 'NaN'::float8 AS odd, true AS yes, NULL AS nothing, 'é' AS text, DATE '2026-03-01' AS day, '{"a": [1, null]}'::jsonb AS json,
        ARRAY['x', NULL] AS list, 2 AS twice, 3 AS twice, '00000000-0000-0000-0000-000000000001'::uuid AS id, int4range(1, 5) AS range, pg_lsn '0/1' AS other"""
    result = await asked(shop, Query(sql=query))
    assert result.data == {
        "rows": [
            {
                "number": 1,
                "exact": "1.10",
                "odd": "nan",
                "yes": True,
                "nothing": None,
                "text": "é",
                "day": "2026-03-01",
                "json": {"a": [1, None]},
                "list": ["x", None],
                "twice": 3,
                "id": "00000000-0000-0000-0000-000000000001",
                "range": "[1,5)",
                "other": "0/1",
            }
        ],
        "more": False,
    }


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (Query(sql="SELECT %(id)s"), "uses “id”"),
        (Query(sql="SELECT 1", parameters={"id": {}}), "does not use its parameter “id”"),
        (Query(sql="SELECT %(user)s", parameters={"user": {}}), "which the server sets"),
        (Query(sql="SELECT 5 % 2"), "neither a placeholder"),
        (Query(sql="SELECT %s"), "neither a placeholder"),
    ],
)
async def test_a_query_whose_parameters_do_not_fit_is_no_tool(query: Query, says: str) -> None:
    with pytest.raises(ToolUnfit, match=says):
        await asked("", query)
