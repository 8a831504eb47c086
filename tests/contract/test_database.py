"""How the pools connect."""

from __future__ import annotations

from psycopg.conninfo import conninfo_to_dict

from responsa_server.stores.postgres.database import Database, conninfo
from tests.conftest import DatabaseUrls


def test_what_a_url_says_stands() -> None:
    made = conninfo_to_dict(
        conninfo("postgresql://ann@db:5433/x?options=-c%20role%3Dr&tcp_user_timeout=1", "-c a=b")
    )
    assert (made["host"], made["port"], made["user"], made["dbname"]) == ("db", "5433", "ann", "x")
    assert made["options"] == "-c role=r -c a=b"
    assert made["tcp_user_timeout"] == "1"
    assert made["connect_timeout"] == "5"


async def test_a_statement_has_its_time_and_each_role_its_plans(database_urls: DatabaseUrls) -> None:
    database = Database(database_urls.app, database_urls.log, size=1)
    await database.open()
    try:
        for connected, plans in ((database.no_tenant(), "force_custom_plan"), (database.log(), "auto")):
            async with connected as connection:
                cursor = await connection.execute(
                    "SELECT current_setting('statement_timeout'), current_setting('plan_cache_mode')"
                )
                assert await cursor.fetchone() == ("30s", plans)
    finally:
        await database.close()
