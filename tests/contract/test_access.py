"""The readers of collections and documents, in the library and in the database."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import AlreadyExists, InvalidRequest, NotFound, NotPermitted, Reason
from responsa_server.domain.events import ByteRange
from responsa_server.domain.knowledge import (
    EVERYONE,
    Chunking,
    CollectionFields,
    CollectionReader,
    DocumentChanges,
    Hit,
    SearchQuery,
    SourceRef,
)
from responsa_server.domain.listing import ListQuery
from responsa_server.domain.lists import COLLECTIONS, DOCUMENTS, NEWEST
from responsa_server.domain.passages import CandidateQuery, SearchScope
from responsa_server.domain.people import Principal, Role, Server
from responsa_server.domain.turns import Question
from responsa_server.stores.cached import reader_key
from responsa_server.stores.postgres.groups import PostgresGroups
from tests.contract.index_writer import lexical_of
from tests.contract.library_harness import Harness
from tests.contract.turn_harness import QUICK, SEARCHING, Script, Services, answer, seen
from tests.raising import raises

ELBE = "# Elbe\n\nThe Elbe is 1094 kilometres long.\n"
RHINE = "# Rhine\n\nThe Rhine is 1233 kilometres long.\n"


async def put(
    harness: Harness,
    caller: Principal,
    text: str,
    key: str = "a.md",
    collection: str = "rivers",
    subject: str = "",
) -> UUID:
    """Upload a document and take it in."""
    return (await harness.take_in(caller, text, key, collection=collection, subject=subject)).document_id


async def hits(harness: Harness, caller: Principal, *collections: str) -> list[Hit]:
    return list(
        await harness.library.search(caller, SearchQuery(("How long is the river?", "Elbe"), collections))
    )


async def readable(harness: Harness, caller: Principal, *collections: str) -> set[UUID]:
    found = await hits(harness, caller, *collections)
    return {passage.document_id for hit in found for passage in (hit.passage, *hit.copies)}


async def listed(harness: Harness, caller: Principal) -> list[str]:
    page = await harness.library.collections.list(caller, ListQuery(10, COLLECTIONS.orders[0]))
    return [item.id for item in page.items]


async def share(
    harness: Harness, caller: Principal, *readers: CollectionReader, collection: str = "rivers"
) -> None:
    await harness.library.update_collection(caller, collection, CollectionFields(readers=readers))


def admin_of(harness: Harness, role: Role = Role.ADMIN) -> Principal:
    """Another user of Ann's tenant with this role."""
    other = replace(harness.ann, user_id=uuid7(), role=role)
    harness.ask(
        "INSERT INTO responsa.app_user (id, tenant_id, display_name, role) VALUES (%s, %s, 'x', %s)",
        other.user_id,
        other.tenant_id,
        role.value,
    )
    return other


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_a_search_after_the_end_of_an_access_finds_nothing_in_a_thousand_races(
    harness: Harness,
) -> None:
    await harness.library.create_collection(harness.ann, "rivers", CollectionFields("Rivers"), Chunking())
    document, generator = await put(harness, harness.ann, ELBE), random.Random(7)

    async def searched(later: int) -> set[UUID]:
        for _ in range(later):  # the order of the tasks and of their transactions varies
            await asyncio.sleep(0.001)
        return await readable(harness, harness.bob)

    groups = PostgresGroups(harness.database, uuid7)
    group, bob = (await groups.create(harness.ann, {"display_name": "Sales"})).id, harness.bob.user_id
    for number in range(int(os.environ.get("RESPONSA_SOAK_COUNT") or 1000)):
        # Every other time, it is the membership of a group that ends.
        by_group = bool(number % 2)
        await share(
            harness, harness.ann, CollectionReader(group_id=group) if by_group else CollectionReader(bob)
        )
        if by_group:
            await groups.add(harness.ann, group, [bob])
        assert await searched(0) == {document}
        during = [asyncio.create_task(searched(generator.randrange(10))) for _ in range(3)]
        await asyncio.sleep(0)
        if by_group:
            await groups.remove(harness.ann, group, [bob])
        else:
            await share(harness, harness.ann)
        assert await searched(0) == set()
        assert all(one in (set(), {document}) for one in await asyncio.gather(*during))


