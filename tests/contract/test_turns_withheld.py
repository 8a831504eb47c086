"""Turns whose user may no longer read what the turn has read: an answer is withheld, not changed."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.agents import DocumentsRead
from responsa_server.domain.conversations import Summary
from responsa_server.domain.errors import InvalidRequest, NotFound
from responsa_server.domain.events import Delta, RefusalReason, VersionRead
from responsa_server.domain.knowledge import (
    EVERYONE,
    Chunking,
    CollectionFields,
    CollectionReader,
    DocumentChanges,
)
from responsa_server.domain.listing import ListQuery
from responsa_server.domain.lists import CONVERSATIONS, MESSAGES, TURNS
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.turns import (
    WITHHELD,
    Followed,
    Heartbeat,
    LogRow,
    Question,
    Snapshot,
    TurnState,
    Verdict,
)
from responsa_server.stores.postgres.conversations import PostgresSummaries
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.shares import PostgresShares
from responsa_server.turns.conversations import Conversations
from responsa_server.turns.service import Turns
from tests.conftest import DatabaseUrls
from tests.contract.library_harness import Harness
from tests.contract.test_access import ELBE, RHINE, admin_of, put, share
from tests.contract.turn_harness import NO_REDIS, QUICK, Line, Script, Services, answer, citation, follow_all
from tests.plain_codec import PlainCodec, events_of
from tests.raising import raises

RIVER = Question("How long is the Elbe?")
SECRET = "The Elbe is 1094 kilometres long."
OPEN = QUICK


async def shared(harness: Harness) -> VersionRead:
    """A document of Ann's that Bob may read."""
    await harness.library.create_collection(harness.ann, "rivers", CollectionFields("Rivers"), Chunking())
    document = await put(harness, harness.ann, ELBE)
    await share(harness, harness.ann, CollectionReader(user_id=harness.bob.user_id))
    return VersionRead(document, 1)


def quoting(read: VersionRead) -> list[Line]:
    cited = replace(citation(SECRET), document_id=read.document_id, version=read.version)
    return [Delta(SECRET, 0), replace(answer(SECRET), citations=(cited,))]


async def ask(turns: Turns, caller: Principal, question: Question = RIVER) -> tuple[UUID, UUID]:
    accepted = await turns.accept(caller, question, None)
    await turns.wait(caller, accepted.turn_id)
    return accepted.turn_id, accepted.conversation_id


def kinds(rows: Sequence[Followed]) -> list[str]:
    names: list[str] = []
    for row in rows:
        if isinstance(row, LogRow):
            names += [event["kind"] for event in events_of([row])]
        elif isinstance(row, Snapshot):
            names.append("snapshot of " + str(terminal_of(row)["reason"]))
    return names


def terminal_of(snapshot: Snapshot) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(snapshot.terminal))


