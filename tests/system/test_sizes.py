"""An instance that people have used for a year: a million turns of a thousand users, and ten thousand documents. It
starts, answers, lists, searches, counts, cleans up and is backed up within these limits."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from responsa_local.embedded import EmbeddedPostgres, LocalLayout
from responsa_server.domain.people import Role
from responsa_server.search.settings import RetrievalSettings
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.vectors import fit_index
from tests.callers import Registry
from tests.conftest import urls_of
from tests.faults.forms import LINE
from tests.instance import Instance, eventually, instance_in
from tests.system.test_journey import answer, ingest
from tests.transports import Json, Ways

TURNS = int(os.environ.get("RESPONSA_SOAK_COUNT") or 1_000_000)
CONVERSATIONS, USERS, DOCUMENTS = TURNS // 10, TURNS // 1000, TURNS // 100
PASSAGES, EVENTS, PATTERNS = 3, TURNS // 4, 500
DAYS = 365
QUESTION = "How deep is the well in the yard?"
SHARE_OF_FEEDBACK = 50
"""Of how many answers one has feedback."""

# What is copied, with the key and the time of each copy. The first user is the one who has asked.
SHAPE = f"""
    CREATE FUNCTION pg_temp.key(kind text, n bigint, at timestamptz) RETURNS uuid STABLE LANGUAGE sql AS $$
        SELECT overlay(responsa.first_uuid7(at)::text PLACING '7' || substr(md5(kind || n), 1, 3) || '-8' || substr(md5(kind || n), 4, 3)
            || '-' || right(md5(kind || n), 12) FROM 15)::uuid $$;
    CREATE TEMP TABLE person AS
        SELECT n, CASE n WHEN 1 THEN t.user_id ELSE pg_temp.key('user', n, now() - interval '400 days') END AS id
        FROM template AS t, generate_series(1, {USERS}) AS n;
    CREATE TEMP TABLE talk AS
        SELECT k.n, p.id AS user_id, k.at, pg_temp.key('conversation', k.n, k.at) AS id
        FROM (SELECT n, now() - interval '{DAYS} days' * (1 - n::float8 / {CONVERSATIONS + 1}) AS at
            FROM generate_series(1, {CONVERSATIONS}) AS n) AS k JOIN person AS p ON p.n = 1 + k.n % {USERS};
    CREATE TEMP TABLE paper AS
        SELECT n, at, pg_temp.key('document', n, at) AS id FROM (
            SELECT n, now() - interval '400 days' AS at FROM generate_series(1, {DOCUMENTS}) AS n) AS d;
    CREATE TEMP TABLE part AS
        SELECT d.n, p.n AS ordinal, d.id AS document_id, pg_temp.key('passage', d.n * {PASSAGES} + p.n, at) AS id
        FROM paper AS d, generate_series(0, {PASSAGES - 1}) AS p (n);
    CREATE TEMP TABLE asked AS
        SELECT q.n, k.user_id, k.id AS conversation_id, k.at + q.n % 10 * interval '1 minute' AS at,
            pg_temp.key('turn', q.n, k.at + q.n % 10 * interval '1 minute') AS id,
            pg_temp.key('question', q.n, k.at) AS question_id, pg_temp.key('answer', q.n, k.at) AS answer_id,
            pg_temp.key('pattern', q.n % {PATTERNS}, 'epoch') AS pattern_id, d.document_id, d.id AS passage_id
        FROM generate_series(0, {TURNS - 1}) AS q (n) JOIN talk AS k ON k.n = 1 + q.n / 10
        JOIN part AS d ON d.n = 1 + q.n % {DOCUMENTS} AND d.ordinal = 0;
    ANALYZE person, talk, paper, part, asked;