async def test_a_new_collection_is_private_and_does_not_exist_for_others(harness: Harness) -> None:
    library = harness.library
    await library.create_collection(harness.ann, "rivers", CollectionFields("Rivers"), Chunking())
    document = await put(harness, harness.ann, ELBE)
    assert (
        await readable(harness, harness.ann) == await readable(harness, harness.ann, "rivers") == {document}
    )
    passage = (await hits(harness, harness.ann))[0].passage
    assert (await library.documents.passage(harness.ann, passage.id)).collection_id == "rivers"
    operation = (await library.list_operations(harness.ann, ListQuery(1, NEWEST))).items[0]
    assert await readable(harness, harness.bob) == set()
    assert await listed(harness, harness.bob) == []
    query = ListQuery(10, DOCUMENTS.orders[0])
    ask = lexical_of(harness.database)

    async def everything(of: UUID, place: str, passage_id: UUID, operation_id: UUID) -> list[str]:
        """The replies to a stranger, without the names of what was asked for."""

        async def first(items: object) -> object:
            async for item in items:
                return item
            return None

        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: library.collections.get(harness.bob, place),
            lambda: library.generations.list(harness.bob, place),
            lambda: library.documents.list(harness.bob, place, query),
            lambda: library.search(harness.bob, SearchQuery(("Elbe",), (place,))),
            lambda: library.delete_collection(harness.bob, place),
            lambda: library.update_collection(harness.bob, place, CollectionFields(display_name="x")),
            lambda: library.reindex_collection(harness.bob, place),
            lambda: put(harness, harness.bob, RHINE, collection=place),
            lambda: library.documents.get(harness.bob, of),
            lambda: library.documents.versions(harness.bob, of, query),
            lambda: library.documents.version(harness.bob, of, 1),
            lambda: first(library.content(harness.bob, of)),
            lambda: first(library.original(harness.bob, of)),
            lambda: library.pages.draw(harness.bob, of, 1, 1, 100),
            lambda: library.update_document(harness.bob, of, DocumentChanges(title="x")),
            lambda: library.delete_document(harness.bob, of),
            lambda: library.reindex(harness.bob, of),
            lambda: library.restore(harness.bob, of, 1),
            lambda: library.documents.passage(harness.bob, passage_id),
            lambda: library.operations.get(harness.bob, operation_id),
            lambda: library.watching.wait(harness.bob, operation_id, 0),
            lambda: first(library.watching.follow(harness.bob, operation_id)),
            lambda: library.cancel_operation(harness.bob, operation_id),
            lambda: library.delete_operation(harness.bob, operation_id),
        ]
        replies: list[str] = []
        for call in calls:
            caught = await raises(NotFound, call())
            replies.append(f"{caught.message} {sorted(caught.metadata)}")
        statistics = await ask.statistics(SearchScope(harness.bob), ["elb", "long"])
        return [*replies, str(statistics), str(await ask.hides(SearchScope(harness.bob)))]

    foreign = await everything(document, "rivers", passage.id, operation.id)
    assert foreign == await everything(uuid7(), "lakes", uuid7(), uuid7())
    assert await library.documents.find(harness.bob, [document]) == {}
    # Bob asks this only about what his own answers cite: an answer from the time when he might read the document.
    for who, permitted in ((harness.ann, True), (harness.bob, False)):
        [source] = await library.documents.sources(who, [SourceRef(document, 1, ByteRange(0, 4))])
        assert (source.permitted, source.text) == (permitted, ELBE.encode()[:4] if permitted else None)
    [gone] = await library.documents.sources(harness.bob, [SourceRef(uuid7(), 1, ByteRange(0, 4))])
    assert (gone.permitted, gone.current_version) == (True, None)
    assert await ask.passages(harness.bob, {None: {passage.id: True}}) == {None: []}
    assert await ask.candidates(harness.bob, [CandidateQuery(None, ["elb"], ids=[passage.id])]) == [{}]


