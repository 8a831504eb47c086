"""Slow work of some callers does not keep the others out."""

from __future__ import annotations

import asyncio
from uuid import UUID

import grpc
import psycopg

from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_server.domain import names
from tests.contract.turn_steps import until_somebody_waits
from tests.rpc.served import Caller, Served, by_cookie, caller, failed

DELETIONS = 20
"""Twice the number of connections."""


async def test_deletions_that_wait_for_a_lock_delay_no_other_call(served: Served) -> None:
    who = served.ann.who
    operations = [await served.harness.upload(who, f"Text {one}.", f"{one}.md") for one in range(DELETIONS)]
    # None of these callers is in the cache of credentials, so each needs the database twice.
    late = [await caller(served.identity, served.channel, "acme", served.bob.who.role) for _ in range(10)]

    async def delete(identity: UUID) -> None:
        while True:
            call = served.ann.DeleteDocument(name=names.document(identity))
            if await call.code() is grpc.StatusCode.OK:
                return
            assert (await failed(call)).reason == "RESOURCE_LOCKED"

    async with await psycopg.AsyncConnection.connect(served.harness.urls.superuser) as holder:
        await holder.execute("SELECT FROM responsa.document FOR UPDATE")
        deletions = [asyncio.ensure_future(delete(operation.document_id)) for operation in operations]
        await until_somebody_waits(served.harness.urls, deletions[-1], 3)
        async with asyncio.timeout(5):
            for one in late:
                await one.GetMe()
                await one.ListConversations()
        await until_somebody_waits(served.harness.urls, deletions[-1], 3)
        await holder.rollback()
    await asyncio.gather(*deletions)
    assert served.harness.rows(["document"]) == {}


async def test_calls_with_credentials_do_not_wait_for_the_pool_that_all_other_work_uses(
    served: Served,
) -> None:
    """Even when every other connection is taken, callers are authenticated."""

    async def hold(gate: asyncio.Event, held: asyncio.Semaphore) -> None:
        async with served.harness.database.no_tenant():
            held.release()
            await gate.wait()

    gate, held = asyncio.Event(), asyncio.Semaphore(0)
    late: Caller = await caller(served.identity, served.channel, "acme", served.bob.who.role)
    holders = [asyncio.ensure_future(hold(gate, held)) for _ in range(10)]
    for _ in holders:
        await held.acquire()
    try:
        async with asyncio.timeout(5):
            await late.GetMe()
    finally:
        gate.set()
        await asyncio.gather(*holders)


async def test_a_deletion_does_not_wait_for_a_lock_without_an_end(served: Served) -> None:
    operation = await served.harness.upload(served.ann.who, "Text.")
    name = names.document(operation.document_id)
    request = knowledge.DeleteDocumentRequest(name=name)
    async with await psycopg.AsyncConnection.connect(served.harness.urls.superuser) as holder:
        await holder.execute("SELECT FROM responsa.document FOR UPDATE")
        async with asyncio.timeout(8):
            error = await failed(served.ann.DeleteDocument(request))
        assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "RESOURCE_LOCKED")
        assert error.metadata == {"resource_name": name}
        await holder.rollback()
    await served.ann.DeleteDocument(request)


async def test_a_session_that_is_locked_still_authenticates(served: Served) -> None:
    who = served.bob.who
    code, _ = await served.identity.create_session_code(who)
    token, _ = await served.identity.exchange_code(code)
    async with await psycopg.AsyncConnection.connect(served.harness.urls.superuser) as holder:
        await holder.execute("UPDATE responsa.session SET last_use_time = now() - interval '1 hour'")
        await holder.commit()
        await holder.execute("SELECT FROM responsa.session FOR UPDATE")
        cookie = by_cookie(f"responsa_session={token}")
        calling = asyncio.ensure_future(served.sending(cookie).GetMe())
        while not calling.done():
            waiting = await holder.execute(
                "SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            )
            assert not await waiting.fetchall()
        await calling
        await holder.rollback()
