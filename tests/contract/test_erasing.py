"""Users who are deleted with all that belongs to them, on real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from uuid_utils.compat import uuid7

from responsa.chat.v1 import turn_pb2
from responsa_server.calls.frames import AskFrames
from responsa_server.domain import names
from responsa_server.domain.conversations import Summary
from responsa_server.domain.errors import (
    InvalidRequest,
    NotFound,
    Precondition,
    Reason,
    ResponsaError,
    Unauthenticated,
)
from responsa_server.domain.events import (
    CancelCause,
    Cancelled,
    Citation,
    Cited,
    Delta,
    NumberedEvent,
    RefusalReason,
    VersionRead,
)
from responsa_server.domain.knowledge import (
    EVERYONE,
    Chunking,
    CollectionFields,
    CollectionReader,
    JobKind,
    Operation,
)
from responsa_server.domain.notifications import MailKind
from responsa_server.domain.people import (
    ANONYMOUS,
    HEAD_START_SECONDS,
    AuditEvent,
    ErasedKind,
    NewKey,
    Origin,
    Principal,
    Role,
    Server,
)
from responsa_server.domain.turns import (
    Append,
    Ending,
    LogRow,
    NewTurn,
    OpenTurn,
    TurnLost,
    TurnState,
)
from responsa_server.identity.service import Credential
from responsa_server.identity.settings import MailSettings, Registration
from responsa_server.identity.users import Erasing
from responsa_server.stores.postgres.audit import PostgresAuditTrail
from responsa_server.stores.postgres.conversations import PostgresConversationStore, PostgresSummaries
from responsa_server.stores.postgres.database import Database, unavailable
from responsa_server.stores.postgres.erasing import NOTICE, PostgresErasing
from responsa_server.stores.postgres.groups import PostgresGroups
from responsa_server.stores.postgres.mail import Outbox
from responsa_server.turns.pack import ending, pack
from responsa_server.turns.worker import conclude
from tests.conftest import DatabaseUrls
from tests.contract.library_harness import Harness, running
from tests.contract.turn_harness import answer as reply
from tests.contract.turn_harness import citation
from tests.contract.turn_steps import Store, claim_of, until_somebody_waits
from tests.people import GOOD, People, people_of
from tests.raising import raises

CODEC = AskFrames()
SECRET = "The grey heron of Zanzibar weighs forty-two stone."
ADDRESS = "bob.quillfeather@example.org"


@dataclass(frozen=True)
class Stage:
    """A tenant with an administrator and a user who is going to be erased."""

    harness: Harness
    people: People
    turns: Store
    store: PostgresErasing
    erasing: Erasing
    ann: Principal
    bob: Principal


def cancelled(turn: OpenTurn) -> Ending:
    event = NumberedEvent(turn.last_seq + 1, turn.attempt, None, Cancelled(CancelCause.OWNER))
    return ending(CODEC, turn.turn_id, event)


def store_of(harness: Harness) -> PostgresErasing:
    outbox = Outbox(harness.queue, uuid7)
    return PostgresErasing(
        harness.database, harness.queue, CODEC, harness.collections, harness.documents, outbox
    )


def erasing_of(
    stage_store: PostgresErasing,
    turns: Store,
    people: People,
    call_seconds: float = HEAD_START_SECONDS,
) -> Erasing:
    async def cancel(caller: Principal, turn_id: UUID) -> object:
        return await turns.cancel(caller, turn_id, True, cancelled)

    return Erasing(stage_store, cancel, people.cache, call_seconds=call_seconds)


async def person(people: People, name: str, email: str, role: Role = Role.USER) -> Principal:
    user = await people.identity.create_user("acme", name, email, role)
    return Principal("acme", user.id, role, "api_key")


@pytest.fixture
async def stage(harness: Harness, database: Database) -> Stage:
    people = people_of(database)
    # The first tenant is the installation's, whose first administrator is its owner.
    await people.identity.create_tenant("home", "Home")
    await people.identity.create_tenant("acme", "Acme")
    ann = await person(people, "Ann", "ann@example.org", Role.ADMIN)
    bob = await person(people, "Bob Quillfeather", ADDRESS, Role.ADMIN)
    turns, store = Store(harness.urls, database, CODEC), store_of(harness)
    return Stage(harness, people, turns, store, erasing_of(store, turns, people), ann, bob)


def citation_of(operation: Operation, quote: str = SECRET) -> Citation:
    return replace(citation(quote), document_id=operation.document_id, version=1)


async def begin(
    turns: Store, caller: Principal, text: str = "How heavy?", conversation: UUID | None = None
) -> NewTurn:
    """A running turn with its first event."""
    return await turns.make(text, caller=caller, conversation=conversation)


async def answer(
    turns: Store,
    caller: Principal,
    new: NewTurn,
    *citations: Citation,
    text: str = SECRET,
    read: Sequence[VersionRead] = (),
) -> None:
    """End a running turn with an answer. The log has the text, its citations and the terminal event, seqs 2 to 4."""
    end = replace(reply(text), citations=citations)
    events = [
        NumberedEvent(seq, 1, None, event)
        for seq, event in enumerate([Delta(text, 0), *map(Cited, citations), end], start=2)
    ]
    rows = [*pack(CODEC, new.id, events[:-1]), ending(CODEC, new.id, events[-1]).row]
    conclusion = conclude(end, CODEC.event(events[-1]), new.question, uuid7, titles=False)
    await turns.finish(claim_of(new, tenant=caller.tenant_id), rows, replace(conclusion, read=read))


def everywhere(urls: DatabaseUrls, *wanted: str) -> dict[str, set[str]]:
    """For each of the texts, the tables in which it stands: as text, or as bytes."""
    holders: dict[str, set[str]] = {one: set() for one in wanted}
    query = sql.SQL(
        "SELECT mark FROM unnest(%s::text[], %s::text[]) AS m (mark, bytes) "
        "WHERE EXISTS (SELECT FROM {} AS t WHERE position(mark IN t::text) > 0 OR position(bytes IN t::text) > 0)"
    )
    values = (list(wanted), [one.encode().hex() for one in wanted])
    with psycopg.connect(urls.superuser) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('responsa', 'procrastinate')"
        ).fetchall()
        for schema, table in tables:
            for (one,) in connection.execute(query.format(sql.Identifier(schema, table)), values):
                holders[one].add(table)
    return holders


WITH_UUIDS = {"audit_event", "erasure", "procrastinate_jobs"}
"""The tables that keep the UUID of an erased user."""


def holding(urls: DatabaseUrls, *marks: str) -> set[str]:
    """The tables in which one of the texts stands: as text, or as bytes."""
    return set[str]().union(*everywhere(urls, *marks).values())


async def test_nothing_of_an_erased_user_is_left_but_the_uuid_in_the_audit_log_and_the_receipt(
    stage: Stage, database_urls: DatabaseUrls, database: Database
) -> None:
    people, harness, turns, ann, bob = stage.people, stage.harness, stage.turns, stage.ann, stage.bob
    herons = await harness.take_in(bob, SECRET, "herons.md", title="Herons")
    key, _ = await people.identity.create_api_key(bob, NewKey("Quillfeather key"))
    code, _ = await people.identity.create_session_code(bob)
    await people.identity.exchange_code(code)
    await people.identity.create_session_code(bob)
    await people.accounts.create_reset_code(ann, bob.user_id)
    await people.accounts.create_invitation(bob, Role.USER, "friend.of.bob@example.org", 3600)
    await people.accounts.create_invitation(ann, Role.USER, ADDRESS, 3600)
    service, seen = uuid7(), "203.0.113.77"
    for event in (
        AuditEvent.of(replace(bob, address=seen), "session.create", "sessions/1"),
        AuditEvent.of(replace(bob, address=seen, acting=service), "turn.cancel", "turns/1"),
        AuditEvent("acme", ANONYMOUS, "session.create", names.user(bob.user_id), address=seen),
        AuditEvent.of(replace(ann, address="203.0.113.5"), "user.update", names.user(bob.user_id)),
    ):
        await PostgresAuditTrail(database).record(event)
    mails = people_of(
        database,
        mail=MailSettings(host="192.0.2.1", sender="x@example.org"),
        queue=harness.queue,
        registration=Registration.OPEN,
    )
    for work in (
        mails.accounts.request_reset("acme", ADDRESS, Origin()),
        mails.accounts.register("acme", "", ADDRESS, GOOD, "Quillfeather", Origin()),
    ):
        await work
    own = await begin(turns, bob, "What does Quillfeather ask?")
    await answer(turns, bob, own, citation_of(herons))
    await harness.library.create_collection(
        bob, "clip", CollectionFields(""), Chunking(), conversation_id=own.conversation_id
    )
    await harness.take_in(bob, SECRET, "clip.md", collection="clip")
    quoting = await begin(turns, ann)
    await answer(turns, ann, quoting, citation_of(herons), read=[VersionRead(herons.document_id, 1)])
    await PostgresSummaries(database).keep(
        ann, quoting.conversation_id, Summary("Ann learned: " + SECRET, uuid7())
    )
    harmless = await begin(turns, ann, "Is it raining?")
    await answer(turns, ann, harmless, text="No.")
    running = await begin(turns, bob, "A question of Quillfeather that is being answered")
    subjects = [f"users/{bob.user_id}", "Quillfeather 7", "someone else"]
    with psycopg.connect(database_urls.superuser) as connection:
        set_subject = "UPDATE responsa.app_user SET subject = %s WHERE id = %s"
        connection.execute(set_subject, ("Quillfeather 7", bob.user_id))
        for place, subject in enumerate(subjects):
            source = f"people-{place}"
            connection.execute(
                "INSERT INTO responsa.source (id, tenant_id, mapping, connection, collection) VALUES (%s, 'acme', 'x', 'staff', 'people')",
                (source,),
            )
            connection.execute(
                (
                    "INSERT INTO responsa.source_failure (id, tenant_id, source_id, kind, problem, subject) "
                    "VALUES (%s, 'acme', %s, 'note', 'x', %s)"
                ),
                (uuid7(), source, subject),
            )
            for stage_of_run in ("queued", "parsing", "done"):
                connection.execute(
                    (
                        "INSERT INTO responsa.operation (id, tenant_id, user_id, document_id, version, stage, "
                        "kind, source_id, subject) VALUES (%(id)s, 'acme', %(user)s, %(id)s, 0, %(stage)s, "
                        "'sync', %(source)s, %(subject)s)"
                    ),
                    {
                        "id": uuid7(),
                        "user": ann.user_id,
                        "stage": stage_of_run,
                        "source": source,
                        "subject": subject,
                    },
                )

    with psycopg.connect(database_urls.superuser) as connection:
        # A run for the user ends at this moment.
        ending = "UPDATE responsa.operation SET stage = 'done' WHERE stage = 'parsing' AND subject = %s"
        assert connection.execute(ending, (names.user(bob.user_id),)).rowcount == 1
        erased = asyncio.create_task(stage.erasing.erase(ann, bob.user_id, None, ""))
        await until_somebody_waits(database_urls, erased)
    receipt = await erased

    assert receipt.end_time is not None
    assert receipt.counts == {
        ErasedKind.CONVERSATIONS: 2,
        ErasedKind.TURNS: 2,
        ErasedKind.MESSAGES: 2,
        ErasedKind.DOCUMENTS: 2,
        ErasedKind.COLLECTIONS: 2,
        ErasedKind.WITHDRAWN: 1,
        ErasedKind.API_KEYS: 1,
        ErasedKind.SESSIONS: 1,
        ErasedKind.CODES: 3,
        ErasedKind.INVITATIONS: 2,
        ErasedKind.OPERATIONS: 2,
    }
    holders = everywhere(
        database_urls, str(bob.user_id), ADDRESS, "Quillfeather", "heron", "forty-two", str(herons.document_id), "friend.of.bob",
        str(own.id), str(running.id), str(key.id), seen, "203.0.113.5",
    )  # fmt: skip
    assert holders.pop("203.0.113.5") == {"audit_event"}
    assert holders.pop(str(bob.user_id)) == WITH_UUIDS
    assert holders.pop(str(key.id)) == {"audit_event"}
    assert {one: tables for one, tables in holders.items() if tables} == {}
    assert harness.ask("SELECT subject FROM responsa.source_failure ORDER BY 1") == [
        ("",),
        ("",),
        ("someone else",),
    ]
    # The runs for the user alone are cancelled, so no worker goes on with them.
    runs = "SELECT subject LIKE 'users/%', stage, epoch, error_reason FROM responsa.operation WHERE kind = 'sync' ORDER BY 1, 2, 3"
    assert harness.ask(runs) == [
        (False, "done", 0, None),
        (False, "parsing", 0, None),
        (False, "queued", 0, None),
        *3 * [(True, "done", 0, None)],
        *3 * [(True, "done", 1, "OPERATION_CANCELLED")],
    ]
    await raises(NotFound, turns.get(bob, own.id))
    with psycopg.connect(database_urls.app) as connection:
        connection.execute("SELECT set_config('responsa.tenant_id', 'acme', true)")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="not being erased"):
            connection.execute("SELECT responsa.erase_addresses_of_user(%s)", (ann.user_id,))


async def test_a_deleted_user_whose_credential_a_server_remembers_gets_a_reason(stage: Stage) -> None:
    people, harness, bob = stage.people, stage.harness, stage.bob
    await stage.erasing.erase(stage.ann, bob.user_id, None, "")
    conversations = PostgresConversationStore(harness.database)
    for work in (
        begin(stage.turns, bob),
        conversations.create(bob, uuid7(), "Herons", {}, None),
        harness.library.create_collection(bob, "herons", CollectionFields("Herons"), Chunking()),
        harness.upload(bob, SECRET),
        people.identity.create_api_key(bob, NewKey("key")),
        people.identity.create_session_code(bob),
    ):
        assert (await raises(Unauthenticated, work)).reason is Reason.CREDENTIAL_UNKNOWN


async def test_documents_of_others_are_handed_over_and_never_erased(stage: Stage) -> None:
    ann, bob, harness = stage.ann, stage.bob, stage.harness
    shared = await harness.library.create_collection(bob, "herons", CollectionFields("Herons"), Chunking())
    await harness.library.update_collection(bob, "herons", CollectionFields(readers=[EVERYONE]))
    theirs = await harness.take_in(ann, "Herons nest in trees.", "nests.md", collection=shared.shared_id)
    own = await harness.take_in(bob, SECRET, "herons.md", collection="herons")
    await harness.library.update_collection(bob, "herons", CollectionFields(readers=[]))
    refused = await raises(Precondition, stage.erasing.erase(ann, bob.user_id, None, ""))
    assert (refused.reason, refused.metadata) == (
        Reason.COLLECTION_NOT_EMPTY,
        {"collection": names.collection(shared.shared_id), "documents": "1"},
    )
    assert (await stage.people.identity.user_of("acme", bob.user_id)).disable_time is None

    # The collections change hands at once, so that nothing which happens to the heir later erases them.
    carol = await person(stage.people, "Carol", "carol@example.org")
    patient = erasing_of(stage.store, stage.turns, stage.people, call_seconds=0.0)
    receipt = await patient.erase(ann, bob.user_id, "carol@example.org", "")
    assert (receipt.end_time, receipt.counts[ErasedKind.HANDED_OVER]) == (None, 1)
    changed = await harness.library.update_collection(
        carol, "herons", CollectionFields(display_name="Carol's herons")
    )
    assert changed.shared_id == shared.shared_id
    # Much was left, so the job goes on with it.
    assert await stage.erasing.work("acme", bob.user_id, 0) is None
    ended = await stage.store.find("acme", bob.user_id)
    assert ended is not None
    assert ended.end_time is not None
    assert ErasedKind.DOCUMENTS not in ended.counts
    found = await harness.documents.find(Server("acme"), [theirs.document_id, own.document_id])
    assert {one.owner_id for one in found.values()} == {ann.user_id, carol.user_id}


async def test_people_hand_their_collections_to_administrators_or_readers_alone(
    stage: Stage, database_urls: DatabaseUrls
) -> None:
    harness, ann, bob = stage.harness, stage.ann, stage.bob
    carol, dan = [await person(stage.people, one, f"{one}@example.org") for one in ("carol", "dan")]
    for collection in ("herons", "owls"):
        await harness.library.create_collection(bob, collection, CollectionFields(""), Chunking())
        to_carol = CollectionReader(user_id=carol.user_id)
        await harness.library.update_collection(bob, collection, CollectionFields(readers=[to_carol]))
    to_dan = CollectionReader(user_id=dan.user_id)
    await harness.library.update_collection(bob, "herons", CollectionFields(readers=[to_dan, to_carol]))
    # What is shared with a group is read by its members alone.
    groups = PostgresGroups(harness.database, uuid7)
    group = (await groups.create(ann, {"display_name": "Birds"})).id
    await groups.add(ann, group, [carol.user_id])
    to_group = CollectionReader(group_id=group)
    await harness.library.update_collection(bob, "owls", CollectionFields(readers=[to_carol, to_group]))
    with pytest.raises(InvalidRequest) as refused:  # Dan reads one of the two
        await stage.erasing.erase(bob, bob.user_id, dan.user_id, "")
    assert "can read all collections" in refused.value.violations[0].description
    assert (await stage.people.identity.user_of("acme", bob.user_id)).disable_time is None
    receipt = await stage.erasing.erase(bob, bob.user_id, carol.user_id, "")
    assert receipt.counts[ErasedKind.HANDED_OVER] == 2
    # Carol was a reader and is now the owner.
    assert (await harness.library.collections.get(carol, "herons")).readers == (to_dan,)
    # An administrator need not be a reader; and who deletes somebody else chooses freely.
    await stage.erasing.erase(carol, carol.user_id, ann.user_id, "")
    assert (await groups.get(ann, group)).member_count == 0
    eve = await person(stage.people, "eve", "eve@example.org")
    await harness.library.create_collection(eve, "wrens", CollectionFields(""), Chunking())
    await harness.library.update_collection(
        eve, "wrens", CollectionFields(readers=[CollectionReader(role=Role.ADMIN)])
    )
    await stage.erasing.erase(ann, eve.user_id, dan.user_id, "")
    events = database_urls.ask(
        "SELECT actor, resource_name FROM responsa.audit_event WHERE action = 'collection.hand_over' ORDER BY id"
    )
    mails = database_urls.ask("SELECT kind, email FROM responsa.mail ORDER BY email")
    givers = [(bob, carol), (carol, ann), (ann, dan)]
    assert events == [(names.user(one.user_id), names.user(other.user_id)) for one, other in givers]
    # Carol's notice went with her account.
    addresses = [(await stage.people.identity.user_of("acme", one.user_id)).email for one in (ann, dan)]
    assert mails == [(MailKind.COLLECTIONS_RECEIVED.value, address) for address in sorted(addresses)]


async def test_an_answer_that_quoted_an_erased_document_says_so_and_stays_resumable(
    stage: Stage, database: Database
) -> None:
    harness, turns, ann, bob = stage.harness, stage.turns, stage.ann, stage.bob
    herons = await harness.take_in(bob, SECRET, "herons.md")
    rivers = await harness.take_in(ann, "The Nile is long.", "rivers.md", collection="")
    quoting, other = await begin(turns, ann), await begin(turns, ann)
    await answer(turns, ann, quoting, citation_of(herons))
    await answer(turns, ann, other, citation_of(rivers, "The Nile is long."), text="The Nile is long.")
    before = await turns.get(ann, other.id)
    # Bob's document is in a collection that others can read. Ann, who has a collection with the same id, gets it.
    await harness.library.update_collection(bob, "default", CollectionFields(readers=[EVERYONE]))
    receipt = await stage.erasing.erase(ann, bob.user_id, ann.user_id, "")
    assert receipt.counts.get(ErasedKind.HANDED_OVER) == 1
    assert ErasedKind.WITHDRAWN not in receipt.counts
    assert (await turns.get(ann, quoting.id)).state is TurnState.ANSWERED
    assert {
        one.owner_id
        for one in (
            await harness.documents.find(Server("acme"), [herons.document_id, rivers.document_id])
        ).values()
    } == {ann.user_id}

    carol = await person(stage.people, "Carol", "carol@example.org")
    eggs = await harness.take_in(carol, "The egg of the heron is blue.", "eggs.md")
    cited = await begin(turns, ann)
    await answer(turns, ann, cited, citation_of(eggs, "The egg of the heron is blue."), text="It is blue.")
    derived = await begin(turns, ann)
    both = [VersionRead(rivers.document_id, 1), VersionRead(eggs.document_id, 1)]
    await answer(turns, ann, derived, text="Something blue.", read=both)
    receipt = await stage.erasing.erase(ann, carol.user_id, None, "")
    assert (receipt.counts[ErasedKind.DOCUMENTS], receipt.counts[ErasedKind.WITHDRAWN]) == (1, 2)
    answer_left = await PostgresConversationStore(database).answer_of(ann, derived.id)
    assert answer_left is not None
    assert (answer_left.text, answer_left.refusal) == (NOTICE, RefusalReason.SOURCE_ERASED)
    withdrawn = await turns.get(ann, cited.id)
    assert (withdrawn.state, withdrawn.last_seq) == (TurnState.REFUSED, 4)
    assert withdrawn.terminal is not None
    event = turn_pb2.TurnEvent.FromString(withdrawn.terminal)
    assert (event.seq, event.refused.reason, event.refused.message, event.refused.usage.embedding_tokens) == (
        4,
        turn_pb2.REFUSAL_REASON_SOURCE_ERASED,
        NOTICE,
        5,
    )
    # A reader that has everything but the end gets the refusal in place of the answer; others get a snapshot.
    last = LogRow(4, 4, False, CODEC.frame(cited.id, 3, 4, [withdrawn.terminal]))
    for after in range(5):
        backlog = await turns.backlog(ann, cited.id, after, 100)
        assert (backlog.end_seq, backlog.terminal) == (4, withdrawn.terminal)
        assert list(backlog.rows) == ([last] if after == 3 else [])
    conversations = PostgresConversationStore(database)
    found = await conversations.answer_of(ann, cited.id)
    assert found is not None
    assert (found.text, found.refusal, list(found.citations)) == (NOTICE, RefusalReason.SOURCE_ERASED, [])
    history = await conversations.history(ann, cited.conversation_id, 10)
    assert [one.text for one in history] == ["How heavy?", NOTICE]
    assert await turns.get(ann, other.id) == before


async def test_a_cancelled_turn_that_had_sent_a_quote_loses_its_log(stage: Stage) -> None:
    turns, ann, bob = stage.turns, stage.ann, stage.bob
    herons = await stage.harness.take_in(bob, SECRET, "herons.md")
    stopped = await begin(turns, ann)
    cited = NumberedEvent(2, 1, None, Cited(citation_of(herons)))
    rows = pack(CODEC, stopped.id, [cited])
    await turns.append([Append(claim_of(stopped), rows)])
    ended = await turns.cancel(ann, stopped.id, True, cancelled)
    await stage.erasing.erase(ann, bob.user_id, None, "")
    after = await turns.get(ann, stopped.id)
    assert (after.state, after.terminal) == (TurnState.CANCELLED, ended.turn.terminal)
    backlog = await turns.backlog(ann, stopped.id, 0, 100)
    assert (list(backlog.rows), backlog.end_seq) == ([], 3)


async def test_a_turn_that_was_running_is_searched_when_it_has_ended(
    stage: Stage, database_urls: DatabaseUrls
) -> None:
    turns, ann, bob = stage.turns, stage.ann, stage.bob
    herons = await stage.harness.take_in(bob, SECRET, "herons.md")
    running = await begin(turns, ann)
    receipt = await stage.erasing.erase(ann, bob.user_id, None, "")
    assert receipt.end_time is None
    assert await stage.erasing.work("acme", bob.user_id, 0) is not None
    await answer(turns, ann, running, citation_of(herons))
    assert await stage.erasing.work("acme", bob.user_id, 1) is None
    assert (await turns.get(ann, running.id)).state is TurnState.REFUSED
    ended = await stage.erasing.erase(ann, bob.user_id, None, "")
    assert (ended.end_time is not None, ended.counts[ErasedKind.WITHDRAWN]) == (True, 1)
    assert await stage.erasing.work("acme", bob.user_id, 2) is None
    size = "SELECT turn_bytes = (SELECT octet_length(request) + octet_length(terminal) FROM responsa.turn) FROM responsa.conversation"
    assert stage.harness.ask(size) == [(True,)]
    assert everywhere(database_urls, SECRET, str(herons.document_id)) == {
        SECRET: set(),
        str(herons.document_id): set(),
    }


async def test_no_credential_is_good_once_the_erasing_has_begun_and_the_job_goes_on_alone(
    stage: Stage, database_urls: DatabaseUrls
) -> None:
    people, bob = stage.people, stage.bob
    _, secret = await people.identity.create_api_key(bob, NewKey("key"))
    await stage.harness.take_in(bob, SECRET, "herons.md")
    await stage.store.begin(replace(stage.ann, act="user.delete"), bob.user_id, None, "")
    caught = await raises(ResponsaError, people.identity.authenticate(Credential("api_key", secret)))
    assert caught.reason is Reason.CREDENTIAL_REVOKED
    assert (await people.identity.user_of("acme", bob.user_id)).email == ""
    database_urls.ask("UPDATE procrastinate_jobs SET scheduled_at = now()")
    left = "SELECT id FROM procrastinate_jobs WHERE task_name = 'responsa.erase'"
    async with running(stage.harness.queue, {JobKind.ERASE: stage.erasing.work}):
        await stage.harness.until(lambda: not stage.harness.ask(left))
    found = await stage.store.stage("acme", bob.user_id)
    assert found is not None
    assert found.ended
    await raises(NotFound, people.identity.user_of("acme", bob.user_id))


class Killed(Exception):
    """Stands for the end of the process."""


class Mortal:
    """A store whose process ends after one of its calls. That is also what an end before the next call leaves."""

    def __init__(self, store: PostgresErasing, calls: int) -> None:
        self._store, self._left = store, calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def mortal(*args: object, **options: object) -> object:
            self._left -= 1
            result = await method(*args, **options)
            if self._left < 0:
                raise Killed
            return result

        return mortal


async def test_an_erasing_that_was_killed_anywhere_ends_with_the_same_receipt(stage: Stage) -> None:
    turns, ann = stage.turns, stage.ann
    expected = None
    for calls in range(9):
        caller = await person(stage.people, f"Dan {calls}", f"dan{calls}@example.org")
        operation = await stage.harness.take_in(caller, f"Sentence {calls} is about Dan.", f"dan{calls}.md")
        for reader in (caller, ann):
            turn = await begin(turns, reader)
            await answer(turns, reader, turn, citation_of(operation, f"Sentence {calls}"), text="x")
        store: Any = Mortal(stage.store, calls)
        with contextlib.suppress(Killed):
            await erasing_of(store, turns, stage.people).erase(ann, caller.user_id, None, "")
        receipt = await stage.erasing.erase(ann, caller.user_id, None, "")
        assert receipt.end_time is not None
        # The first of them owns the default collection.
        counts = {kind: count for kind, count in receipt.counts.items() if kind is not ErasedKind.COLLECTIONS}
        expected = expected or counts
        assert counts == expected, calls


async def test_a_deletion_that_begins_while_another_one_ends_returns_its_receipt(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(stage.harness)
    found: Any = getattr(store, "_find")  # noqa: B009  pyright allows no private names

    async def late(*arguments: object) -> object:
        monkeypatch.undo()
        begun = await found(*arguments)
        await stage.erasing.erase(stage.ann, stage.bob.user_id, None, "")
        return begun

    monkeypatch.setattr(store, "_find", late)
    receipt = await erasing_of(store, stage.turns, stage.people).erase(stage.ann, stage.bob.user_id, None, "")
    assert receipt.end_time is not None


async def test_a_deletion_that_has_begun_succeeds_though_its_receipt_cannot_be_read(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database may fail between the beginning and the end of the call. The job goes on, so a failure would mislead the caller."""
    store = store_of(stage.harness)

    async def away(*_: object) -> NoReturn:
        raise unavailable()

    for method in ("stage", "find"):
        monkeypatch.setattr(store, method, away)
    receipt = await erasing_of(store, stage.turns, stage.people).erase(stage.ann, stage.bob.user_id, None, "")
    assert (receipt.user_id, receipt.end_time) == (stage.bob.user_id, None)
    assert await stage.erasing.work("acme", stage.bob.user_id, 0) is None