"""
WORDS = """(SELECT to_tsvector('simple', string_agg('w' || floor(exp(random() * ln(5000)))::int, ' '))
    FROM generate_series(1, 60) WHERE r.n > 0)"""
"""Sixty words, of which some are in most passages and most are in few."""
COPIES: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "app_user": (
        "person",
        "t.id = (SELECT user_id FROM template) AND r.n > 1",
        {
            "id": "r.id",
            "email": "'reader' || r.n || '@example.org'",
            "display_name": "'Reader ' || r.n",
        },
    ),
    "document": (
        "paper",
        "true",
        {
            "id": "r.id",
            "source_key": "'paper' || r.n",
            "title": "'Paper ' || r.n",
            "create_time": "r.at",
            "update_time": "r.at",
        },
    ),
    "document_version": ("paper", "true", {"document_id": "r.id", "create_time": "r.at"}),
    "operation": (
        "paper",
        "t.document_id = (SELECT document_id FROM template)",
        {"id": "pg_temp.key('operation', r.n, r.at)", "document_id": "r.id", "create_time": "r.at"},
    ),
    "passage": (
        "part",
        "true",
        {"id": "r.id", "document_id": "r.document_id", "ordinal": "r.ordinal", "terms": WORDS},
    ),
    "passage_vector": (
        "part",
        "t.ordinal = (SELECT min(ordinal) FROM responsa.passage_vector)",
        {
            "passage_id": "r.id",
            "embedding": "(SELECT array_agg(random() - 0.5) FROM generate_series(1, 384) WHERE r.n > 0)::real[]::halfvec",
        },
    ),
    "conversation": (
        "talk",
        "true",
        {
            "id": "r.id",
            "user_id": "r.user_id",
            "title": "'Question ' || r.n",
            "request_id": "NULL",
            "request": "NULL",
            "create_time": "r.at",
            "update_time": "r.at + interval '10 minutes'",
        },
    ),
    "turn": (
        "asked",
        "true",
        {
            "id": "r.id",
            "user_id": "r.user_id",
            "conversation_id": "r.conversation_id",
            "request_id": "NULL",
            "create_time": "r.at",
            "begin_time": "r.at",
            "first_words_time": "r.at + interval '1 s'",
            "end_time": "r.at + interval '1 s' * (1 + r.n % 9)",
        },
    ),
    "turn_event": (
        "asked",
        "r.at >= date_trunc('week', now(), 'UTC') - interval '7 days'",
        {"turn_id": "r.id"},
    ),
    "message": (
        "asked",
        "true",
        {
            "id": "CASE t.speaker WHEN 'user' THEN r.question_id ELSE r.answer_id END",
            "conversation_id": "r.conversation_id",
            "turn_id": "r.id",
            "create_time": "r.at + CASE t.speaker WHEN 'user' THEN interval '0' ELSE interval '1 s' END",
        },
    ),
    "citation": (
        "asked",
        "true",
        {"message_id": "r.answer_id", "passage_id": "r.passage_id", "document_id": "r.document_id"},
    ),
    "question_pattern": (
        f"generate_series(0, {PATTERNS - 1}) AS r (n)",
        "true",
        {"id": "pg_temp.key('pattern', r.n, 'epoch')", "turns": f"{TURNS // PATTERNS}"},
    ),
}
"""Of each table: of what its copies are, which rows are copied, and the columns that differ."""
SUMS = f"""
    INSERT INTO responsa.turn_pattern (turn_id, tenant_id, pattern_id, state, time, central)
    SELECT id, 'default', pattern_id, CASE n % 20 WHEN 0 THEN 'no_support' ELSE 'answered' END, at, n < {PATTERNS} FROM asked;
    INSERT INTO responsa.pattern_day
    SELECT 'default', monthly, date_trunc(CASE WHEN monthly THEN 'month' ELSE 'day' END, at, 'UTC'), pattern_id,
        count(*) FILTER (WHERE n % 20 > 0), count(*) FILTER (WHERE n % 20 = 0), count(*) FILTER (WHERE n % 20 = 0), 0, 0,
        count(*), count(*), 0, min(at), max(at)
    FROM asked, (VALUES (false), (true)) AS m (monthly) GROUP BY 2, 3, 4 ON CONFLICT DO NOTHING;
    INSERT INTO responsa.usage_hour
    SELECT 'default', u.id, date_trunc('hour', at, 'UTC'), 'default', 'passages', '', '', count(*), 0, 0, 0, 0, 0, 0, 0,
        20 * count(*), 0, 0, 0, 0
    FROM asked, unnest(ARRAY[user_id, '00000000-0000-0000-0000-000000000000']) AS u (id) GROUP BY 2, 3 ON CONFLICT DO NOTHING;
    INSERT INTO responsa.usage_day
    SELECT tenant_id, user_id, date_trunc('day', hour, 'UTC'), agent, model, collection, tool, sum(answered), 0, 0, 0, 0, 0, 0, 0,
        sum(embedding_tokens), 0, 0, 0, 0
    FROM responsa.usage_hour GROUP BY 1, 2, 3, 4, 5, 6, 7 ON CONFLICT DO NOTHING;
    INSERT INTO responsa.quality_hour
    SELECT 'default', date_trunc('hour', at, 'UTC'), 'default', m.measure, m.label, count(*)
    FROM asked, (VALUES ('turns', 'answered'), ('citations', ''), ('cited_answers', ''), ('latency', '40')) AS m (measure, label)
    GROUP BY 2, 4, 5 ON CONFLICT DO NOTHING;
    INSERT INTO responsa.quality_day
    SELECT tenant_id, date_trunc('day', hour, 'UTC'), agent, measure, label, sum(total) FROM responsa.quality_hour
    GROUP BY 1, 2, 3, 4, 5 ON CONFLICT DO NOTHING;
    INSERT INTO responsa.message_feedback (tenant_id, message_id, rating, comment, create_time, update_time, agent, pattern_id)
    SELECT 'default', answer_id, CASE n % 3 WHEN 0 THEN 'down' ELSE 'up' END, 'It is thirteen.', at, at, 'default', pattern_id
    FROM asked WHERE n % {SHARE_OF_FEEDBACK} = 0;
    INSERT INTO responsa.audit_event (id, tenant_id, actor, action, resource_name, create_time)
    SELECT pg_temp.key('event', e.n, e.at), 'default', 'users/' || p.id, 'document.create', 'documents/' || p.id, e.at FROM (
        SELECT n, now() - interval '{DAYS} days' * random() AS at FROM generate_series(1, {EVENTS}) AS n) AS e
    JOIN person AS p ON p.n = 1 + e.n % {USERS};
    INSERT INTO responsa.term_stat (tenant_id, collection_id, term, passages)
    SELECT 'default', t.collection_id, s.word, s.ndoc
    FROM template AS t, ts_stat('SELECT terms FROM responsa.passage') AS s ON CONFLICT DO NOTHING;
    UPDATE responsa.collection_stat SET (passages, terms) = (SELECT count(*), 60 * count(*) FROM responsa.passage);
