from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest
from procrastinate.schema import SchemaManager
from structlog.testing import capture_logs

from responsa_server.domain.knowledge import JobKind, Work
from responsa_server.domain.parts import Health, PartReport
from responsa_server.ingest.jobs import KnowledgeJobs
from responsa_server.stores.postgres import migrate
from responsa_server.stores.postgres.jobs import JobQueue
from tests.contract.conftest import People
from tests.contract.library_house import PACE, House

TEXT = "# Rivers\n\nThe Elbe is 1094 kilometres long.\n"


async def test_a_worker_whose_connections_are_cut_goes_on(house: House, people: People) -> None:
    async with house.working():
        first = await house.upload(people.ann, TEXT)
        assert (await house.ended(people.ann, first)).error is None
        cut = house.ask(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE usename = 'responsa_log' AND datname = current_database()"""
        )
        assert len(cut) > 1
        second = await house.upload(people.ann, TEXT, "other.md")
        assert (await house.ended(people.ann, second)).error is None


async def test_a_worker_without_its_database_can_be_stopped(house: House) -> None:
    nowhere = JobQueue("postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=1", concurrency=2, pace=PACE)
    async with asyncio.timeout(30), house.working(queue=nowhere) as jobs:
        assert jobs.alive
        assert await jobs.check() == PartReport(Health.OK)
    assert not jobs.alive
    assert (await jobs.check()).health is Health.DOWN


async def test_jobs_that_are_taken_no_more_are_told(house: House) -> None:
    fault = RuntimeError("nobody foresaw this")

    class Broken:
        """A job runner that fails by itself."""

        async def run(self, work: Mapping[JobKind, Work]) -> None:
            raise fault

    with capture_logs() as logs:
        jobs = KnowledgeJobs(Broken(), house.ingest(), house.documents, house.operations)
        await jobs.start()
        async with asyncio.timeout(30):
            while jobs.alive:  # noqa: ASYNC110  only this attribute shows the end
                await asyncio.sleep(0)
        assert (await jobs.check()).health is Health.DOWN
        await jobs.close()
    told = [(one["event"], one["exc_info"]) for one in logs if one["log_level"] == "error"]
    assert told == [("the task that takes jobs ended", fault)]


async def test_jobs_carry_ids_alone(house: House, people: People) -> None:
    operation = await house.upload(people.ann, TEXT, "rivers.md")
    stored = house.ask("SELECT task_name, args FROM procrastinate.procrastinate_jobs")
    assert stored == [(JobKind.INGEST.value, {"tenant_id": "acme", "id": str(operation.id)})]


async def test_the_roles_see_their_own_side_of_the_queue(house: House, people: People) -> None:
    await house.upload(people.ann, TEXT, "rivers.md")
    denied = psycopg.errors.InsufficientPrivilege
    with psycopg.connect(house.urls.app, autocommit=True) as app:
        for query in (
            "SELECT args FROM procrastinate.procrastinate_jobs",
            "UPDATE procrastinate.procrastinate_jobs SET status = 'failed'",
            "DELETE FROM procrastinate.procrastinate_jobs",
            "SELECT * FROM procrastinate.procrastinate_events",
        ):
            with pytest.raises(denied):
                app.execute(query.encode())
    with psycopg.connect(house.urls.log, autocommit=True) as log:
        assert log.execute("SELECT count(*) FROM procrastinate.procrastinate_jobs").fetchone() == (1,)
        for table in (
            "collection",
            "document",
            "document_version",
            "operation",
            "creation_request",
            "passage",
        ):
            with pytest.raises(denied):
                log.execute(f"SELECT * FROM responsa.{table}".encode())


async def test_without_a_tenant_nothing_of_the_library_is_seen_or_written(
    house: House, people: People
) -> None:
    await house.take_in(people.ann, TEXT, "rivers.md")
    async with house.database.no_tenant() as connection:
        for table in ("collection", "document", "document_version", "operation", "creation_request"):
            cursor = await connection.execute(f"SELECT count(*) FROM responsa.{table}".encode())
            assert await cursor.fetchone() == (0,)
            cursor = await connection.execute(f"DELETE FROM responsa.{table}".encode())
            assert cursor.rowcount == 0
    async with house.database.tenant("rival") as connection:
        cursor = await connection.execute("UPDATE responsa.operation SET epoch = 9")
        assert cursor.rowcount == 0


def test_the_queues_schema_is_that_of_the_locked_library() -> None:
    text = (migrate.folder() / "0005_pre_jobs.sql").read_text(encoding="utf-8")
    marked = re.search(
        r"^-- begin procrastinate (\S+)\n(.*)^-- end procrastinate$", text, re.DOTALL | re.MULTILINE
    )
    assert marked is not None
    assert marked[1] == version("procrastinate")
    assert marked[2].strip() == SchemaManager.get_schema().strip()
    lock = (Path(__file__).resolve().parents[2] / "requirements.lock").read_text(encoding="utf-8")
    assert re.search(rf"^procrastinate=={re.escape(marked[1])}\b", lock, re.MULTILINE)