@pytest.mark.parametrize("how", ["cited", "read by a model"])
async def test_an_answer_is_withheld_while_its_user_may_not_read_its_sources(
    harness: Harness, database: Database, how: str
) -> None:
    read = await shared(harness)
    lines = quoting(read)
    if how != "cited":
        lines = [DocumentsRead((read,)), Delta(SECRET, 0), answer(SECRET)]
    services = Services(database)
    talks = services.conversations
    async with services.turns(Script(lines), OPEN) as turns:
        turn, talk = await ask(turns, harness.bob)
        follow_up = replace(RIVER, conversation_id=talk)
        query = ListQuery(10, MESSAGES.orders[0])
        verify = Conversations(talks, harness.library.documents, uuid7).verify

        async def views() -> list[object]:
            """Everything that shows the answer."""
            said = list((await talks.messages(harness.bob, talk, query)).items)
            listed = (await turns.store.list(harness.bob, ListQuery(10, TURNS.orders[0]))).items
            return [
                await turns.store.get(harness.bob, turn),
                [one for one in listed if one.id == turn],
                said,
                [await talks.message(harness.bob, one.id) for one in said],
                await talks.answer_of(harness.bob, turn),
                await talks.history(harness.bob, talk, 10),
                await follow_all(turns, harness.bob, turn),
                await follow_all(turns, harness.bob, turn, 1),
                await turns.cancel(harness.bob, turn),
                await verify(harness.bob, turn_id=turn),
                (await talks.search(harness.bob, ["1094"], ListQuery(10, CONVERSATIONS.orders[0]))).items,
            ]

        shares, days = PostgresShares(database, PlainCodec()), timedelta(days=1)
        link = (await shares.share(harness.bob, turn, datetime.now(UTC) + days)).id
        open_to_bob = await views()
        assert SECRET in str(open_to_bob[-1])
        end = (await turns.store.get(harness.bob, turn)).last_seq
        await share(harness, harness.ann)
        closed = await views()
        for one in closed:
            assert SECRET not in str(one)
            assert SECRET.encode() not in str(one).encode()
        assert WITHHELD in str(closed[0])
        with pytest.raises(NotFound):  # though she may read the document
            await shares.get(harness.ann, link)
        await raises(InvalidRequest, shares.share(harness.bob, turn, datetime.now(UTC) + days))
        assert "1094" not in str(closed)
        found = await turns.store.get(harness.bob, turn)
        assert (found.state, found.last_seq) == (TurnState.REFUSED, end)
        reply = await talks.answer_of(harness.bob, turn)
        assert reply is not None
        assert reply.refusal is RefusalReason.NOT_PERMITTED
        assert not reply.citations
        for after in (0, 1, end - 1):
            (snapshot,) = await follow_all(turns, harness.bob, turn, after)
            assert isinstance(snapshot, Snapshot)
            assert snapshot.through_seq == end
            assert terminal_of(snapshot)["seq"] == end
            assert terminal_of(snapshot)["reason"] == "not_permitted"
        assert await follow_all(turns, harness.bob, turn, end) == []
        checks = await verify(harness.bob, turn_id=turn)
        assert [check.verdict for check in checks] == ([Verdict.NOT_PERMITTED] if how == "cited" else [])
        await ask(turns, harness.bob, follow_up)
        await share(harness, harness.ann, CollectionReader(user_id=harness.bob.user_id))
        assert (await views())[4] == open_to_bob[4]
        assert not (await shares.get(harness.ann, link)).unreadable
        harness.ask("UPDATE responsa.share SET expire_time = now()")
        await raises(NotFound, shares.get(harness.ann, link))
        assert (await shares.share(harness.bob, turn, datetime.now(UTC) + days)).id != link
        assert kinds(await follow_all(turns, harness.bob, turn)) == ["started", "delta", *(["answered"])]


async def test_newer_versions_do_not_count_and_subjects_do(harness: Harness, database: Database) -> None:
    read = await shared(harness)
    services = Services(database)
    async with services.turns(Script(quoting(read)), OPEN) as turns:
        turn, _ = await ask(turns, harness.bob)

        async def state() -> TurnState:
            return (await turns.store.get(harness.bob, turn)).state

        assert await put(harness, harness.ann, RHINE) == read.document_id
        assert await state() is TurnState.ANSWERED
        admin = admin_of(harness)
        await share(
            harness,
            harness.ann,
            CollectionReader(user_id=harness.bob.user_id),
            CollectionReader(role=Role.ADMIN),
        )
        await harness.library.update_document(admin, read.document_id, DocumentChanges(subject="patient-7"))
        assert await state() is TurnState.REFUSED
        # An administrator who cancels the ended turn of somebody else reads no more than elsewhere.
        await share(harness, harness.ann, CollectionReader(user_id=harness.bob.user_id))
        assert (await turns.cancel(admin, turn)).state is TurnState.REFUSED
        await harness.library.delete_document(admin, read.document_id)
        assert await state() is TurnState.REFUSED


@pytest.mark.parametrize("erased", ["document", "collection"])
async def test_a_deletion_gives_no_answer_back_and_takes_none(
    harness: Harness, database: Database, erased: str
) -> None:
    read = await shared(harness)
    bobs = CollectionReader(user_id=harness.bob.user_id)
    services = Services(database)
    talks = services.conversations
    verify = Conversations(talks, harness.library.documents, uuid7).verify
    async with services.turns(Script(quoting(read)), OPEN) as turns:
        turn, talk = await ask(turns, harness.bob)

        async def delete() -> None:
            if erased == "document":
                await harness.library.delete_document(harness.ann, read.document_id)
            else:
                await harness.library.delete_collection(harness.ann, "rivers", force=True)

        async def state() -> TurnState:
            return (await turns.store.get(harness.bob, turn)).state

        await share(harness, harness.ann)
        assert await state() is TurnState.REFUSED
        await delete()
        assert await state() is TurnState.REFUSED
        (check,) = await verify(harness.bob, turn_id=turn)
        assert (check.citation.quote, check.verdict) == ("", Verdict.NOT_PERMITTED)
        assert SECRET not in str(await talks.history(harness.bob, talk, 10))

        if erased == "document":
            await share(harness, harness.ann, bobs)
            assert await state() is TurnState.ANSWERED  # as if the document were still there
            await share(harness, harness.ann)
            again = VersionRead(await put(harness, harness.ann, ELBE), 1)
            await share(harness, harness.ann, bobs)
        else:
            again = await shared(harness)
    async with services.turns(Script(quoting(again)), OPEN) as turns:
        turn, _ = await ask(turns, harness.bob)
        read = again
        await delete()
        assert await state() is TurnState.ANSWERED
        (check,) = await verify(harness.bob, turn_id=turn)
        assert (check.citation.quote, check.verdict) == (SECRET, Verdict.SOURCE_DELETED)