"""
LAST_YEAR: Json = {"startTime": time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() - 360 * 86400))}
BY_ADMINISTRATOR: Mapping[str, tuple[str, Json]] = {
    "users": ("AdminService/ListUsers", {"orderBy": "display_name"}),
    "a user by e-mail": ("AdminService/ListUsers", {"filter": 'email = "reader7@example.org"'}),
    "documents by title": (
        "KnowledgeService/ListDocuments",
        {"parent": "collections/year", "orderBy": "title"},
    ),
    "documents by size": (
        "KnowledgeService/ListDocuments",
        {"parent": "collections/year", "orderBy": "size_bytes desc"},
    ),
    "a document by title": (
        "KnowledgeService/ListDocuments",
        {"parent": "collections/year", "filter": 'title = "Paper 77"'},
    ),
    "operations": ("Operations/ListOperations", {"name": "operations"}),
    "a search": ("KnowledgeService/Search", {"terms": [QUESTION]}),
    "a search of frequent words": ("KnowledgeService/Search", {"terms": ["w1 w2 w3 w40 w500"]}),
    "turns of the tenant": ("AdminService/ListTenantTurns", {}),
    "slowest turns of a month": ("AdminService/ListTenantTurns", {"orderBy": "latency_ms desc"}),
    "failed turns of a year": (
        "AdminService/ListTenantTurns",
        {"filter": "state = TURN_STATE_FAILED", **LAST_YEAR},
    ),
    "feedback": ("AdminService/ListFeedback", {}),
    "open feedback": (
        "AdminService/ListFeedback",
        {"filter": "state = FEEDBACK_STATE_OPEN AND rating = RATING_DOWN"},
    ),
    "counts of feedback": ("AdminService/GetFeedbackStats", LAST_YEAR),
    "quality by day": ("AdminService/GetQualityStats", {"granularity": "USAGE_GRANULARITY_DAY", **LAST_YEAR}),
    "usage by day": ("AdminService/QueryUsage", {"granularity": "USAGE_GRANULARITY_DAY", **LAST_YEAR}),
    "patterns of questions": ("AdminService/ListQuestionPatterns", LAST_YEAR),
    "what documents lack": (
        "AdminService/ListQuestionPatterns",
        {"outcome": "QUESTION_OUTCOME_NO_SUPPORT", **LAST_YEAR},
    ),
    "audit log": ("AdminService/ListAuditEvents", {}),
    "audit log of an action": ("AdminService/ListAuditEvents", {"filter": 'action = "user.create"'}),
    "status": ("AdminService/GetSystemStatus", {}),
}
BY_USER: Mapping[str, tuple[str, Json]] = {
    "conversations": ("ChatService/ListConversations", {}),
    "a conversation by title": ("ChatService/ListConversations", {"filter": 'title = "Question 1*"'}),
    "conversations about something": ("ChatService/SearchConversations", {"query": "well yard"}),
    "conversations about nothing": ("ChatService/SearchConversations", {"query": "zeppelin"}),
    "turns": ("ChatService/ListTurns", {"withTotalSize": True}),
    "my usage": ("AuthService/GetMyUsage", {}),
    "my usage by day": ("AuthService/QueryMyUsage", {"granularity": "USAGE_GRANULARITY_DAY", **LAST_YEAR}),
    "an answer": ("ChatService/Answer", {"text": QUESTION}),
}
LIMITS: Mapping[str, float] = {
    "vacuum": 300,
    "start": 30,
    "slowest turns of a month": 3,
    "cleaning up a conversation": 0.1,
    "erasing a user": 60,
    "backup": 600,
    "restore --check": 900,
}
"""The most seconds of what takes longer than a second."""


@pytest.fixture
def instance_of_a_year(folder: Path) -> Iterator[Instance]:
    with instance_in(folder, RESPONSA_DOCS="none") as instance:
        yield instance


@contextmanager
def superuser(instance: Instance) -> Iterator[psycopg.Connection]:
    dsn = EmbeddedPostgres(LocalLayout.of(instance.home)).dsn("superuser")
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def count(connection: psycopg.Connection, table: str) -> int:
    statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("responsa", table))
    (number,) = connection.execute(statement).fetchone() or (0,)
    return number


def copy(connection: psycopg.Connection, table: str) -> None:
    rows, wanted, changed = COPIES[table]
    source = rows if " " in rows else f"{rows} AS r"
    columns = connection.execute(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
        [f"responsa.{table}"],
    ).fetchall()
    values = {name: changed.get(name, f"t.{name}") for (name,) in columns}
    connection.execute(
        f"INSERT INTO responsa.{table} ({', '.join(values)}) SELECT {', '.join(values.values())} "  # pyright: ignore
        f"FROM (SELECT * FROM responsa.{table}) AS t CROSS JOIN {source} WHERE {wanted}"
    )


def fill(instance: Instance) -> str:
    """Make the year: a document, a user and an answer are real, the others are copies. Returns the user's key."""
    registry = Registry(instance)
    try:
        user, key = registry.key_of("default", "morag", Role.USER)
    finally:
        registry.close()
    with Ways(instance.target) as ways:
        shared = {"collectionId": "year", "collection": {"readers": [{"everyone": True}]}}
        ways.call("KnowledgeService/CreateCollection", shared, bearer(instance.key))
        text = "The well in the yard is twelve feet deep."
        document = ingest(ways, bearer(instance.key), "well", text, collection="collections/year")
        turn = answer(ways, bearer(key), QUESTION)
    assert len(turn["terminalEvent"]["answer"]["citations"]) == 1
    with superuser(instance) as connection:
        eventually(lambda: count(connection, "question_pattern") == 1, "a pattern of the question")
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            f"CREATE TEMP TABLE template AS SELECT '{user.removeprefix('users/')}'::uuid AS user_id, "  # pyright: ignore
            "id AS document_id, collection_id FROM responsa.document WHERE id = "
            f"'{document['name'].removeprefix('documents/')}'"
        )
        connection.execute(SHAPE)
        # Entering the vectors into the graph takes far longer than building it.
        connection.execute("DROP INDEX responsa.passage_vector_embedding")
        for table in COPIES:
            began = time.monotonic()
            copy(connection, table)
            print(
                f"{count(connection, table):>9,} of {table} in {time.monotonic() - began:.0f} s", flush=True
            )
        connection.execute(SUMS)
    options, owner = RetrievalSettings(), EmbeddedPostgres(LocalLayout.of(instance.home)).dsn("owner")
    asyncio.run(fit_index(owner, m=options.hnsw_m, ef_construction=options.hnsw_ef_construction))
    return key


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def prune(instance: Instance, days: int) -> int:
    urls = urls_of(EmbeddedPostgres(LocalLayout.of(instance.home)), "responsa")
    database = Database(urls.app, urls.log, size=2)
    await database.open()
    try:
        return await PostgresConversationStore(database).prune(days)
    finally:
        await database.close()


