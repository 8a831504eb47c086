"""The stores' queries without their tenant and user clauses: row-level security alone keeps a stranger out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import LiteralString, cast

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import NotFound
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.ports.turns import TurnLost
from responsa_server.domain.turns import TurnState
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.queries import Queries
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.contract.conftest import People, new_turn
from tests.contract.test_turns_log import FAILED, answered, citation, claim_of, row
from tests.plain_codec import PlainCodec

_CLAUSE = re.compile(r"\b(?:\w\.)?(?:tenant_id = %\(tenant\)s|user_id = %\(user\)s)")
_READS = re.compile(r"\b(?:SELECT|UPDATE|DELETE)\b")
BY_TIME = Order("create_time")


class Unguarded:
    """A file's queries with every comparison with the caller's tenant or user made true."""

    def __init__(self, filename: str) -> None:
        self.queries = Queries(filename)

    def __getitem__(self, name: str, /) -> LiteralString:
        return cast("LiteralString", _CLAUSE.sub("true", self.queries[name]))


@pytest.mark.parametrize("filename", ["turns.sql", "conversations.sql"])
def test_every_query_of_the_app_role_has_the_clause_that_is_taken_away_here(filename: str) -> None:
    queries = Queries(filename)
    # These insert alone; what runs as the log role works over all tenants.
    log = {"append_rows", "renew_lease", "log_position", "lost_turns", "end_lost_turn", "make_partitions"}
    for name in queries.names() - log - {"create_conversation"}:
        assert _READS.search(queries[name])
        assert _CLAUSE.search(queries[name]), name


async def test_without_the_clauses_nothing_of_another_tenant_is_seen_or_changed(
    database: Database, people: People
) -> None:
    turns = PostgresTurnStore(database, PlainCodec(), queries=Unguarded("turns.sql"))
    conversations = PostgresConversationStore(database, queries=Unguarded("conversations.sql"))
    ended, running = new_turn(request_id=uuid7()), new_turn()
    for new in (ended, running):
        await turns.accept(people.ann, new)
    await turns.finish(claim_of(ended), [row(2)], answered(citation()))
    message = await conversations.answer_of(people.ann, ended.id)
    assert message is not None
    # Somebody of the same tenant does see it now: the clauses are gone.
    assert (await turns.get(people.bob, ended.id)).id == ended.id

    eve, place = people.eve, ended.conversation_id
    assert (await turns.list(eve, ListQuery(10, BY_TIME))).items == []
    assert (await conversations.list(eve, ListQuery(10, BY_TIME))).items == []
    assert await conversations.history(eve, place, 10) == []
    assert ended.request_id is not None
    assert await turns.find(eve, ended.question, ended.request_id) is None
    hidden: list[Callable[[], Awaitable[object]]] = [
        lambda: turns.get(eve, ended.id),
        lambda: turns.backlog(eve, ended.id, 0, 10),
        lambda: turns.accept(eve, new_turn(conversation=place)),
        lambda: conversations.get(eve, place),
        lambda: conversations.update(eve, place, title="Eve's", labels=None, etag=""),
        lambda: conversations.delete(eve, place, ""),
        lambda: conversations.messages(eve, place, ListQuery(10, BY_TIME)),
        lambda: conversations.message(eve, message.id),
        lambda: conversations.answer_of(eve, ended.id),
    ]
    for call in hidden:
        with pytest.raises(NotFound):
            await call()
    with pytest.raises(TurnLost):
        await turns.finish(claim_of(running, tenant="rival"), [row(2)], FAILED)
    assert (await turns.get(people.ann, running.id)).state is TurnState.RUNNING
    assert (await conversations.get(people.ann, place)).title == "How long is the Nile?"