async def test_a_stream_ends_when_its_reader_loses_the_role_that_may_read(
    harness: Harness, database: Database
) -> None:
    await harness.library.create_collection(harness.ann, "rivers", CollectionFields("Rivers"), Chunking())
    read = VersionRead(await put(harness, harness.ann, ELBE), 1)
    await share(harness, harness.ann, CollectionReader(role=Role.ADMIN))
    admin = admin_of(harness)
    services = Services(database)
    script = Script([DocumentsRead((read,)), Delta(SECRET, 0), asyncio.Event()])
    async with services.turns(script, OPEN) as turns:
        accepted = await turns.accept(admin, RIVER, None)
        async with aclosing(turns.follow(admin, accepted.turn_id)) as stream:
            await until_text(stream)
            harness.ask("UPDATE responsa.app_user SET role = 'user' WHERE id = %s", admin.user_id)
            rest = [item async for item in stream if not isinstance(item, Heartbeat)]
        assert kinds(rest) in (["refused"], ["snapshot of not_permitted"])
        await script.closed.wait()


async def test_the_documents_that_a_terminal_event_names_are_found_in_its_bytes(
    database_urls: DatabaseUrls,
) -> None:
    document = uuid7()
    name = f"documents/{document}/versions/1".encode()
    with psycopg.connect(database_urls.app) as connection:
        found = connection.execute(
            "SELECT responsa.documents_named(%s)", [b"\x00\xff\\" + name + b"\x08" + name]
        ).fetchone()
    assert found == ([document],)


async def test_a_widget_loses_its_answer_with_the_share_by_name(harness: Harness, database: Database) -> None:
    read = await shared(harness)
    widget = replace(harness.bob, widget=True)
    async with Services(database).turns(Script(quoting(read)), OPEN) as turns:
        (theirs, _), (own, _) = await ask(turns, widget), await ask(turns, harness.bob)
        assert SECRET in str(await follow_all(turns, widget, theirs))
        assert not await turns.store.find_withheld([theirs, own])
        await share(harness, harness.ann, EVERYONE)
        # What ends the streams of all users of a process asks for the widget.
        assert list(await turns.store.find_withheld([theirs, own])) == [theirs]
        assert SECRET not in str(await follow_all(turns, widget, theirs))
        assert SECRET in str(await follow_all(turns, harness.bob, own))


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_who_loses_access_in_the_midst_of_a_stream_gets_the_refusal_once(
    harness: Harness, database: Database, redis_url: str, elsewhere: bool
) -> None:
    read = await shared(harness)
    gate = asyncio.Event()
    script = Script([DocumentsRead((read,)), Delta(SECRET, 0), gate, answer(SECRET + SECRET)])
    services = Services(database, redis_url if elsewhere else NO_REDIS)
    async with services.turns(script, OPEN) as one, services.turns(script, replace(OPEN, works=False)) as two:
        accepted = await one.accept(harness.bob, RIVER, None)
        turns = two if elsewhere else one
        async with aclosing(turns.follow(harness.bob, accepted.turn_id)) as stream:
            seen = await until_text(stream)
            await share(harness, harness.ann)
            rest = [item async for item in stream if not isinstance(item, Heartbeat)]
        # The refusal is the log's event, if the turn's end reaches the reader first, or else a snapshot of it.
        (end,) = rest
        assert kinds(rest) in (["refused"], ["snapshot of not_permitted"])
        turn = await turns.store.get(harness.bob, accepted.turn_id)
        assert turn.state is TurnState.REFUSED
        assert turn.last_seq == through(end) > seen
        await script.closed.wait()
        (snapshot,) = await follow_all(turns, harness.bob, turn.id, seen)
        assert isinstance(snapshot, Snapshot)
        assert snapshot.through_seq == turn.last_seq
        # The turn has ended so: when access comes back, its log shows what was sent, and the refusal.
        await share(harness, harness.ann, CollectionReader(user_id=harness.bob.user_id))
        assert kinds(await follow_all(turns, harness.bob, turn.id)) == ["started", "delta", "refused"]
        assert await services.conversations.history(harness.bob, turn.conversation_id, 10) == []


def through(item: Followed) -> int:
    """The last seq that an item covers."""
    assert isinstance(item, (LogRow, Snapshot))
    return item.last_seq if isinstance(item, LogRow) else item.through_seq