async def test_two_owners_may_call_their_collections_the_same(harness: Harness) -> None:
    library = harness.library
    for who in (harness.ann, harness.bob):
        await library.create_collection(who, "rivers", CollectionFields(""), Chunking())
    await raises(
        AlreadyExists, library.create_collection(harness.bob, "rivers", CollectionFields("Mine"), Chunking())
    )
    elbe, rhine = await put(harness, harness.ann, ELBE), await put(harness, harness.bob, RHINE)
    await share(harness, harness.ann, CollectionReader(harness.bob.user_id))
    [other, own] = sorted(await listed(harness, harness.bob), key=len, reverse=True)
    assert own == "rivers"
    assert other == (await library.collections.get(harness.ann, "rivers")).shared_id
    assert await readable(harness, harness.bob, "rivers") == {rhine}
    assert await readable(harness, harness.bob, other) == {elbe}
    assert await readable(harness, harness.bob) == {elbe, rhine}
    assert {hit.passage.collection_id for hit in await hits(harness, harness.bob)} == {own, other}
    assert (await library.documents.get(harness.bob, elbe)).collection_id == other
    # Without a collection of one's own, the owner's id means it too.
    await library.delete_collection(harness.bob, "rivers", force=True)
    assert await readable(harness, harness.bob, "rivers") == {elbe}
    assert (await library.collections.get(harness.bob, "rivers")).id == other
    # A call that had found Bob's own collection under this name, just before its deletion, changes nothing of Ann's.
    acts: list[Callable[[], Awaitable[object]]] = [
        lambda: library.collections.update(harness.bob, "rivers", CollectionFields("Mine"), etag=""),
        lambda: library.collections.delete(harness.bob, "rivers", "", force=True),
        lambda: library.generations.build(harness.bob, "rivers", "m", 384, activate=True, request_id=None),
        lambda: library.generations.activate(harness.bob, "rivers", 1, request_id=None),
        lambda: library.generations.delete(harness.bob, "rivers", 1),
    ]
    for act in acts:
        await raises(NotPermitted, act())
    # Neither does the call of an administrator, who may delete Ann's collection, but not by mistake.
    admin = replace(harness.bob, role=Role.ADMIN)
    await raises(
        NotFound, library.collections.delete(admin, "rivers", "", force=True, owner_id=harness.bob.user_id)
    )
    assert await readable(harness, harness.bob, "rivers") == {elbe}


async def test_readers_read_at_once_and_change_nothing(harness: Harness) -> None:
    library = harness.library
    await library.create_collection(harness.ann, "rivers", CollectionFields("Rivers"), Chunking())
    document = await put(harness, harness.ann, ELBE)
    service = admin_of(harness, Role.SERVICE)
    for readers, bob, serving in (
        ((CollectionReader(harness.bob.user_id),), True, False),
        ((CollectionReader(role=Role.SERVICE),), False, True),
        ((CollectionReader(role=Role.USER),), True, False),
        ((EVERYONE,), True, True),
        ((), False, False),
    ):
        await share(harness, harness.ann, *readers)
        assert set((await library.collections.get(harness.ann, "rivers")).readers) == set(readers)
        for who, reads in ((harness.bob, bob), (service, serving)):
            assert await readable(harness, who) == ({document} if reads else set())
            if not reads:
                continue
            shown = await library.collections.get(who, "rivers")
            assert (shown.document_count, shown.readers) == (1, ())
            acts: list[Callable[[], Awaitable[object]]] = [
                lambda who=who: put(harness, who, RHINE),
                lambda who=who: share(harness, who, EVERYONE),
                lambda who=who: library.delete_collection(who, "rivers", force=True),
                lambda who=who: library.delete_document(who, document),
                lambda who=who: library.reindex_collection(who, "rivers"),
            ]
            for act in acts:
                assert (await raises(NotPermitted, act())).reason is Reason.ROLE_REQUIRED
    assert await readable(harness, harness.eve) == set()
    events = harness.ask("SELECT count(*) FROM responsa.audit_event WHERE action = 'collection.share'")
    assert events[0][0] == 5


