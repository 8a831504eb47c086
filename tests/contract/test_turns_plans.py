"""The query plans of the most frequent statements read few rows, however many turns there are.

The tests examine the stored plans of prepared statements. The plans are made for empty tables, and again for full tables.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import NotFound
from responsa_server.domain.events import ToolCalled, ToolOutcome, ToolReturned, Usage
from responsa_server.domain.knowledge import Chunking, CollectionFields
from responsa_server.domain.people import Server
from responsa_server.stores.postgres import database
from responsa_server.stores.postgres.collections import CollectionStore
from responsa_server.stores.postgres.database import Connection, Database, Queries
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.operations import OperationStore
from responsa_server.stores.postgres.turns import turn_queries
from tests.conftest import DatabaseUrls
from tests.contract.cut_database import opened
from tests.contract.library_harness import Harness
from tests.contract.people import People, people_in
from tests.contract.turn_harness import citation
from tests.contract.turn_steps import AGENT, Store, answered, append_of, checkpoint, claim_of, new_turn, row
from tests.raising import raises

_CONVERSATIONS = """INSERT INTO responsa.conversation (id, tenant_id, user_id, title, titled, origin)
    SELECT uuidv7(), 'acme', %s, 'x', true, 'page' FROM generate_series(1, 6000)"""
_TURNS = """INSERT INTO responsa.turn
    (id, tenant_id, user_id, conversation_id, request, request_sha256, agent_version, state, owner, lease_until, last_seq, terminal,
        create_time, end_time)
    SELECT id, 'acme', user_id, id, 'x', sha256('x'), 'a', CASE WHEN running THEN 'running' ELSE 'answered' END, uuidv7(),
        CASE WHEN running THEN now() + interval '1 h' END, 1, CASE WHEN NOT running THEN 'x'::bytea END, clock_timestamp(),
        CASE WHEN NOT running THEN now() END
    FROM (SELECT *, row_number() OVER () % 6 = 0 AS running FROM responsa.conversation) AS c"""
_INDEX = re.compile(r"using (\w+) on (turn\b|conversation|turn_checkpoint|turn_tool|turn_spent)")
# A scan of a whole index.
_WHOLE = re.compile(
    r"using \w+ on (?:turn\b|conversation|turn_checkpoint|turn_tool|turn_spent)[^\n]*\n(?!\s+Index Cond)"
)
_PREPARED = """SELECT name, statement, cardinality(parameter_types) FROM pg_prepared_statements
    WHERE statement ~ 'responsa\\.' AND NOT statement ~ '^EXPLAIN'"""
# The indexes whose cost does not grow with the table: the indexes on the id of a turn or conversation, and the indexes
# that cover only open turns.
_NARROW = {
    "turn": {
        "turn_pkey",
        "turn_active",
        "turn_pending",
        "turn_queued",
        "turn_request",
        "turn_of_conversation",
    },
    "conversation": {"conversation_pkey", "conversation_tenant_id_id_key"},
    "turn_checkpoint": {"turn_checkpoint_pkey"},
    "turn_tool": {"turn_tool_pkey"},
    "turn_spent": {"turn_spent_pkey"},
}


@pytest.fixture
async def alone(database_urls: DatabaseUrls) -> AsyncIterator[Database]:
    """A database with one connection for each role, so that its prepared statements can be found."""
    async with opened(Database(database_urls.app, database_urls.log, size=1)) as database:
        yield database


def fill(urls: DatabaseUrls) -> None:
    """Write 6,000 turns, of which 1,000 are running."""
    with psycopg.connect(urls.superuser, autocommit=True) as connection:
        connection.execute(_CONVERSATIONS, (people_in(urls).ann.user_id,))
        connection.execute(_TURNS.encode())
        connection.execute("ANALYZE")


async def kept(connection: Connection) -> Mapping[str, str]:
    """The generic plans of a connection's prepared statements."""
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    plans: dict[str, str] = {}
    found = await connection.execute(_PREPARED, prepare=False)
    for name, statement, parameters in await found.fetchall():
        values = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
        explain = f"EXPLAIN (COSTS OFF) EXECUTE {name}{values}"
        lines = await (await connection.execute(explain.encode(), prepare=False)).fetchall()
        plans[statement] = "\n".join(line for (line,) in lines)
    return plans


async def use(store: Store) -> None:
    """Run every statement that has a stored plan, often enough for psycopg to prepare it. PostgreSQL plans statements of longer
    transactions, and rare statements, each time.
    """
    for _ in range(7):
        new, other = new_turn(request_id=uuid7()), new_turn()
        await store.take_all(new, other)
        tools = [ToolCalled("1", "t", {}), ToolReturned("0", ToolOutcome.OK, "")]
        for saved, called in ((None, []), (checkpoint(1), []), (checkpoint(1), tools)):
            seq = (await store.backlog(store.ann, new.id, 0, 64)).last_seq + 1
            batch = [
                append_of(claim_of(turn), row(seq), checkpoint=saved, tools=called) for turn in (new, other)
            ]
            assert await store.append(batch) == {}
        await store.renew([claim_of(new), claim_of(other)])
        await store.expire_lost(60.0, 0.0)
        await store.finish(claim_of(new), [row(5)], answered(citation()))
        await store.record_usage(claim_of(new), Usage())
        await store.get(store.ann, new.id)
        await store.release([claim_of(other)])
        (claimed,) = await store.claim_all()
        await store.finish(claimed.claim, [row(5)], answered())


