"""PostgreSQL keeps the plans with which credentials are looked up, and makes them again when the tables have grown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import psycopg
import pytest

from responsa_server.identity.credentials import digest
from responsa_server.stores.postgres import database as module
from responsa_server.stores.postgres.database import Database, Queries
from responsa_server.stores.postgres.identity import PostgresIdentityStore
from tests.conftest import DatabaseUrls
from tests.contract.cut_database import opened
from tests.contract.test_identity import identity_of, person

_TABLES: Final = "responsa.app_user, responsa.tenant, responsa.session, responsa.api_key"
_GROWN: Final = """WITH made AS (
        INSERT INTO responsa.app_user (id, tenant_id, display_name, email, role)
        SELECT gen_random_uuid(), 'acme', '', '', 'user' FROM generate_series(1, 3000) RETURNING id),
    keys AS (
        INSERT INTO responsa.api_key (id, tenant_id, user_id, display_name, prefix, secret_sha256)
        SELECT gen_random_uuid(), 'acme', id, '', 'rsp_xxxx', sha256(id::text::bytea) FROM made)
    INSERT INTO responsa.session SELECT (jsonb_populate_record(
        s, jsonb_build_object('id', made.id, 'token_sha256', sha256(made.id::text::bytea)))).*
    FROM made CROSS JOIN responsa.session AS s"""
_FEW: Final = 60
"""More blocks than a lookup by keys reads, and fewer than an index over 3,000 rows has with its rows."""


@pytest.mark.parametrize(
    ("seconds", "few"), [pytest.param(0.0, True, id="made again"), pytest.param(3600.0, False, id="kept")]
)
async def test_plans_for_nearly_empty_tables_are_made_again_when_the_tables_have_grown(
    seconds: float, few: bool, database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If such plans were kept for longer, a lookup would read all keys or sessions. The case "kept" shows this, and
    that plans are kept at all."""
    monkeypatch.setattr(module, "_CREDENTIAL_PLANS_LAST_SECONDS", seconds)
    # The plans belong to one connection.
    async with opened(Database(database_urls.app, database_urls.log, size=1)) as database:
        identity = identity_of(database)
        who, secret = await person(identity)
        code, _ = await identity.create_session_code(who)
        token, _ = await identity.exchange_code(code)
        found = await PostgresIdentityStore(database).find_session(digest(token))
        assert found is not None
        statements = {
            "find_key": {"digest": digest(secret)},
            "find_session": {"digest": digest(token)},
            "find_token_session": {"id": found.principal.session_id},
        }
        with psycopg.connect(database_urls.superuser, autocommit=True) as connection:
            connection.execute("UPDATE responsa.session SET kind = 'tokens'")
            connection.execute(f"VACUUM ANALYZE {_TABLES}".encode())
            small = await _blocks(database, statements)
            assert max(small.values()) < _FEW, small
            connection.execute(_GROWN.encode())
        full = await _blocks(database, statements)
        assert [one < _FEW for one in full.values()] == [few] * len(statements), full


async def _blocks(database: Database, statements: Mapping[str, Mapping[str, object]]) -> Mapping[str, int]:
    """The blocks that each statement reads when it is executed again, the functions that it calls included."""
    queries = Queries("identity.sql")
    read: dict[str, int] = {}
    # PostgreSQL makes a plan in the first round and reads the catalogue for it.
    for _ in range(2):
        for name, values in statements.items():
            async with database.credentials() as connection:
                cursor = await connection.execute(
                    f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {queries[name]}".encode(), values
                )
                row = await cursor.fetchone()
            assert row is not None
            ((explained,),) = row
            read[name] = sum(explained["Plan"][f"Shared {kind} Blocks"] for kind in ("Hit", "Read"))
    return read
