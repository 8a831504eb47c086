"""What one user may keep: the numbers of conversations and collections, and the bytes of everything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from secrets import token_hex
from typing import Final

from uuid_utils.compat import uuid7

from responsa_local.embedded.redis import EmbeddedRedis
from responsa_server.domain.errors import AlreadyExists, Exhausted, Reason
from responsa_server.domain.knowledge import Chunking, CollectionFields
from responsa_server.domain.limits import Limits
from responsa_server.domain.turns import NewTurn, Question
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.limits import PostgresLimits
from tests.conftest import DatabaseUrls
from tests.contract.library_harness import Harness
from tests.contract.people import People
from tests.contract.test_limits import limiter, limits
from tests.contract.turn_harness import Script, Services, citation, follow_all
from tests.contract.turn_steps import FAILED, Store, answered, cancelled, claim_of, new_turn, row
from tests.raising import raises

# By definition: the question and the terminal event of each ended turn, and the titles and labels as they are stored.
_BYTES_OF_CONVERSATIONS: Final = """
    SELECT coalesce(sum(octet_length(c.title) + pg_column_size(c.labels) + coalesce(t.bytes, 0)), 0)::bigint
    FROM responsa.conversation AS c LEFT JOIN (
        SELECT conversation_id, sum(octet_length(request) + octet_length(terminal)) AS bytes FROM responsa.turn
        GROUP BY conversation_id) AS t
    ON t.conversation_id = c.id WHERE c.user_id = %s"""
HTML: Final = "<html><body><h1>Ferries</h1><p>The ferry leaves at nine.</p></body></html>"


async def refused(work: Awaitable[object], limit: str) -> Exhausted:
    error = await raises(Exhausted, work)
    assert (error.reason, error.metadata["limit"], error.metadata["scope"], error.retry_after) == (
        Reason.LIMIT_REACHED,
        limit,
        "user",
        None,
    )
    return error


async def test_conversations_at_once_never_pass_the_limit_and_a_deleted_one_makes_room(
    database: Database, redis: EmbeddedRedis, people: People, database_urls: DatabaseUrls
) -> None:
    harness, store = Services(database), PostgresConversationStore(database)
    question, request_id = Question("How long is the Nile?"), uuid7()
    async with (
        limiter(database, redis.url, limits(), fixed=Limits(conversations=5)) as gate,
        harness.turns(Script(), gate=gate) as first,
        harness.turns(Script(), gate=gate) as other,
    ):
        begun = await first.accept(people.ann, question, request_id)
        made = [
            store.create(people.ann, uuid7(), "", {}, uuid7() if place % 2 else None, limit=5)
            for place in range(12)
        ]
        questions = [(first, other)[place % 2].accept(people.ann, question, None) for place in range(12)]
        outcomes = await asyncio.gather(*made, *questions, return_exceptions=True)
        errors = [found for found in outcomes if isinstance(found, BaseException)]
        assert len(errors) == 20
        for error in errors:
            assert isinstance(error, Exhausted)
            assert error.metadata == {"limit": "conversations", "scope": "user", "value": "5"}
        assert database_urls.value("SELECT count(*) FROM responsa.conversation") == 5
        # A refused question leaves no turn either.
        asks = sum(not isinstance(found, BaseException) for found in outcomes[12:])
        assert database_urls.value("SELECT count(*) FROM responsa.turn") == 1 + asks

        # A repetition begins no conversation, and neither does a question in an existing one.
        assert (await other.accept(people.ann, question, request_id)).turn_id == begun.turn_id
        await follow_all(first, people.ann, begun.turn_id)
        more = await first.accept(people.ann, Question("How deep?", begun.conversation_id), None)
        await follow_all(first, people.ann, more.turn_id)
        await first.accept(people.bob, question, None)

        await store.delete(people.ann, begun.conversation_id, "")
        await other.accept(people.ann, question, None)
        error = await refused(other.accept(people.ann, question, None), "conversations")
        assert "Delete conversations, or ask an administrator" in error.message


async def test_a_repeated_creation_finds_its_conversation_at_the_limit(store: Store) -> None:
    request_id = uuid7()
    made = await store.conversations.create(store.ann, uuid7(), "", {}, request_id, limit=1)
    assert await store.conversations.create(store.ann, uuid7(), "", {}, request_id, limit=1) == made
    await refused(store.conversations.create(store.ann, uuid7(), "", {}, uuid7(), limit=1), "conversations")


async def test_collections_at_once_never_pass_the_limit_and_a_deleted_one_makes_room(
    harness: Harness,
) -> None:
    library = harness.library

    async def create(name: str, *, most: int = 3) -> object:
        return await library.create_collection(
            harness.ann, name, CollectionFields(""), Chunking(), uuid7(), limit=most
        )

    outcomes = await asyncio.gather(*(create(f"c{place}") for place in range(12)), return_exceptions=True)
    assert sum(isinstance(found, Exhausted) for found in outcomes) == 9
    names = [name for (name,) in harness.ask("SELECT slug FROM responsa.collection")]
    assert len(names) == 3
    # Who is at the limit still learns that a collection exists.
    assert (await raises(AlreadyExists, create(names[0]))).reason is Reason.RESOURCE_ALREADY_EXISTS
    await library.delete_collection(harness.ann, names[0], "", force=False)
    await create("room")
    error = await refused(create("none"), "collections")
    assert "Delete collections, or ask an administrator" in error.message
    await library.create_collection(harness.bob, "others", CollectionFields(""), Chunking(), limit=1)


async def test_every_end_of_a_turn_is_counted_exactly(store: Store) -> None:
    limits = PostgresLimits(store.database)
    assert await limits.bytes_of_user(store.ann) == 0

    async def begun(conversation: NewTurn | None = None) -> NewTurn:
        return await store.make(conversation=None if conversation is None else conversation.conversation_id)

    first, second, third, theirs = await begun(), await begun(), await begun(), new_turn("Whose?")
    await store.take(theirs, store.bob)
    await store.finish(claim_of(first), [row(2)], answered(citation("x" * 500)))
    await store.finish(claim_of(second), [row(2)], FAILED)
    await store.finish(claim_of(theirs), [row(2)], answered())
    await store.cancel(store.ann, third.id, True, cancelled)
    more = await begun(first)
    await store.finish(claim_of(more), [row(2)], answered())
    labels = {f"label{place}": "v" * 200 for place in range(32)}
    await store.conversations.create(store.ann, uuid7(), "Nile", labels, None)
    found = await limits.bytes_of_user(store.ann)
    assert found == store.urls.value(_BYTES_OF_CONVERSATIONS, store.ann.user_id)
    # A failed and a cancelled turn leave the conversation as it was, apart from its size.
    for unchanged in (second, third):
        assert (await store.conversations.get(store.ann, unchanged.conversation_id)).etag == "1"
    for conversation in (first, second, third):
        await store.conversations.delete(store.ann, conversation.conversation_id, "")
    assert await limits.bytes_of_user(store.ann) == store.urls.value(
        _BYTES_OF_CONVERSATIONS, store.ann.user_id
    )


async def test_the_canonical_text_of_a_document_counts_if_it_is_not_the_original(
    database: Database, harness: Harness
) -> None:
    store = PostgresLimits(database)
    await harness.take_in(harness.ann, "# Ferries\n\nThe ferry leaves at nine.\n", "ferries.md")
    sizes = "SELECT size_bytes, canonical_bytes FROM responsa.document_version ORDER BY create_time"
    [(text, same)] = harness.ask(sizes)
    assert await store.bytes_of_user(harness.ann) == text == same
    await harness.take_in(harness.ann, HTML, "ferries.html", media_type="text/html")
    [_, (original, canonical)] = harness.ask(sizes)
    assert original == len(HTML) > canonical > 0
    assert await store.bytes_of_user(harness.ann) == text + original + canonical
    assert await store.bytes_of_tenant(harness.bob) == text + original + canonical
    assert await store.bytes_of_user(harness.bob) == 0


async def test_who_keeps_too_many_bytes_asks_nothing_until_some_are_deleted(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    harness, store = Services(database), PostgresConversationStore(database)
    question = Question("How long is the Nile?")
    async with (
        limiter(database, redis.url, limits(storage_bytes=1_000)) as gate,
        limiter(database, redis.url, limits(storage_bytes=1_000)) as elsewhere,
        harness.turns(Script(), gate=gate) as turns,
    ):
        begun = await turns.accept(people.ann, question, None)
        await follow_all(turns, people.ann, begun.turn_id)
        large = await store.create(
            people.ann, uuid7(), "", {f"l{place}": token_hex(100) for place in range(32)}, None
        )
        for work in (
            turns.accept(people.ann, question, None),
            turns.accept(people.ann, Question("How deep?", begun.conversation_id), None),
            gate.check_storage(people.ann),
            elsewhere.check_storage(people.ann),
        ):
            error = await refused(work, "storage_bytes")
            assert "Delete documents or conversations, or ask an administrator" in error.message
        assert await harness.value("SELECT count(*) FROM responsa.turn") == 1
        await store.delete(people.ann, large.id, "")
        await turns.accept(people.ann, question, None)
        await elsewhere.check_storage(people.ann)
        await turns.accept(people.bob, question, None)


async def test_what_is_deleted_during_a_large_upload_makes_room_at_once(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    store, most = PostgresConversationStore(database), 200 * 1024 * 1024
    async with limiter(database, redis.url, limits(storage_bytes=most)) as gate:
        conversation = await store.create(people.ann, uuid7(), "Nile", {}, None)
        with gate.storing(people.ann) as upload:
            await upload.add(most - await PostgresLimits(database).bytes_of_user(people.ann))
            await refused(gate.check_storage(people.ann), "storage_bytes")
            await store.delete(people.ann, conversation.id, "")
            await gate.check_storage(people.ann)