async def test_readers_must_be_users_of_the_tenant(harness: Harness) -> None:
    await harness.library.create_collection(harness.ann, "rivers", CollectionFields("Rivers"), Chunking())
    for unknown in (harness.eve.user_id, uuid7()):
        caught = await raises(
            InvalidRequest, share(harness, harness.ann, EVERYONE, CollectionReader(unknown))
        )
        assert caught.violations[0].field == "collection.readers[1].user"
    assert (await harness.library.collections.get(harness.ann, "rivers")).readers == ()
    bob = harness.bob.user_id
    harness.ask("UPDATE responsa.app_user SET email = 'bob@example.org' WHERE id = %s RETURNING 1", bob)
    harness.ask(
        "UPDATE responsa.app_user SET email = 'eve@example.org' WHERE id = %s RETURNING 1",
        harness.eve.user_id,
    )
    by_address = CollectionReader(email="bob@example.org")
    await share(harness, harness.ann, by_address, CollectionReader(bob))
    shown = await harness.library.collections.get(harness.ann, "rivers")
    assert shown.readers == (CollectionReader(bob),)
    # The address of a user of another tenant is refused as an unknown one is.
    messages: set[str] = set()
    for unknown in ("eve@example.org", "nobody@example.org"):
        caught = await raises(
            InvalidRequest, share(harness, harness.ann, by_address, CollectionReader(email=unknown))
        )
        assert caught.violations[0].field == "collection.readers[1].email"
        assert "nobody in this tenant has this address" in caught.message
        messages.add(caught.message)
    for unknown in ("eve@example.org", "nobody@example.org"):
        caught = await raises(
            InvalidRequest,
            harness.library.update_collection(
                harness.ann, "rivers", CollectionFields(readers=(), without=("bob@example.org", unknown))
            ),
        )
        assert caught.violations[0].field == "removed_emails[1]"
        messages.add(caught.message)
    assert len(messages) == 2
    changed = await harness.library.update_collection(
        harness.ann, "rivers", CollectionFields(readers=(by_address, EVERYONE), without=("bob@example.org",))
    )
    assert changed.readers == (EVERYONE,)


async def test_the_owner_of_a_collection_is_not_one_of_its_readers(harness: Harness) -> None:
    ann, bob = CollectionReader(harness.ann.user_id), CollectionReader(harness.bob.user_id)
    await harness.library.create_collection(
        harness.ann, "rivers", CollectionFields("Rivers", readers=[ann, bob]), Chunking()
    )
    assert (await harness.library.collections.get(harness.ann, "rivers")).readers == (bob,)
    await share(harness, harness.ann, ann)
    assert (await harness.library.collections.get(harness.ann, "rivers")).readers == ()


async def test_the_names_of_owners_and_readers(harness: Harness) -> None:
    for caller, name in ((harness.ann, "Ann"), (harness.bob, "Bob")):
        harness.ask(
            "UPDATE responsa.app_user SET display_name = %s WHERE id = %s RETURNING 1", name, caller.user_id
        )
    await harness.library.create_collection(harness.ann, "rivers", CollectionFields(""), Chunking())
    await share(harness, harness.ann, EVERYONE, CollectionReader(harness.bob.user_id))
    for caller, readers in ((harness.ann, {"", "Bob"}), (harness.bob, set[str]())):
        listed = await harness.library.collections.list(caller, ListQuery(10, COLLECTIONS.orders[0]))
        mine = "rivers" if caller is harness.ann else listed.items[0].id
        for shown in (*listed.items, await harness.library.collections.get(caller, mine)):
            assert (shown.owner_display_name, shown.chosen_id) == ("Ann", "rivers")
            assert {reader.display_name for reader in shown.readers} == readers
    # Readers find it by an id with a random end.
    assert mine.startswith("rivers-")


async def test_administrators_manage_what_they_do_not_read(harness: Harness) -> None:
    library = harness.library
    await library.create_collection(harness.ann, "rivers", CollectionFields("Rivers"), Chunking())
    document = await put(harness, harness.ann, ELBE)
    admin = admin_of(harness)
    [place] = await listed(harness, admin)
    assert (await library.collections.get(admin, place)).owner_id == harness.ann.user_id
    assert await readable(harness, admin) == set()
    for call in (
        lambda: library.documents.get(admin, document),
        lambda: library.documents.passage(admin, document),
        lambda: library.search(admin, SearchQuery(("Elbe",), (place,))),
    ):
        await raises(NotFound, call())
    await share(harness, admin, CollectionReader(admin.user_id), collection=place)
    assert await readable(harness, admin) == {document}
    await share(harness, admin, collection=place)
    await library.delete_collection(admin, place, force=True)
    assert await listed(harness, harness.ann) == []
    await raises(NotFound, library.documents.get(harness.ann, document))