async def until_text(stream: AsyncGenerator[Followed, None]) -> int:
    """Read a stream until the first delta has arrived, and return the last seq."""
    async for item in stream:
        if isinstance(item, LogRow) and item.deltas:
            return item.last_seq
    raise AssertionError("the stream has ended without text")


async def test_models_read_no_history_and_no_summary_of_what_their_user_may_not_read(
    harness: Harness, database: Database
) -> None:
    read = await shared(harness)
    services = Services(database)
    summaries = PostgresSummaries(database)
    script = Script(quoting(read))
    async with services.turns(script, OPEN) as turns:
        _, talk = await ask(turns, harness.bob)
        follow_up = replace(RIVER, conversation_id=talk)
        await ask(turns, harness.bob, follow_up)
        question, reply = script.tasks[-1].history
        assert (question.read, reply.text, reply.read) == ((), SECRET, (read,))
        kept = Summary("They spoke of the Elbe.", reply.id, reply.read)
        await summaries.keep(harness.bob, talk, kept)
        assert await summaries.find(harness.bob, talk) == kept
        await share(harness, harness.ann)
        await ask(turns, harness.bob, follow_up)
        assert SECRET not in str(script.tasks[-1].history)
        assert [one.text for one in script.tasks[-1].history][1::2] == [WITHHELD, WITHHELD]
        assert all(one.read == () for one in script.tasks[-1].history)
        assert await summaries.find(harness.bob, talk) is None
        await summaries.keep(harness.bob, talk, Summary("Nothing.", reply.id))
        assert await summaries.find(harness.bob, talk) is not None


async def test_another_attempt_does_not_begin_with_what_the_first_has_read(
    harness: Harness, database: Database
) -> None:
    read = await shared(harness)
    services = Services(database)
    first = Script([DocumentsRead((read,)), Delta(SECRET, 0), asyncio.Event()])
    second = Script([answer("It is.")])
    async with services.turns(first, OPEN) as one:
        accepted = await one.accept(harness.bob, RIVER, None)
        async with aclosing(one.follow(harness.bob, accepted.turn_id)) as stream:
            await until_text(stream)
        await one.drain(0.0)
        await share(harness, harness.ann)
        async with services.turns(second, OPEN) as two:
            turn = await two.wait(harness.bob, accepted.turn_id)
            assert (turn.state, second.tasks) == (TurnState.REFUSED, [])


@pytest.mark.parametrize(
    "rounds",
    [
        8,
        pytest.param(
            int(os.environ.get("RESPONSA_SOAK_COUNT") or 1000),
            marks=[pytest.mark.soak, pytest.mark.timeout(3600)],
        ),
    ],
)
async def test_sharing_and_unsharing_while_asking(harness: Harness, database: Database, rounds: int) -> None:
    """Whatever the order, no call that begins after the end of an access shows the text, and every stream ends once."""
    read = await shared(harness)
    services = Services(database)
    script = Script([DocumentsRead((read,)), Delta(SECRET, 0), *quoting(read)[1:]])
    generator = random.Random(7)
    async with services.turns(script, OPEN) as turns:
        known: list[UUID] = []
        for _ in range(rounds):
            streams = [
                asyncio.create_task(_stream(turns, harness.bob, generator.randrange(20))) for _ in range(3)
            ]
            await asyncio.sleep(0)
            await share(harness, harness.ann)
            late = [await follow_all(turns, harness.bob, turn) for turn in known[-5:]]
            assert all(len(one) == 1 and isinstance(one[0], Snapshot) for one in late)
            assert SECRET.encode() not in b"".join(cast("Snapshot", one[0]).terminal for one in late)
            for turn, items in await asyncio.gather(*streams):
                known.append(turn)
                ends = [kind for kind in kinds(items) if kind not in ("started", "delta")]
                assert ends in (["answered"], ["refused"], ["snapshot of not_permitted"])
                assert (await turns.store.get(harness.bob, turn)).state is TurnState.REFUSED
            await share(harness, harness.ann, CollectionReader(user_id=harness.bob.user_id))


async def _stream(turns: Turns, caller: Principal, later: int) -> tuple[UUID, list[Followed]]:
    for _ in range(later):  # the order of the tasks and of their transactions varies
        await asyncio.sleep(0.001)
    accepted = await turns.accept(caller, RIVER, None)
    async with aclosing(turns.follow(caller, accepted.turn_id, fresh=True)) as stream:
        items: list[Followed] = [one async for one in stream if not isinstance(one, Heartbeat)]
    seqs = [through(item) for item in items]
    assert seqs == sorted(set(seqs))
    return accepted.turn_id, items