async def test_what_is_planned_once_goes_by_keys_whenever_it_is_planned(
    alone: Database, database_urls: DatabaseUrls
) -> None:
    tables = "responsa.turn, responsa.conversation, responsa.turn_checkpoint, responsa.turn_tool, responsa.turn_spent"
    database_urls.ask(f"VACUUM ANALYZE {tables}")
    await use(Store(database_urls, alone))
    for full in (False, True):
        if full:  # full tables; filling them discards the stored plans
            fill(database_urls)
        plans: dict[str, str] = {}
        async with alone.writer() as connection:
            plans |= await kept(connection)
        async with alone.tenant("acme") as connection:
            # `Database.together` runs its statements with this setting.
            await connection.execute("SET LOCAL enable_seqscan = off")
            plans |= await kept(connection)
        async with alone._turns.connection() as connection:
            # What `Database.turns` planned for empty tables, it soon plans again.
            await connection.execute("DISCARD PLANS")
            await connection.execute("SELECT set_config('responsa.tenant_id', 'acme', false)")
            plans |= await kept(connection)
        assert len(plans) >= 11
        for statement, plan in plans.items():
            for index, table in _INDEX.findall(plan):
                assert index in _NARROW[table], f"{statement}\n{plan}"
            assert not re.search(r"Seq Scan", plan), f"{statement}\n{plan}"
            # Statements that search for work read small indexes on open turns.
            assert not _WHOLE.search(plan) or "turn_active" in plan or "turn_queued" in plan, (
                f"{statement}\n{plan}"
            )
            # The access uses a key, not a column that all rows of a tenant share.
            assert not re.search(r"Index Cond: \(tenant_id = [^A]*$", plan, re.MULTILINE), (
                f"{statement}\n{plan}"
            )
            # A statement for one turn reads at most one partition of the log. (Statements for several turns choose the
            # partitions when they run.)
            if "turn_event" in plan and "INSERT" not in statement and "unnest" not in statement:
                assert "Subplans Removed" in plan or len(set(re.findall(r"turn_event_(\d{8})", plan))) <= 1, (
                    plan
                )
        appends = [plan for statement, plan in plans.items() if statement.endswith("SELECT id FROM fenced")]
        assert len(appends) == 3
        (finish,) = (plan for statement, plan in plans.items() if "responsa.message" in statement)
        assert finish.count("turn_pkey") == 3, finish
        assert "turn_active" not in finish, finish
        for plan in appends:
            assert {index for index, table in _INDEX.findall(plan) if table == "turn"} == {"turn_pkey"}, plan
            # With hash joins, the cost of a batch grows with its length and not with the square of its length. (Only a turn's
            # own rows, which are few, are joined with a nested loop.)
            assert plan.count("Hash Join") >= 2, plan
            assert all("Function Scan on r" in part[:400] for part in plan.split("Nested Loop")[1:]), plan