async def test_a_subject_s_documents_move_no_score_of_others(harness: Harness) -> None:
    library = harness.library
    await library.create_collection(harness.ann, "rivers", CollectionFields("Rivers"), Chunking())
    await share(harness, harness.ann, EVERYONE)
    admin = admin_of(harness)
    plain = await put(harness, harness.ann, ELBE)
    await raises(
        NotPermitted, put(harness, harness.ann, RHINE, "b.md", subject=f"users/{harness.ann.user_id}")
    )
    before = await hits(harness, harness.ann)
    rows = harness.rows(("subject_stat", "subject_term_stat"))
    secret = await put(harness, admin, RHINE, "b.md", subject=f"users/{harness.bob.user_id}")
    service = admin_of(harness, Role.SERVICE)
    assert await hits(harness, harness.ann) == before
    assert (await library.collections.get(harness.ann, "rivers")).document_count == 1
    for who in (harness.bob, admin, service):
        assert await readable(harness, who) == {plain, secret}
    await raises(NotFound, library.documents.get(harness.ann, secret))
    assert await lexical_of(harness.database).hides(SearchScope(harness.ann))
    assert not await lexical_of(harness.database).hides(SearchScope(harness.bob))
    # A change applies at once, and leaves no count.
    await library.update_document(admin, secret, DocumentChanges(subject="patient 7"))
    assert await readable(harness, harness.bob) == {plain}
    harness.ask("UPDATE responsa.app_user SET subject = 'patient 7' WHERE id = %s", harness.ann.user_id)
    assert await readable(harness, harness.ann) == {plain, secret}
    await library.update_document(admin, secret, DocumentChanges(subject=""))
    assert await readable(harness, harness.bob) == {plain, secret}
    # It applies to a search that has begun already.
    with psycopg.connect(harness.urls.app) as searching:
        searching.execute(
            (
                "SELECT set_config('responsa.tenant_id', 'acme', true), set_config('responsa.user_id', "
                "%s, true), set_config('responsa.role', 'user', true)"
            ),
            (str(harness.bob.user_id),),
        )
        searching.execute("SELECT responsa.know_reader()")
        query = (
            "SELECT count(DISTINCT p.id), count(v.passage_id) FROM responsa.passage AS p LEFT JOIN "
            "responsa.passage_vector AS v ON v.passage_id = p.id"
        )
        both = searching.execute(query).fetchone()
        await library.update_document(admin, secret, DocumentChanges(subject="patient 7"))
        passages, vectors = searching.execute(query).fetchone() or (0, 0)
        assert both is not None
        assert (0 < passages < both[0], 0 < vectors < both[1]) == (True, True)
    await library.update_document(admin, secret, DocumentChanges(subject=""))
    assert harness.rows(("subject_stat", "subject_term_stat")) == rows
    counts = harness.ask("SELECT passages FROM responsa.collection_stat WHERE passages > 0")
    assert counts == [(2,)]