async def test_a_user_who_cannot_be_erased(stage: Stage) -> None:
    ann, bob = stage.ann, stage.bob
    await raises(NotFound, stage.erasing.erase(ann, uuid7(), None, ""))
    own_address = (await stage.people.identity.user_of("acme", bob.user_id)).email
    for heir in (uuid7(), bob.user_id, "nobody@example.org", own_address):
        refused = await raises(InvalidRequest, stage.erasing.erase(ann, bob.user_id, heir, ""))
        assert refused.violations[0].field == "hand_over_to"
    await stage.erasing.erase(ann, bob.user_id, None, "")
    last = await raises(Precondition, stage.erasing.erase(ann, ann.user_id, None, ""))
    assert last.reason is Reason.LAST_ADMINISTRATOR


async def test_of_two_administrators_who_erase_each_other_one_remains(stage: Stage) -> None:
    results = await asyncio.gather(
        stage.erasing.erase(stage.ann, stage.bob.user_id, None, ""),
        stage.erasing.erase(stage.bob, stage.ann.user_id, None, ""),
        return_exceptions=True,
    )
    refusals = [result for result in results if isinstance(result, Precondition)]
    assert [refusal.reason for refusal in refusals] == [Reason.LAST_ADMINISTRATOR]


async def erased_while_answering(stage: Stage, urls: DatabaseUrls, place: int, chance: random.Random) -> None:
    """A user whose question is being answered, and who asks again, while two servers erase the user."""
    turns, ann = stage.turns, stage.ann
    email = f"eve{place}@example.org"
    caller = await person(stage.people, f"Eve {place}", email)
    marks = [email, "An answer to Eve"]

    async def answering(text: str) -> None:
        try:
            for _ in range(3):
                turn = await begin(turns, caller, text)
                marks.extend((str(turn.id), str(turn.conversation_id)))
                for _ in range(chance.randrange(30)):
                    await asyncio.sleep(0)
                await answer(turns, caller, turn, text="An answer to Eve.")
        except (ResponsaError, TurnLost, psycopg.errors.ForeignKeyViolation):
            pass

    async def erase() -> None:
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        await erasing_of(store_of(stage.harness), turns, stage.people).erase(ann, caller.user_id, None, "")

    await asyncio.gather(answering("one"), answering("two"), erase(), erase())
    for _ in range(100):
        if await stage.erasing.work("acme", caller.user_id, 0) is None:
            break
    # A question that the deletion overtook has no turn, so its mark is nowhere either.
    assert await asyncio.to_thread(holding, urls, *marks) == set()
    assert await asyncio.to_thread(holding, urls, str(caller.user_id)) <= WITH_UUIDS
    await raises(NotFound, stage.people.identity.user_of("acme", caller.user_id))