def run(instance: Instance, *arguments: str) -> str:
    command = instance.command(*arguments)
    done = subprocess.run(command, env=instance.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
def test_a_year_of_use_slows_nothing_down(
    instance_of_a_year: Instance, record_property: Callable[[str, object], None]
) -> None:
    instance, taken = instance_of_a_year, dict[str, float]()

    @contextmanager
    def timed(name: str, times: int = 1) -> Iterator[None]:
        began = time.perf_counter()
        yield
        taken[name] = min(taken.get(name, 1e9), (time.perf_counter() - began) / times)

    key = fill(instance)
    with superuser(instance) as connection:
        with timed("vacuum"):
            connection.execute("VACUUM ANALYZE")
        (size,) = connection.execute("SELECT pg_database_size('responsa')").fetchone() or (0,)
        connection.execute("CHECKPOINT")
        turns, people = count(connection, "turn"), count(connection, "app_user")
    assert turns > TURNS
    assert instance.interrupt() == 0
    instance.until_nothing_left()
    with timed("start"):
        instance.start().until_ready()
    with Ways(instance.target) as ways:
        for calls, headers in ((BY_ADMINISTRATOR, bearer(instance.key)), (BY_USER, bearer(key))):
            for name, (method, request) in calls.items():
                for _ in range(3):
                    with timed(name):
                        outcome = ways.call(method, request, headers)
                    assert outcome.problem is None, (name, outcome.problem)
        oldest = ways.call(
            "AdminService/ListUsers", {"filter": 'email = "reader9@example.org"'}, bearer(instance.key)
        )
        (reader,) = oldest.message["users"]
        with timed("erasing a user"):
            ways.call("AdminService/DeleteUser", {"name": reader["name"]}, bearer(instance.key))
            with superuser(instance) as connection:
                owned = "SELECT count(*) FROM responsa.turn WHERE user_id = %s"
                user = [reader["name"].removeprefix("users/")]
                eventually(lambda: connection.execute(owned, user).fetchone() == (0,), "an erased user")
    with timed("all"):
        deleted = asyncio.run(prune(instance, DAYS - 2))
    assert deleted > 0
    taken["cleaning up a conversation"] = taken.pop("all") / deleted
    with timed("backup"):
        backup = run(instance, "backup", str(instance.home.with_name("backups"))).strip()
    with timed("restore --check"):
        run(instance, "restore", backup, "--check")
    kept = f"{turns:,} turns of {people:,} users, {size >> 20:,} MiB, backup {Path(backup).stat().st_size >> 20:,} MiB"
    told = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in taken.items())
    print(f"{kept}: {told}")
    record_property(LINE, f"sizes: {kept}: {told}")
    slow = {name: seconds for name, seconds in taken.items() if seconds > LIMITS.get(name, 1)}
    assert not slow