async def test_a_widget_reads_what_is_shared_with_its_user_by_name_and_nothing_about_persons(
    harness: Harness,
) -> None:
    library = harness.library
    admin = admin_of(harness)
    documents: dict[str, UUID] = {}
    for role in Role:
        user = admin_of(harness, role)
        widget = replace(user, role=Role.USER, widget=True)
        shares = {
            "named": CollectionReader(user_id=user.user_id),
            "everyone": EVERYONE,
            "role": CollectionReader(role=role),
        }
        for name, reader in shares.items():
            await library.create_collection(admin, f"{name}-{role}", CollectionFields(name), Chunking())
            documents[name] = await put(harness, admin, ELBE, collection=f"{name}-{role}")
            await share(harness, admin, reader, collection=f"{name}-{role}")
        await library.create_collection(user, "own", CollectionFields("Own"), Chunking())
        documents["own"] = await put(harness, user, ELBE, collection="own")
        assert await readable(harness, user) >= set(documents.values())
        assert await readable(harness, widget) == {documents["named"]}
        assert [one.partition("-")[0] for one in await listed(harness, widget)] == ["named"]
        before = await hits(harness, widget)
        # Neither the persons of documents nor the user's own record change what it finds, and how it weighs words.
        secrets = [
            await put(harness, admin, ELBE, f"{subject}.md", f"named-{role}", subject)
            for subject in (f"users/{user.user_id}", f"users/{harness.bob.user_id}", "patient 7")
        ]
        assert await hits(harness, widget) == before
        assert await lexical_of(harness.database).hides(SearchScope(widget))
        assert set(await library.documents.find(widget, [*secrets, *documents.values()])) == {
            documents["named"]
        }
        # What is kept for the user is not for the widget.
        assert reader_key(widget) != reader_key(user)
        assert SearchScope(widget) != SearchScope(replace(user, role=Role.USER))
        await share(harness, admin, collection=f"named-{role}")
        assert await readable(harness, widget) == set()


async def test_who_takes_a_widgets_turn_over_reads_as_the_widget(harness: Harness) -> None:
    turns = Services(harness.database)
    widget = replace(harness.ann, widget=True)
    await harness.library.create_collection(harness.bob, "rivers", CollectionFields("Rivers"), Chunking())
    await share(harness, harness.bob, EVERYONE)
    await put(harness, harness.bob, ELBE)
    first, second = Script([SEARCHING, asyncio.Event()]), Script([answer("It is.")])
    for caller in (harness.ann, widget):
        async with turns.turns(first, QUICK) as old:
            accepted = await old.accept(caller, Question("How long is the river?"), None)
            await seen(old, caller, accepted.turn_id, 2)
            await turns.expire(accepted.turn_id)
            async with turns.turns(second, QUICK) as new:
                await new.wait(caller, accepted.turn_id)
        (*_, task) = second.tasks
        assert task.caller.acting_role == caller.acting_role
        assert bool(await readable(harness, task.caller)) is not caller.widget


async def test_default_is_each_user_s_own(harness: Harness) -> None:
    elbe = await put(harness, harness.ann, ELBE, collection="")
    await share(harness, harness.ann, EVERYONE, collection="default")
    assert await readable(harness, harness.bob, "default") == {elbe}
    rhine = await put(harness, harness.bob, RHINE, collection="")
    assert await readable(harness, harness.bob, "default") == {rhine}
    assert await readable(harness, harness.bob) == {elbe, rhine}


async def test_without_any_where_clause_a_user_reads_its_own_rows_alone(harness: Harness) -> None:
    await harness.library.create_collection(harness.ann, "rivers", CollectionFields("Rivers"), Chunking())
    await put(harness, harness.ann, ELBE)
    tables = ("collection", "document", "document_version", "passage", "passage_vector", "operation")
    tables += ("collection_stat", "term_stat")
    with psycopg.connect(harness.urls.app) as app:
        for caller, reads in ((harness.ann, True), (harness.bob, False), (harness.eve, False)):
            for table in tables:
                app.execute(
                    (
                        "SELECT set_config('responsa.tenant_id', 'acme', true), set_config('responsa.user_id', %s, true), "
                        "set_config('responsa.role', 'user', true)"
                    ),
                    (str(caller.user_id),),
                )
                query = f"SELECT FROM responsa.{table}".encode()
                assert (app.execute(query).rowcount > 0) is reads, table
                # What was computed for a search is good for its reader alone.
                app.execute("SELECT responsa.know_reader()")
                assert (app.execute(query).rowcount > 0) is reads, table
                app.execute("SELECT set_config('responsa.user_id', %s, true)", (str(uuid7()),))
                assert app.execute(query).rowcount == 0, table
                app.rollback()


def test_who_may_read_is_part_of_a_search_s_identity() -> None:
    one = Principal("acme", uuid7(), Role.USER, "api_key")
    assert SearchScope(one) != SearchScope(replace(one, user_id=uuid7())) != SearchScope(Server("acme"))
