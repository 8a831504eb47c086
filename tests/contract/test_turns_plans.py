"""How PostgreSQL goes about the statements that run all the time: few rows are walked however many turns there are."""

from __future__ import annotations

import re

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.stores.postgres.database import Connection, Database
from responsa_server.stores.postgres.queries import Queries
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People

QUERIES = Queries("turns.sql")
_CONVERSATIONS = """INSERT INTO responsa.conversation (id, tenant_id, user_id, title, titled)
    SELECT uuidv7(), 'acme', %s, 'x', true FROM generate_series(1, 6000)"""
_TURNS = """INSERT INTO responsa.turn
    (id, tenant_id, user_id, conversation_id, request, request_sha256, agent_version, state, owner, lease_until, last_seq, terminal, end_time)
    SELECT id, 'acme', user_id, id, 'x', sha256('x'), 'a', CASE WHEN running THEN 'running' ELSE 'answered' END, uuidv7(),
        CASE WHEN running THEN now() + interval '1 h' END, 1, CASE WHEN NOT running THEN 'x'::bytea END, CASE WHEN NOT running THEN now() END
    FROM (SELECT *, row_number() OVER () %% 6 = 0 AS running FROM responsa.conversation) AS c"""


@pytest.fixture
async def many_turns(turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls) -> None:
    """Six thousand turns, a thousand of them running."""
    with psycopg.connect(database_urls.superuser, autocommit=True) as connection:
        connection.execute(_CONVERSATIONS, (people.ann.user_id,))
        connection.execute(_TURNS.replace("%%", "%"))
        connection.execute("ANALYZE")


async def plan(connection: Connection, name: str, parameters: dict[str, object]) -> str:
    cursor = await connection.execute(f"EXPLAIN (COSTS OFF) {QUERIES[name]}".encode(), parameters)
    return "\n".join(row[0] for row in await cursor.fetchall())


@pytest.mark.usefixtures("many_turns")
async def test_an_append_goes_by_the_turns_id_and_the_sweep_by_the_turns_at_work(database: Database) -> None:
    append: dict[str, object] = {
        "turn": uuid7(),
        "epoch": 1,
        "first": 2,
        "last": 2,
        "lease": "6 s",
        "seqs": [2],
        "last_seqs": [2],
        "deltas": [False],
        "frames": [b"x"],
    }
    async with database.log() as connection:
        # What a prepared statement comes to after some executions is what counts, not the plan for one turn.
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        assert "turn_pkey" in await plan(connection, "append_rows", append)
        assert "turn_pkey" in await plan(connection, "renew_lease", append)
        assert "turn_active" in await plan(connection, "lost_turns", {"most": 100})


@pytest.mark.usefixtures("many_turns")
async def test_what_callers_ask_for_goes_by_an_index_under_the_policies(
    database: Database, people: People
) -> None:
    parameters: dict[str, object] = {
        "tenant": "acme",
        "user": people.ann.user_id,
        "turn": uuid7(),
        "request_id": uuid7(),
        "after": 0,
        "most": 64,
    }
    async with database.tenant("acme") as connection:
        for name in ("get_turn", "find_request", "backlog"):
            assert not re.search(r"Seq Scan on turn\b", found := await plan(connection, name, parameters)), (
                found
            )
            if name == "backlog":
                assert len(set(re.findall(r"turn_event_\d{8}", found))) == 1  # its partition alone