async def test_a_plan_made_while_a_table_was_empty_is_made_again_soon(
    alone: Database, people: People, database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def plan() -> str:
        for _ in range(6):  # psycopg prepares what runs often
            await raises(NotFound, operations.get(Server("acme"), uuid7()))
        async with alone.tenant("acme") as connection:
            plans = await kept(connection)
        (found,) = (plan for statement, plan in plans.items() if "responsa.operation" in statement)
        return found

    operations = OperationStore(alone, JobQueue(database_urls.log, concurrency=1))
    assert "operation_pkey" not in await plan()
    database_urls.ask(
        f"""INSERT INTO responsa.operation (id, tenant_id, user_id, document_id, version, stage)
        SELECT uuidv7(), 'acme', '{people.ann.user_id}', uuidv7(), 1, 'queued' FROM generate_series(1, 6000)""",
    )
    monkeypatch.setattr(database, "_PLANS_LAST_SECONDS", 0.0)
    assert "operation_pkey" in await plan()


async def test_a_kept_plan_shows_each_reader_only_what_the_reader_may_read(
    alone: Database, harness: Harness
) -> None:
    await harness.library.create_collection(harness.ann, "rivers", CollectionFields("Rivers"), Chunking())
    operation = await harness.upload(harness.ann, "The Elbe is long.", collection="rivers")
    operations, collections = OperationStore(alone, harness.queue), CollectionStore(alone)
    for _ in range(4):  # psycopg prepares what runs often
        for who in (harness.ann, Server("acme")):
            assert (await operations.get(who, operation.id)).id == operation.id
            assert await collections.owner(who, "rivers") == harness.ann.user_id
        for stranger in (harness.bob, harness.eve, Server("rival")):
            await raises(NotFound, operations.get(stranger, operation.id))
            await raises(NotFound, collections.owner(stranger, "rivers"))
    async with alone.tenant("acme") as connection:
        used = await connection.execute(
            "SELECT generic_plans >= 10 AND custom_plans = 0 FROM pg_prepared_statements WHERE statement ~ 'FROM responsa'"
        )
        assert await used.fetchall() == [(True,), (True,)]


async def test_a_worker_finds_its_operation_by_its_key_though_thousands_wait(
    alone: Database, people: People, database_urls: DatabaseUrls
) -> None:
    insert = f"""INSERT INTO responsa.operation (id, tenant_id, user_id, document_id, version, stage, held_by)
        SELECT uuidv7(), 'acme', '{people.ann.user_id}', uuidv7(), 1, %s, %s FROM generate_series(1, 6000)"""
    with psycopg.connect(database_urls.superuser, autocommit=True) as connection:
        connection.execute(insert.encode(), ["done", None])
        # Later operations may be too few for new statistics.
        connection.execute("VACUUM ANALYZE responsa.operation")
        run = uuid7()
        connection.execute(insert.encode(), ["queued", run])
    queries = Queries("operations.sql")
    held, _, _ = Queries("documents.sql")["made_by_run"].partition("), forgotten")
    statements = [queries[name] for name in ("begin", "hold", "end")]
    statements += [
        Queries("source_runs.sql", package="responsa_etl.stores")["still_held"],
        held.removeprefix("WITH held AS ("),
    ]
    values = {
        "tenant": "acme",
        "id": run,
        "operation": uuid7(),
        "epoch": 1,
        "together": True,
        "error_reason": None,
        "error_message": None,
        "error_metadata": None,
    }
    async with alone.by_key("acme") as connection:
        for statement in statements:
            explained = await connection.execute(f"EXPLAIN (COSTS OFF) {statement}".encode(), values)
            plan = "\n".join(line for (line,) in await explained.fetchall())
            assert "Index Scan using operation_pkey on operation" in plan, plan


async def test_a_list_by_a_rare_state_reads_no_other_turns(
    alone: Database, people: People, database_urls: DatabaseUrls
) -> None:
    fill(database_urls)
    statement = turn_queries()["list_turns"].format(
        where="state = %(state)s", order="create_time DESC, id DESC"
    )
    values = {"tenant": "acme", "user": people.ann.user_id, "limit": 50}
    for state in ("refused", "failed", "cancelled"):
        async with alone.tenant("acme") as connection:
            explain = f"EXPLAIN (COSTS OFF) {statement}".encode()
            lines = await connection.execute(explain, {**values, "state": state})
            plan = "\n".join(line for (line,) in await lines.fetchall())
        assert _INDEX.findall(plan)[0] == ("turn_ended_unanswered", "turn"), plan


async def test_the_newest_turns_of_a_tenant_are_found_by_their_time(
    alone: Database, database_urls: DatabaseUrls
) -> None:
    fill(database_urls)
    listed = Queries("insight.sql")["turns"].format(where="TRUE", order="create_time DESC, id DESC")
    values = {
        "tenant": "acme",
        "start": datetime.now(UTC) - timedelta(days=1),
        "end": datetime.now(UTC) + timedelta(days=1),
        "limit": 50,
        "id": uuid7(),
    }
    async with alone.tenant("acme") as connection:
        lines = await connection.execute(f"EXPLAIN (COSTS OFF) {listed}".encode(), values)
        plan = "\n".join(line for (line,) in await lines.fetchall())
    assert "Index Scan Backward using turn_of_tenant on turn" in plan, plan


async def test_workers_go_by_the_turns_at_work_and_readers_by_those_that_they_follow(
    alone: Database, database_urls: DatabaseUrls
) -> None:
    """These statements are planned each time for the current data."""
    store = Store(database_urls, alone)
    fill(database_urls)
    new = await store.make()
    async with alone.log() as connection:
        found = await (await connection.execute("SHOW plan_cache_mode")).fetchone()
    assert found == ("force_custom_plan",)
    parameters: dict[str, object] = {
        "versions": [AGENT, "a"],
        "most": 64,
        "owner": uuid7(),
        "lease": "6 s",
        "turns": [new.id, uuid7()],
        "after": [1, 2],
        "epochs": [1, 1],
        "here": [uuid7()],
        "alone_after": 2,
        "suspects": True,
    }
    queries = turn_queries()
    plans: dict[str, str] = {}
    async with alone.log() as connection:
        for name in ("claim_turns", "promote_orphans", "release_turns", "claim_again", "poll"):
            lines = await connection.execute(f"EXPLAIN (COSTS OFF) {queries[name]}".encode(), parameters)
            plans[name] = "\n".join(line for (line,) in await lines.fetchall())
    for name, plan in plans.items():
        assert not re.search(r"Seq Scan on turn\b", plan), plan
        assert not _WHOLE.search(plan) or name in ("claim_turns", "promote_orphans"), plan
    free = plans["claim_turns"].partition("CTE claimed")[0]
    assert re.search(r"turn_active|turn_pending", free), free
    assert "turn_pkey" not in free, free
    assert "turn_queued" in plans["promote_orphans"], plans["promote_orphans"]
