"""The stores' queries run without their tenant and user clauses. Row-level security alone must separate tenants."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import LiteralString, cast

import psycopg
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import NotFound
from responsa_server.domain.events import Usage
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.turns import OnBusy, TurnLost, TurnState
from responsa_server.stores.postgres import turns as turns_module
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database, Queries
from responsa_server.stores.postgres.turns import turn_queries
from tests.conftest import DatabaseUrls
from tests.contract.turn_harness import citation
from tests.contract.turn_steps import FAILED, Store, answered, cancelled, checkpoint, claim_of, new_turn, row
from tests.raising import raises

_CLAUSE = re.compile(r"\b(?:\w\.)?(?:tenant_id = %\(tenant\)s|user_id = %\(user\)s)(?:::\w+)?")
_READS = re.compile(r"\b(?:SELECT|UPDATE|DELETE)\b")
BY_TIME = Order("create_time")


class Unguarded:
    """Queries in which `true` replaces every comparison with the caller's tenant or user."""

    def __init__(self, queries: Queries) -> None:
        self.queries = queries

    def __getitem__(self, name: str, /) -> LiteralString:
        return cast("LiteralString", _CLAUSE.sub("true", self.queries[name]))


TURN_FILES = (
    "turns.sql",
    "turn_log.sql",
    "quotas.sql",
)


def test_every_query_of_the_app_role_has_the_clause_that_is_taken_away_here() -> None:
    queries = Queries(*TURN_FILES, "conversations.sql")
    assert set(turn_queries().names()) == set(Queries(*TURN_FILES).names())
    # The first four insert, or replace what they inserted, and have no condition; `overloaded` counts over all tenants, and `tenants`
    # lists them for the log role;
    # the functions in the last six look in the transaction's tenant alone. `columns` is a part of others.
    exceptions = {
        "columns",
        "create_conversation",
        "first_usage",
        "write_exception",
        "give_feedback",
        "overloaded",
        "tenants",
        "missing_collection",
        "charge",
        "withheld",
        "withheld_answers",
        "room_to_begin_conversation",
        "room_for_conversation",
    }
    for name in queries.names() - log_queries() - exceptions:
        assert _READS.search(queries[name])
        assert _CLAUSE.search(queries[name]), name


def log_queries() -> set[str]:
    """The queries marked for the log role, which works over all tenants."""
    folder = Path(turns_module.__file__).parent
    texts = [(folder / name).read_text(encoding="utf-8") for name in TURN_FILES]
    return {name for text in texts for name in re.findall(r"^-- name: (\w+) \(log\)$", text, re.MULTILINE)}


async def test_without_the_clauses_nothing_of_another_tenant_is_seen_or_changed(
    database: Database, database_urls: DatabaseUrls
) -> None:
    turns = Store(database_urls, database, queries=Unguarded(turn_queries()))
    conversations = PostgresConversationStore(database, queries=Unguarded(Queries("conversations.sql")))
    ended, running = new_turn(request_id=uuid7()), new_turn(watched=True)
    await turns.take_all(ended, running)
    await turns.finish(claim_of(ended), [row(2)], answered(citation()))
    message = await conversations.answer_of(turns.ann, ended.id)
    assert message is not None
    # This shows that the clauses are gone: another user of the same tenant now sees the turn.
    assert (await turns.get(turns.bob, ended.id)).id == ended.id

    eve, place = turns.eve, ended.conversation_id
    assert (await turns.list(eve, ListQuery(10, BY_TIME))).items == []
    assert (await conversations.list(eve, ListQuery(10, BY_TIME))).items == []
    assert await conversations.history(eve, place, 10) == []
    assert ended.request_id is not None
    assert await turns.find(eve, ended.question, ended.request_id) is None
    hidden: list[Callable[[], Awaitable[object]]] = [
        lambda: turns.get(eve, ended.id),
        lambda: turns.backlog(eve, ended.id, 0, 10),
        lambda: turns.accept(eve, new_turn(conversation=place), cancelled),
        lambda: turns.accept(eve, new_turn(conversation=place, on_busy=OnBusy.INTERRUPT), cancelled),
        lambda: turns.cancel(eve, running.id, False, cancelled),
        lambda: conversations.get(eve, place),
        lambda: conversations.update(eve, place, title="Eve's", labels=None, etag=""),
        lambda: conversations.delete(eve, place, ""),
        lambda: conversations.messages(eve, place, ListQuery(10, BY_TIME)),
        lambda: conversations.message(eve, message.id),
        lambda: conversations.answer_of(eve, ended.id),
    ]
    for call in hidden:
        await raises(NotFound, call())
    await raises(TurnLost, turns.finish(claim_of(running, tenant="rival"), [row(2)], FAILED))
    await turns.record_usage(claim_of(running, tenant="rival"), Usage(1, 1, 1))
    assert await turns.cancel_unfollowed(eve, running.id, cancelled) is None
    assert (await turns.get(turns.ann, running.id)).state is TurnState.RUNNING
    assert (await conversations.get(turns.ann, place)).title == "How long is the Nile?"
    assert (await turns.get(turns.ann, running.id)).usage == Usage()


async def test_what_is_sent_together_leaves_no_tenant_behind(store: Store, database: Database) -> None:
    """After `together`, the tenant's setting is gone from the connection, whether the statements succeeded or failed."""
    await store.make()
    seen = (
        "SELECT current_setting('responsa.tenant_id', true) AS tenant, count(*) AS turns FROM responsa.turn"
    )
    for statement in (seen, "SELECT 1 / 0"):
        try:
            ((first,),) = await database.together("acme", [(statement, {})])
            assert first == {"tenant": "acme", "turns": 1}
        except psycopg.errors.DivisionByZero:
            pass
        async with database.no_tenant() as connection:
            found = await (await connection.execute(seen)).fetchone()
            assert found == ("", 0)
            settings = await connection.execute(
                "SELECT current_setting('plan_cache_mode'), current_setting('enable_seqscan')"
            )
            assert await settings.fetchone() == ("force_custom_plan", "on")


async def test_an_error_takes_back_all_that_was_sent_together(store: Store, database: Database) -> None:
    new = await store.make()
    await raises(
        psycopg.errors.DivisionByZero,
        database.together(
            "acme",
            [
                ("UPDATE responsa.turn SET last_seq = 9", {}),
                ("SELECT 1 / 0", {}),
                ("UPDATE responsa.turn SET last_seq = 8", {}),
            ],
        ),
    )
    assert store.urls.value("SELECT last_seq FROM responsa.turn") == 1
    await store.write(new, row(2), checkpoint=checkpoint(2))
