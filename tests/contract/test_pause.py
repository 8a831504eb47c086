"""The pause of a restored instance, in the database: which turns workers claim, which jobs run, and how it ends."""

from __future__ import annotations

import asyncio
from uuid import UUID

from uuid_utils.compat import uuid7

from responsa_server.domain.knowledge import JobKind
from responsa_server.domain.turns import OnBusy, TurnState
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.migrate import migrate
from responsa_server.stores.postgres.pause import PauseWatch, PostgresPause
from tests.conftest import DatabaseUrls
from tests.contract.library_harness import PACE, Harness, running
from tests.contract.turn_steps import Store, cancelled, new_turn


async def restored(urls: DatabaseUrls, database: Database) -> PostgresPause:
    """Do what a restore does in a database that has all migrations."""
    assert await migrate(urls.owner, restoring=True) == []
    pause = PostgresPause(database)
    assert (await pause.state()).restoring  # pyright: ignore[reportOptionalMemberAccess]
    await pause.hold()
    return pause


async def test_turns_of_the_backup_wait_and_new_ones_are_claimed(store: Store, database: Database) -> None:
    ran, waited, new = new_turn(), new_turn(pending=True), new_turn(pending=True)
    await store.take_all(ran, waited)
    store.urls.ask("UPDATE responsa.turn SET begin_time = begin_time - interval '1 day'")
    pause = await restored(store.urls, database)
    await store.take(new)
    assert [one.claim.turn_id for one in await store.claim_all()] == [new.id]
    state = await pause.state()
    assert state is not None
    assert (state.restoring, state.turns, state.jobs) == (False, 2, 0)
    await pause.end()
    assert await pause.state() is None
    claimed = {one.claim.turn_id: one for one in await store.claim_all()}
    assert claimed.keys() == {ran.id, waited.id}
    # The original's worker does not count as lost, and the pause not as time of the turn.
    assert (claimed[ran.id].losses, claimed[ran.id].age_seconds) == (0, 0.0)


async def test_held_turns_are_ended_from_the_last_of_a_conversation_to_the_first(
    store: Store, database: Database
) -> None:
    first = await store.make()
    second = await store.make(conversation=first.conversation_id, on_busy=OnBusy.QUEUE)
    pause = await restored(store.urls, database)
    assert [one.id for one in await pause.find_held()] == [second.id, first.id]
    await store.cancel(store.ann, second.id, True, cancelled)
    assert [one.id for one in await pause.find_held()] == [first.id]
    assert await store.state(second) is TurnState.CANCELLED


async def test_no_job_runs_until_the_end_of_the_pause(harness: Harness, database: Database) -> None:
    pause = await restored(harness.urls, database)
    done = list[str]()

    async def work(tenant: str, _: UUID, __: int) -> None:
        done.append(tenant)

    kinds = (JobKind.INGEST, JobKind.MAIL, JobKind.DELIVER, JobKind.SYNC)
    for kind in kinds:
        async with database.tenant("acme") as connection:
            await harness.queue.defer(connection, kind, "acme", uuid7())
    queue = JobQueue(harness.urls.log, concurrency=1, pace=PACE)

    def beats() -> set[tuple[object, ...]]:
        return set(harness.ask("SELECT id, last_heartbeat FROM procrastinate_workers"))

    async with running(queue, dict.fromkeys(kinds, work)):
        await harness.until(lambda: len(beats()) == 3)
        first = beats()
        # By then, each of the three workers has looked for jobs.
        await harness.until(lambda: not first & beats())
        assert done == []
        await pause.end()
        await harness.until(lambda: len(done) == len(kinds))


async def test_a_server_notices_the_end_of_the_pause(database: Database, database_urls: DatabaseUrls) -> None:
    watch = PauseWatch(await restored(database_urls, database))
    assert await watch.start() is not None
    assert watch.paused()
    assert "responsa activate" in (await watch.check()).detail
    await PostgresPause(database).end()
    async with asyncio.timeout(30):
        while watch.paused():  # noqa: ASYNC110  another connection ends it
            await asyncio.sleep(0.02)
    assert (await watch.check()).detail == ""
    await watch.close()