async def test_deleting_while_answering_leaves_nothing(stage: Stage, database_urls: DatabaseUrls) -> None:
    bobs = await begin(stage.turns, stage.bob)
    await answer(stage.turns, stage.bob, bobs, text="An answer to Bob.")
    for place in range(3):
        await erased_while_answering(stage, database_urls, place, random.Random(place))
    # What the races look for is found where it stays.
    kept = holding(database_urls, str(bobs.id), str(bobs.conversation_id), "An answer to Bob.")
    assert kept >= {"conversation", "message", "turn"}
    assert "app_user" in holding(database_urls, ADDRESS)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_deleting_while_answering_leaves_nothing_in_a_thousand_races(
    stage: Stage, database_urls: DatabaseUrls
) -> None:
    first = int(os.environ.get("RESPONSA_SOAK_SEED") or 0)
    for place in range(first, first + int(os.environ.get("RESPONSA_SOAK_COUNT") or 1000)):
        await erased_while_answering(stage, database_urls, place, random.Random(place))


ERASED = {
    "api_key": "deleted with the user",
    "app_user": "deleted at the end",
    "citation": "deleted with the conversation; those of other users' answers are withdrawn",
    "collection": "deleted, or handed over",
    "collection_generation": "deleted with the collection",
    "collection_reader": "deleted with the collection and with the user",
    "conversation": "deleted",
    "conversation_summary": "deleted with the conversation; that of a conversation with a withdrawn answer too",
    "creation_request": "deleted",
    "deleted_document": "those of erased documents are deleted; a subject that is the user is replaced",
    "document": "deleted, or handed over with the collection; those of others whose subject is the user stay, with the uuid",
    "document_version": "deleted with the document",
    "email_confirmation": "deleted, together with the codes of other users for the same address",
    "erased_document": "deleted when no answer quotes the document any more",
    "generation_vector": "deleted with the passage",
    "group_member": "deleted with the user",
    "invitation": "those that the user made, and those for the user's address, are deleted",
    "last_reader": "deleted with the user, or with the last document of the collection",
    "mail": "deleted",
    "message_count": "deleted with the user",
    "message_feedback": "deleted with the message; in those of others that the user resolved, the name is removed",
    "message": "deleted with the conversation; the text of withdrawn answers is replaced",
    "operation": (
        "deleted; a running one on a document of somebody else goes on, in the name of that "
        "user; another user's run for the user alone is cancelled, and its subject is replaced"
    ),
    "passage": "deleted with the document",
    "passage_vector": "deleted with the passage",
    "refresh_token": "deleted with the session",
    "reset_code": "deleted",
    "service_grant": "deleted with the user",
    "share": "deleted with the turn",
    "session": "deleted",
    "session_code": "deleted",
    "source": "stays; the name of the user who changed it last is removed",
    "source_failure": "stays; a subject that is the user is removed",
    "source_document": "deleted with the document",
    "turn": "deleted with the conversation; the terminal event of withdrawn answers is replaced",
    "turn_checkpoint": "deleted with the turn",
    "turn_event": "deleted with the turn; that of withdrawn answers too",
    "turn_follower": "deleted with the turn",
    "turn_spent": "deleted with the turn",
    "turn_tool": "deleted with the turn; that of withdrawn answers too",
    "question_event": "stays, for nobody",
    "question_pattern": (
        "its vectors are computed again without the user's questions, within seconds; a title "
        "that was made from one is hidden at once, and removed then; of those that the user deals or "
        "dealt with, the name is removed"
    ),
    "turn_pattern": "deleted with the turn",
    "usage_day": "those of the user are deleted; those of the tenant stay, and name nobody",
    "usage_event": "stays, for nobody",
    "usage_hour": "those of the user are deleted; those of the tenant stay, and name nobody",
    "user_identity": "deleted with the user",
    "user_limit": "deleted with the user",
    "user_password": "deleted",
    "user_quota": "deleted with the user",
    "user_usage": "deleted",
    # The names of users alone, as UUIDs.
    "audit_event": "stays, with the uuid of the user and without the user's network addresses",
    "erasure": "stays, with the uuid of the user, because the row is the receipt of the deletion",
}
"""For each table that holds ids of users, documents, or of what belongs to them: what becomes of its rows."""
# Tables whose rows name something that has an id, and yet belong to nobody: they hold no id of a user, a document, or
# of what belongs to them.
NOBODYS = frozenset(
    {
        "asked_program",
        "collection_stat",
        "delivery",
        "embedding_cache",
        "notice",
        "oidc_state",
        "pattern_day",
        "pattern_loss",
        "subject_stat",
        "subject_term_stat",
        "term_stat",
    }
)


def test_every_table_is_in_the_list_of_what_is_erased(database_urls: DatabaseUrls) -> None:
    """A new table whose rows name anything but themselves must be added to ERASED, and its rows to erasing.sql, or to
    NOBODYS. The rows of other tables, such as teachers, belong to the tenant."""
    with psycopg.connect(database_urls.superuser) as connection:
        connection.execute("CREATE TABLE responsa.planted (tenant_id text, user_id uuid)")
        rows = connection.execute(
            """SELECT c.table_name FROM information_schema.columns AS c JOIN information_schema.tables AS t USING (table_schema, table_name)
            WHERE c.table_schema = 'responsa' AND c.table_name !~ '^turn_event_[0-9]' GROUP BY 1
            HAVING bool_or(c.column_name = 'tenant_id')
                AND bool_or(c.column_name <> 'id' AND c.udt_name IN ('uuid', '_uuid', 'bytea')
                    OR c.column_name ~ '_id$|subject' AND c.column_name <> 'tenant_id')"""
        ).fetchall()
        connection.rollback()
    tables = {name for (name,) in rows}
    assert tables - ERASED.keys() - NOBODYS == {"planted"}
    assert tables >= NOBODYS
    assert ERASED.keys() <= tables
