from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import structlog
from procrastinate.schema import SchemaManager
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from responsa_server.domain.knowledge import GiveUp, JobKind, Look, Work
from responsa_server.domain.parts import Health, PartReport
from responsa_server.ingest.jobs import KnowledgeJobs
from responsa_server.stores.postgres import migrate
from responsa_server.stores.postgres.database import Queries
from responsa_server.stores.postgres.jobs import OPTIONS, SMALL_BYTES, JobQueue, JobRank, OtherJobWorkers
from tests.contract.library_harness import PACE, Gate, GatedParser, Harness, running

TEXT = "# Rivers\n\nThe Elbe is 1094 kilometres long.\n"


async def test_a_worker_whose_connections_are_cut_goes_on(harness: Harness) -> None:
    async with harness.working():
        first = await harness.upload(harness.ann, TEXT)
        assert (await harness.ended(harness.ann, first)).error is None
        cut = harness.ask(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE usename = 'responsa_log' AND datname = current_database()"""
        )
        assert len(cut) > 1
        second = await harness.upload(harness.ann, TEXT, "other.md")
        assert (await harness.ended(harness.ann, second)).error is None


async def test_a_large_document_does_not_hold_up_a_small_one_of_another_tenant(harness: Harness) -> None:
    """Without turns, the two oldest jobs would run, and both wait at the gate."""
    large = "The Elbe is long. " * (SMALL_BYTES // 16)
    for number in range(3):
        await harness.upload(harness.ann, large, f"rivers{number}.md")
    small = await harness.upload(harness.eve, TEXT)
    gate = Gate()

    async def wait_if_large(data: bytes) -> None:
        if len(data) > SMALL_BYTES:
            await gate.pass_through()

    queue = JobQueue(harness.urls.log, concurrency=1, pace=PACE)
    async with harness.working(
        harness.ingest(parser=GatedParser(harness.parser, wait_if_large)), queue=queue
    ):
        async with asyncio.timeout(60):
            await gate.reached.wait()
        assert (await harness.ended(harness.eve, small)).error is None
        # The place for small documents takes no large one.
        await harness.until(lambda: harness.ask("SELECT count(*) FROM procrastinate_jobs") == [(3,)])
        assert harness.ask("SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'") == [(1,)]


async def test_a_process_that_runs_no_jobs_tells_whether_another_does(harness: Harness) -> None:
    others = OtherJobWorkers(harness.database)
    assert (await others.check()).health is Health.DOWN

    async def work(*_: object) -> None: ...

    async with at_work(harness, work):
        while (await others.check()).health is not Health.OK:  # noqa: ASYNC110  the queue sends no signal
            await asyncio.sleep(0.02)


async def test_tenants_take_turns(harness: Harness) -> None:
    large = SMALL_BYTES + 1
    late = await defer(harness, "a", size_bytes=large, rank=JobRank.LATE)
    for tenant in "aaaabbc":
        await defer(harness, tenant, size_bytes=large)
    urgent = await defer(harness, "a", rank=JobRank.URGENT)
    order: list[str] = []

    async def work(tenant: str, identity: UUID, _: int) -> None:
        order.append("u" if identity == urgent else "l" if identity == late else tenant)

    async with at_work(harness, work):
        await harness.until(lambda: len(order) == 9)
    assert "".join(order) == "ubcabaaal"


async def test_users_of_a_tenant_take_turns(harness: Harness) -> None:
    """Without turns, the oldest jobs would run first."""
    ann, bob = uuid7(), uuid7()
    names = {ann: "a", bob: "b"}
    users = dict[UUID, str]()
    for user in (ann, ann, ann, bob, bob):
        users[await defer(harness, "acme", size_bytes=SMALL_BYTES + 1, user_id=user)] = names[user]
    order: list[str] = []

    async def work(_: str, identity: UUID, __: int) -> None:
        order.append(users[identity])

    async with at_work(harness, work):
        await harness.until(lambda: len(order) == 5)
    assert "".join(order) == "ababa"


async def test_documents_of_one_user_leave_a_place_to_each_other_user_and_tenant(harness: Harness) -> None:
    """The documents that are read never end. Without these places, the two of Ann would take all of the tenant, and
    those of the tenant all there are."""
    ann, bob, cleo = uuid7(), uuid7(), uuid7()
    slow = [await defer(harness, "acme", user_id=ann) for _ in range(3)]
    gate, begun = Gate(), list[UUID]()

    async def work(_: str, identity: UUID, __: int) -> None:
        begun.append(identity)
        await gate.pass_through()

    async with at_work(harness, work):
        await harness.until(lambda: len(begun) == 1)
        bobs = await defer(harness, "acme", user_id=bob)
        await harness.until(lambda: len(begun) == 2)
        await defer(harness, "acme", user_id=cleo)
        other = await defer(harness, "umbra")
        await harness.until(lambda: len(begun) == 3)
        assert begun == [slow[0], bobs, other]


def test_the_next_job_is_found_without_statistics_of_the_queue(harness: Harness) -> None:
    """When a queue has just grown, PostgreSQL has no statistics of it. It then read the whole queue once for each
    waiting job, which took half a second."""
    with psycopg.connect(harness.urls.log, autocommit=True, options=OPTIONS) as log:
        log.execute(
            """INSERT INTO procrastinate_jobs (queue_name, task_name, args)
            SELECT 'knowledge', 'work', jsonb_build_object('tenant_id', 'tenant' || n % 3, 'user_id', 'user' || n % 2, 'id', n)
            FROM generate_series(1, 9000) AS n"""
        )
        for name, queue in (("fetch", "knowledge"), ("fetch_reserved", "mail")):
            ((plans,),) = log.execute(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {Queries('jobs.sql')[name]}".encode(),
                {
                    "queues": [queue],
                    "worker": None,
                    "concurrency": 2,
                    "served": list[str](),
                    "served_users": list[str](),
                    "of_a_tenant": 4,
                    "usual": 8,
                    "usual_of_a_tenant": 4,
                },
            ).fetchall()
            found = plans[0]["Plan"]
            assert found["Shared Hit Blocks"] + found["Shared Read Blocks"] < 400, plans


async def test_a_receiver_that_hangs_holds_up_neither_runs_nor_other_tenants(harness: Harness) -> None:
    gate, sent, hanging = Gate(), list[str](), Counter[str]()

    async def send(tenant: str, _: UUID, __: int) -> None:
        if tenant == "slow":
            hanging[tenant] += 1
            await gate.pass_through()
        sent.append(tenant)

    async def work(tenant: str, _: UUID, __: int) -> None:
        sent.append(f"work of {tenant}")

    for _ in range(9):
        await defer(harness, "slow", kind=JobKind.DELIVER)
    async with at_work(harness, work, sends=send):
        await harness.until(lambda: hanging["slow"] == 4)
        await defer(harness, "slow", size_bytes=SMALL_BYTES + 1)
        await defer(harness, "other", kind=JobKind.MAIL)
        await harness.until(lambda: sorted(sent) == ["other", "work of slow"])
        assert hanging["slow"] == 4
        gate.opened.set()
        await harness.until(lambda: sent.count("slow") == 9)


async def test_runs_that_enqueue_hold_up_neither_documents_nor_runs_for_one_subject(harness: Harness) -> None:
    gate, begun = Gate(), list[JobRank]()
    await defer(harness, "slow", kind=JobKind.SYNC, rank=JobRank.URGENT)
    usual = [await defer(harness, tenant, kind=JobKind.SYNC) for tenant in ("slow", "slow", "other", "other")]

    async def run(_: str, identity: UUID, __: int) -> None:
        begun.append(JobRank.USUAL if identity in usual else JobRank.URGENT)
        if identity in usual:
            await gate.pass_through()

    async def work(_: str, __: UUID, ___: int) -> None:
        begun.append(JobRank.LATE)

    async with at_work(harness, work, runs=run):
        await harness.until(lambda: begun == [JobRank.URGENT, JobRank.USUAL, JobRank.USUAL])
        await defer(harness, "slow", size_bytes=SMALL_BYTES + 1, rank=JobRank.LATE)
        await harness.until(lambda: begun[3:] == [JobRank.LATE])
        await defer(harness, "slow", kind=JobKind.SYNC, rank=JobRank.URGENT)
        await harness.until(lambda: begun[4:] == [JobRank.URGENT])
        gate.opened.set()
        await harness.until(lambda: begun[5:] == [JobRank.USUAL, JobRank.USUAL])


async def test_every_line_of_a_job_names_it_its_tenant_and_its_operation(harness: Harness) -> None:
    async def work(_: str, __: UUID, ___: int) -> None:
        structlog.get_logger("elsewhere").info("somewhere in the work")

    with capture_logs(processors=[merge_contextvars]) as logs:
        operations = {await defer(harness, tenant): tenant for tenant in ("acme", "umbra")}
        async with at_work(harness, work, concurrency=2):
            await harness.until(lambda: len(logs) == 2)
    assert {(log["tenant"], log["operation"]) for log in logs} == {
        (tenant, f"operations/{operation}") for operation, tenant in operations.items()
    }
    assert all(isinstance(log["job"], int) for log in logs)


async def test_long_runs_of_one_tenant_leave_a_place_to_another(harness: Harness) -> None:
    gate, begun = Gate(), list[str]()

    async def run(tenant: str, _: UUID, __: int) -> None:
        begun.append(tenant)
        await gate.pass_through()

    for tenant in "aa":
        await defer(harness, tenant, kind=JobKind.SYNC)
    async with at_work(harness, run):
        await harness.until(lambda: len(begun) > 0)
        await defer(harness, "b", kind=JobKind.SYNC)
        await harness.until(lambda: begun == ["a", "b"])
        gate.opened.set()
        await harness.until(lambda: begun == ["a", "b", "a"])


async def test_a_run_that_waits_for_its_documents_looks_while_other_runs_read(harness: Harness) -> None:
    gate, reading, ended = Gate(), list[str](), list[str]()

    async def run(tenant: str, _: UUID, __: int) -> float | None:
        if tenant != "waiting":
            reading.append(tenant)
            await gate.pass_through()
        elif len(reading) < 2:
            return Look(0.01)
        ended.append(tenant)
        return None

    async def work(_: str, __: UUID, ___: int) -> None:
        pass

    await defer(harness, "waiting", kind=JobKind.SYNC)
    for tenant in "ab":
        await defer(harness, tenant, kind=JobKind.SYNC)
    async with at_work(harness, work, runs=run):
        await harness.until(lambda: ended == ["waiting"])
        gate.opened.set()
        await harness.until(lambda: sorted(ended) == ["a", "b", "waiting"])


async def test_a_worker_that_lives_keeps_its_jobs_though_its_heartbeat_is_late(harness: Harness) -> None:
    gate, started = Gate(), Counter[UUID]()
    slow = await defer(harness, "slow")

    async def work(_: str, identity: UUID, __: int) -> None:
        started[identity] += 1
        if identity == slow and started[identity] == 1:
            await gate.pass_through()

    silent = replace(PACE, heartbeat=3600.0)
    with capture_logs() as logs:
        async with at_work(harness, work, pace=silent):
            async with asyncio.timeout(60):
                await gate.reached.wait()
            harness.ask("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '30 s'")
            async with at_work(harness, work):
                # A worker that is as late, but holds no lock, has ended.
                lost = uuid7()
                harness.ask(
                    """WITH ended AS (
                        INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '30 s') RETURNING id)
                    INSERT INTO procrastinate_jobs (queue_name, task_name, args, status, worker_id)
                    SELECT 'knowledge', %s, jsonb_build_object('tenant_id', 'lost', 'id', %s::text), 'doing', id FROM ended""",
                    JobKind.INGEST.value,
                    str(lost),
                )
                await harness.until(lambda: started[lost] == 1)
                assert started[slow] == 1
                # Its machine may have vanished, if a worker is silent for longer.
                harness.ask(
                    "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '2 min' WHERE "
                    "last_heartbeat < now() - interval '20 s'"
                )
                await harness.until(lambda: started[slow] == 2)
                await harness.until(lambda: harness.ask("SELECT 1 FROM procrastinate_jobs") == [])
                gate.opened.set()
                told = "a job was assigned to another worker before it ended here"
                await harness.until(lambda: told in [log["event"] for log in logs])
    assert [log["event"] for log in logs].count("a job of a lost worker is assigned again") == 2


async def test_a_job_is_given_up_only_if_it_loses_its_workers_in_succession(harness: Harness) -> None:
    worked, given_up = list[int](), list[tuple[str, UUID, int]]()
    job = await defer(harness, "acme")

    async def work(_: str, __: UUID, attempts: int) -> float:
        worked.append(attempts)
        return 3600.0

    async def give_up(tenant_id: str, identity: UUID, losses: int) -> None:
        given_up.append((tenant_id, identity, losses))

    async def lose() -> None:
        """Make the state that a killed process leaves, and begin again."""
        harness.ask(
            """WITH dead AS (INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id)
            UPDATE procrastinate_jobs SET status = 'doing', worker_id = dead.id FROM dead"""
        )
        before = len(worked) + len(given_up)
        async with at_work(harness, work, give_up=give_up, max_losses=1):
            await harness.until(
                lambda: (
                    len(worked) + len(given_up) > before
                    and not harness.ask("SELECT 1 FROM procrastinate_jobs WHERE status = 'doing'")
                )
            )

    for _ in range(3):
        await lose()  # each of these attempts ends in order
        assert harness.ask("SELECT losses FROM procrastinate_jobs") == [(0,)]
    harness.ask("UPDATE procrastinate_jobs SET losses = 1")
    await lose()
    assert (len(worked), given_up) == (3, [("acme", job, 2)])
    assert harness.ask("SELECT 1 FROM procrastinate_jobs") == []


async def test_a_job_loses_no_worker_while_its_process_lives(harness: Harness) -> None:
    gate, started = Gate(), list[int]()
    await defer(harness, "acme")

    async def work(_: str, __: UUID, attempts: int) -> None:
        started.append(attempts)
        if attempts == 0:
            await gate.pass_through()

    async with at_work(harness, work, give_up=never, max_losses=0):
        async with asyncio.timeout(60):
            await gate.reached.wait()
        harness.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'responsa_log' AND datname = current_database()"
        )
        await harness.until(lambda: len(started) == 2)
        await harness.until(lambda: harness.ask("SELECT 1 FROM procrastinate_jobs") == [])


async def never(_: str, __: UUID, losses: int) -> None:
    raise AssertionError(losses)


async def defer(
    harness: Harness,
    tenant: str,
    *,
    size_bytes: int = 0,
    rank: JobRank = JobRank.USUAL,
    kind: JobKind = JobKind.INGEST,
    user_id: UUID | None = None,
) -> UUID:
    """Enqueue a job without an operation."""
    identity = uuid7()
    async with harness.database.tenant(tenant) as connection:
        await harness.queue.defer(
            connection, kind, tenant, identity, size_bytes=size_bytes, rank=rank, user_id=user_id
        )
    return identity


def at_work(
    harness: Harness,
    work: Work,
    *,
    sends: Work | None = None,
    runs: Work | None = None,
    give_up: GiveUp | None = None,
    **options: Any,
) -> AbstractAsyncContextManager[None]:
    """Run jobs one at a time during the block. sends, runs: the work of jobs that send, and of jobs that run sources.
    give_up: ends those that ingest. options: of the queue."""
    all_work = {
        JobKind.INGEST: work,
        JobKind.DELIVER: sends or work,
        JobKind.MAIL: sends or work,
        JobKind.SYNC: runs or work,
    }
    queue = JobQueue(harness.urls.log, **{"concurrency": 1, "pace": PACE, **options})
    return running(queue, all_work, {} if give_up is None else {JobKind.INGEST: give_up})


async def test_a_worker_without_its_database_can_be_stopped(harness: Harness) -> None:
    nowhere = JobQueue("postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=1", concurrency=2, pace=PACE)
    async with asyncio.timeout(30), harness.working(queue=nowhere) as jobs:
        assert jobs.alive
        assert await jobs.check() == PartReport(Health.OK)
    assert not jobs.alive
    assert (await jobs.check()).health is Health.DOWN


async def test_a_job_that_fails_unexpectedly_is_counted(harness: Harness) -> None:
    async def send(_: str, __: UUID, ___: int) -> None:
        raise LookupError

    identity = await defer(harness, "acme", kind=JobKind.DELIVER)
    queue = JobQueue(harness.urls.log, concurrency=1, pace=PACE)
    async with running(queue, {JobKind.DELIVER: send}):
        await harness.until(lambda: bool(queue.errors.read()))
    [group] = queue.errors.read()
    assert (group.error, group.last_id) == ("LookupError", f"{JobKind.DELIVER.value}/{identity}")


async def test_a_job_waits_for_a_worker_that_knows_its_kind(harness: Harness) -> None:
    done = list[str]()

    async def work(tenant: str, _: UUID, __: int) -> None:
        done.append(tenant)

    # They are the oldest of the queues that share places.
    await defer(harness, "waits", kind=JobKind.SCHEDULE)
    await defer(harness, "waits", kind=JobKind.REINDEX)
    await defer(harness, "acme")
    await defer(harness, "acme", kind=JobKind.SYNC)
    async with at_work(harness, work):
        await harness.until(lambda: harness.ask("SELECT count(*) FROM procrastinate_jobs") == [(2,)])
    assert done == ["acme", "acme"]
    assert harness.ask("SELECT status::text, count(*) FROM procrastinate_jobs GROUP BY 1") == [("todo", 2)]


async def test_jobs_that_are_taken_no_more_are_told(harness: Harness) -> None:
    fault = RuntimeError("nobody foresaw this")

    class Broken(JobQueue):
        """A queue that fails by itself."""

        async def run(
            self, work: Mapping[JobKind, Work], give_up: Mapping[JobKind, GiveUp] | None = None
        ) -> None:
            raise fault

    with capture_logs() as logs:
        queue = Broken("", concurrency=1)
        jobs = KnowledgeJobs(queue, harness.ingest(), harness.documents, harness.operations)
        await jobs.start()
        async with asyncio.timeout(30):
            while jobs.alive:  # noqa: ASYNC110  only this attribute shows the end
                await asyncio.sleep(0)
        assert (await jobs.check()).health is Health.DOWN
        await jobs.close()
    told = [(log["event"], log["exc_info"]) for log in logs if log["log_level"] == "error"]
    assert told == [("the task that takes jobs from the queue has ended", fault)]
    [group] = queue.errors.read()
    assert (group.error, group.count, group.last_id) == ("RuntimeError", 1, "jobs")


async def test_jobs_carry_ids_alone(harness: Harness) -> None:
    operation = await harness.upload(harness.ann, TEXT, "rivers.md")
    stored = harness.ask("SELECT task_name, args FROM procrastinate.procrastinate_jobs")
    ids = {"tenant_id": "acme", "id": str(operation.id), "user_id": str(harness.ann.user_id)}
    assert stored == [(JobKind.INGEST.value, ids)]


def test_the_queues_schema_is_that_of_the_locked_library() -> None:
    text = (migrate.folder() / "0005_pre_jobs.sql").read_text(encoding="utf-8")
    marked = re.search(
        r"^-- begin procrastinate (\S+)\n(.*)^-- end procrastinate$", text, re.DOTALL | re.MULTILINE
    )
    assert marked is not None
    assert marked[1] == version("procrastinate")
    assert marked[2].strip() == SchemaManager.get_schema().strip()
    lock = (Path(__file__).resolve().parents[2] / "locks/requirements.lock").read_text(encoding="utf-8")
    assert re.search(rf"^procrastinate=={re.escape(marked[1])}\b", lock, re.MULTILINE)
