"""Runs of sources on a real library: a SQLite database that changes between runs."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hmac
import json
import zlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from responsa_etl.domain import ConnectedFolder, FolderKind, NewSource, SourceChange
from responsa_etl.sources import sandbox
from responsa_etl.sources.declarations import DeclaredConnections
from responsa_etl.sources.mapping_text import read_mapping
from responsa_etl.sources.notifying import Delivering
from responsa_etl.sources.service import SourcesPart
from responsa_etl.sources.syncing import Scheduling
from responsa_etl.sources.webhooks import DeclaredWebhooks
from responsa_etl.stores.sources import PostgresSources
from responsa_formats.parsers.table import PDF
from responsa_lab.testing.loopback import LoopbackExchange, LoopbackRequest, LoopbackServer
from responsa_server.domain.errors import AlreadyExists, NotFound, Precondition
from responsa_server.domain.knowledge import Chunking, CollectionFields, JobKind, Operation, OwnershipLost
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.notifications import DeliveryState
from responsa_server.domain.parts import Health, PartReport
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.runs import RunClaim
from responsa_server.outbound.connector import Connector
from responsa_server.stores.postgres.database import Connection
from responsa_server.stores.postgres.jobs import JobRank
from responsa_server.telemetry.instruments import DELIVERIES
from tests.etl.office import MAPPING, Office
from tests.raising import raises


async def test_the_status_names_a_source_whose_connection_is_gone(office: Office, tmp_path: Path) -> None:
    sources = PostgresSources(office.harness.database, office.harness.queue, uuid7)
    asking: list[Principal | None] = [office.principal]
    part = SourcesPart(sources, DeclaredConnections(tmp_path), office.folders, lambda: asking[-1])
    assert await part.check() == PartReport(Health.OK)
    (tmp_path / "staff.toml").unlink()
    report = await part.check()
    assert report.health is Health.DEGRADED
    assert report.detail.startswith("The source notes cannot be read: its connection “staff” is gone")
    # Neither strangers nor another tenant learn of it.
    for stranger in (None, replace(office.principal, tenant_id="other")):
        asking.append(stranger)
        assert await part.check() == PartReport(Health.OK)


async def test_documents_follow_the_rows(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    # A row of p1 fails, so all documents of p1 wait. Two rows have one key.
    office.change("UPDATE note SET note = NULL WHERE id = 5", "INSERT INTO note VALUES (2, 'p2', 'Again.')")
    first = await office.run()
    assert (first.error, first.counts) == (
        None,
        {"created": 4, "updated": 0, "deleted": 0, "unchanged": 0, "failed": 2, "skipped": 0},
    )
    assert sorted(office.documents()) == ["0", "3", "4", "7"]
    assert {key for key, _ in await office.failed()} == {"5", "2"}
    assert await office.record("p0") == (["0", "4"], 0, first.id)
    assert await office.record("p1") == ([], 1, first.id)

    # A retry makes the documents of the failed rows and of their subjects, and no others, also if it is killed on the way.
    office.change(
        "UPDATE note SET note = 'It sings.' WHERE id = 5", "UPDATE note SET note = 'It rests.' WHERE id = 4"
    )
    killed = await office.begin(monkeypatch, 1, retry=True)
    assert {key for key, _ in await office.failed()} == {"5", "2"}
    retried = await office.finish(killed)
    assert (retried.counts["created"], retried.counts["updated"], retried.counts["failed"]) == (2, 0, 1)
    assert sorted(office.documents()) == ["0", "1", "3", "4", "5", "7"]
    assert office.documents()["4"][1] == "The heron number 4 fishes."
    assert [key for key, _ in await office.failed()] == ["2"]

    office.change(
        "DELETE FROM note WHERE note = 'Again.'",
        "UPDATE note SET note = 'It dives.' WHERE id = 0",
        "DELETE FROM note WHERE id = 7",
        "INSERT INTO note VALUES (8, 'p0', 'It is late.')",
    )
    second = await office.run()
    assert second.error is None
    assert (second.counts["deleted"], second.counts["updated"]) == (1, 2)
    found = office.documents()
    assert sorted(found) == ["0", "1", "2", "3", "4", "5", "6", "8"]
    assert (found["0"], found["5"], found["8"]) == (
        ("p0", "It dives."),
        ("p1", "It sings."),
        ("p0", "It is late."),
    )
    assert await office.failed() == []
    assert (await office.run()).counts == {
        "created": 0, "updated": 0, "deleted": 0, "unchanged": 8, "failed": 0, "skipped": 0,
    }  # fmt: skip
    # A run for another subject has not read the rows of p1.
    await office.run("p0")
    keys, failed, newest = await office.record("p1")
    assert (keys, failed) == (["1", "5"], 0)
    run = await office.harness.operations.get(office.principal, newest) if newest else None
    assert run is not None
    assert run.subject == ""


async def test_the_failure_of_a_row_without_a_key_is_kept_until_all_rows_are_tried(office: Office) -> None:
    office.change("UPDATE note SET id = NULL WHERE id IN (1, 2)")
    assert (await office.run()).counts["failed"] == 2
    office.change("UPDATE note SET id = 1 WHERE id IS NULL AND mail = 'p1'")
    # Neither run makes the document of the row that can be read now.
    assert (await office.run("p2")).counts["failed"] == 1
    assert (await office.run(retry=True)).counts["failed"] == 1
    assert [key for key, _ in await office.failed()] == ["", ""]
    assert "1" not in office.documents()
    assert (await office.run()).counts["created"] == 2
    assert len(await office.failed()) == 1


async def test_what_a_run_must_not_do(office: Office) -> None:
    await office.run()
    # Nothing of a result is used if one of its rows is too long.
    office.change(
        "UPDATE note SET note = 'It dives.' WHERE id = 0",
        f"INSERT INTO note VALUES (9, 'p9', zeroblob({17 << 20}))",
    )
    long = await office.run()
    assert long.error is not None
    assert long.error.metadata["fault"] == "TOO_LARGE"
    assert (len(office.documents()), office.documents()["0"][1]) == (8, "The heron number 0 fishes.")
    office.change("DELETE FROM note WHERE id = 9")
    # Many deletions, and a column that is gone, change nothing.
    office.change("DELETE FROM note WHERE id > 4")
    stopped = await office.run()
    assert stopped.error is not None
    assert stopped.error.reason.value == "SOURCE_DELETIONS"
    assert stopped.error.metadata == {"source": "sources/notes", "deletions": "3", "documents": "8"}
    assert (len(office.documents()), office.documents()["0"][1]) == (8, "The heron number 0 fishes.")
    # The mapping may allow more, up to half of the documents.
    sources = PostgresSources(office.harness.database, office.harness.queue, uuid7)
    allowing = SourceChange(mapping="deletions_percent = 30\n" + MAPPING)
    await sources.update(office.principal, "notes", allowing, ("staff", "people"), "")
    assert "delete 3 of the 8" in str((await office.run()).error)
    await sources.update(office.principal, "notes", SourceChange(mapping=MAPPING), ("staff", "people"), "")
    # A run for one subject touches nobody else's documents.
    office.change("UPDATE note SET note = 'It dives.' WHERE id = 1")
    one = await office.run("p0")
    assert (one.error, one.counts["updated"], one.counts["deleted"]) == (None, 1, 0)
    assert office.documents()["1"][1] == "The heron number 1 fishes."
    # A row that fails is not gone, even if its subject cannot be read.
    office.change("UPDATE note SET note = NULL WHERE id = 0", "UPDATE note SET mail = NULL WHERE id = 4")
    kept = await office.run("p0")
    assert (kept.error, kept.counts["deleted"], kept.counts["failed"]) == (None, 0, 2)
    assert {"0", "4"} < office.documents().keys()
    office.change(
        "UPDATE note SET note = 'It dives.' WHERE id = 0", "UPDATE note SET mail = 'p0' WHERE id = 4"
    )
    # The new subject of a document never reads what was about the old one.
    office.change("UPDATE note SET mail = 'p9', note = 'It moved.' WHERE id = 2")
    confirmed = await office.run(confirmed=True)
    assert (confirmed.error, confirmed.counts["deleted"]) == (None, 3)
    assert sorted(office.documents()) == ["0", "1", "2", "3", "4"]
    assert office.documents()["2"] == ("p9", "It moved.")
    versions = office.harness.ask(
        "SELECT newest_version FROM responsa.document WHERE source_key = 'notes/note/2.md'"
    )
    assert versions == [(1,)]
    # All documents move to another collection.
    await office.harness.library.create_collection(
        office.principal, "others", CollectionFields(""), Chunking()
    )
    moved = SourceChange(mapping=MAPPING.replace('"people"', '"others"'))
    await PostgresSources(office.harness.database, office.harness.queue, uuid7).update(
        office.principal, "notes", moved, ("staff", "others"), ""
    )
    assert (await office.run()).counts["updated"] == 5
    places = office.harness.ask(
        "SELECT c.slug, count(*) FROM responsa.document AS d JOIN "
        "responsa.collection AS c ON c.id = d.collection_id GROUP BY 1"
    )
    assert places == [("others", 5)]
    office.change("ALTER TABLE note RENAME COLUMN mail TO email")
    with capture_logs() as logs:
        broken = await office.run()
    assert broken.error is not None
    assert broken.error.metadata["fault"] == "QUERY"
    (line,) = [line for line in logs if line["event"] == "source_run_failed"]
    assert (line["tenant"], line["source"], line["cause"]) == ("acme", "sources/notes", broken.error.message)
    assert len(office.documents()) == 5


async def test_runs_for_subjects_wait_and_a_change_is_noticed_once(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, caller, first_id, jobs = office.runs, office.principal, uuid7(), list[UUID]()
    defer = office.harness.queue.defer

    async def noted(
        connection: Connection, kind: JobKind, tenant_id: str, identity: UUID, **more: Any
    ) -> None:
        if kind is JobKind.SYNC:
            jobs.append(identity)
        await defer(connection, kind, tenant_id, identity, **more)

    monkeypatch.setattr(office.harness.queue, "defer", noted)

    async def notify(subject: str, request_id: UUID | None = None) -> Operation:
        (one,) = await runs.notify(caller, subject, ["notes"], "test completed", request_id, named=True)
        return one

    whole = await runs.start(caller, "notes", "", confirmed=False)
    assert await runs.begin("acme", whole.id) is not None
    first = await notify("p0", first_id)
    assert (await notify("p0")).id == (await notify("p0", first_id)).id == first.id
    await raises(AlreadyExists, notify("p1", first_id), "different subject")
    second = await runs.start(caller, "notes", "p1", confirmed=False)
    with pytest.raises(OwnershipLost):  # another run works
        await runs.begin("acme", first.id)
    await raises(NotFound, runs.notify(caller, "p0", ["notes", "orders"], "", None, named=True))
    assert jobs == [whole.id]
    await office.finish(whole)
    assert jobs == [whole.id, first.id]
    await runs.wake("acme", whole.id)  # as after a crash
    await runs.wake("acme", uuid7())  # the record of a run was deleted
    assert jobs == [whole.id, first.id]
    # What changes before the run begins is part of it; what changes later needs another one.
    office.change("UPDATE note SET note = 'It dives.' WHERE id IN (0, 1)")
    await office.finish(first)
    assert [office.documents()[one][1] for one in "01"] == ["It dives.", "The heron number 1 fishes."]
    assert (await notify("p0")).id != first.id
    await office.finish(second)
    assert office.documents()["1"][1] == "It dives."
    assert jobs[2] == second.id
    # A run that a call adds while the run before ends.
    with psycopg.connect(office.harness.urls.superuser) as adding:
        adding.execute("SELECT FROM responsa.source FOR NO KEY UPDATE")
        adding.execute(
            "UPDATE responsa.operation SET stage = 'queued', epoch = 0 WHERE id = %s", (second.id,)
        )
        waking = asyncio.create_task(runs.wake("acme", first.id))
        await office.harness.until(
            lambda: waking.done() or office.harness.ask("SELECT 1 FROM pg_locks WHERE NOT granted") != []
        )
    await waking
    assert jobs[-1] == second.id
    await office.finish(second)
    assert (await office.harness.operations.get(caller, first.id)).cause == "test completed"


async def test_a_run_for_one_subject_goes_before_other_jobs_and_the_documents_of_other_runs_after_them(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, who, ranks, documents = office.runs, office.principal, dict[UUID, JobRank](), list[JobRank]()
    defer = office.harness.queue.defer

    async def noted(
        connection: Connection, kind: JobKind, tenant_id: str, identity: UUID, **more: Any
    ) -> None:
        if kind is JobKind.SYNC:
            ranks[identity] = more["rank"]
        if kind is JobKind.INGEST:
            documents.append(more["rank"])
        await defer(connection, kind, tenant_id, identity, **more)

    monkeypatch.setattr(office.harness.queue, "defer", noted)
    order = [await runs.start(who, "notes", one, confirmed=False) for one in ("p0", "", "p1")]
    for one in order:
        await office.finish(one)
    expected = (JobRank.URGENT, JobRank.USUAL, JobRank.URGENT)
    assert ranks == {one.id: rank for one, rank in zip(order, expected, strict=True)}
    assert documents == [*2 * [JobRank.URGENT], *6 * [JobRank.LATE]]


async def test_a_service_reports_changes_in_the_name_of_the_sources_administrator(
    office: Office,
) -> None:
    service = replace(office.harness.bob, role=Role.SERVICE)

    async def notified(subject: str) -> Operation:
        (one,) = await office.runs.notify(service, subject, ["notes"], "", None, named=False)
        await office.finish(one)
        return await office.harness.operations.get(service, one.id)

    office.harness.ask("UPDATE responsa.app_user SET role = 'service' WHERE id = %s", service.user_id)
    assert (await notified("p0")).counts["created"] == 2
    assert office.harness.ask("SELECT DISTINCT owner_id FROM responsa.document") == [
        (office.principal.user_id,)
    ]
    office.harness.ask("UPDATE responsa.app_user SET role = 'user' WHERE id = %s", office.principal.user_id)
    refused = await notified("p1")
    assert refused.error is not None
    assert refused.error.reason.value == "ROLE_REQUIRED"


async def test_a_schedule_begins_runs_of_a_folder(office: Office) -> None:
    folder = office.folder / "files"
    folder.mkdir()
    (folder / "long.md").write_text("a" * 1001)
    (folder / "short.md").write_text("# Short")
    (folder / "tool.py").write_text("level = 415\n")
    connected = ConnectedFolder(FolderKind.PATH, str(folder), "people", "30 2 * * *")
    made = await office.administration.create(office.principal, NewSource("files", "", "", connected))
    assert (made.folder, made.connection, made.check_time) == (connected, "path", None)
    harness = office.harness
    harness.ask("UPDATE responsa.source SET next_run_time = now() - interval '1 hour' WHERE id = 'files'")
    schedule = UUID(str(harness.ask("SELECT schedule_id FROM responsa.source WHERE id = 'files'")[0][0]))
    assert await Scheduling(office.runs, office.sandboxes).work("acme", schedule, 0) is not None
    began = harness.ask("SELECT id FROM responsa.operation WHERE source_id = 'files' AND cause = 'schedule'")
    run = await office.finish(await harness.operations.get(office.principal, UUID(str(began[0][0]))))
    assert (run.counts["created"], run.counts["failed"]) == (1, 1)
    problem = harness.ask("SELECT key, problem FROM responsa.source_failure WHERE source_id = 'files'")
    assert problem == [
        (
            "long.md",
            "The file has more than 1,000 bytes, more than a file of a connected folder may have.",
        )
    ]
    coded = replace(connected, source_code=True)
    await office.administration.update(office.principal, "files", SourceChange(folder=coded), "")
    run = await office.run(source="files")
    assert (run.counts["created"], run.counts["unchanged"]) == (1, 1)
    # What cannot be listed is not gone.
    folder.rename(office.folder / "elsewhere")
    run = await office.run(source="files", confirmed=True)
    assert run.error is not None
    assert (run.error.reason, run.error.metadata["fault"]) == ("SOURCE_UNREADABLE", "UNREACHABLE")
    found = await office.administration.sources.get(office.principal, "files")
    assert (found.document_count, found.failed_count, found.problem) == (2, 1, run.error.message)


async def test_a_schedule_begins_one_run_and_makes_up_for_missed_times_once(office: Office) -> None:
    harness, work = office.harness, Scheduling(office.runs, office.sandboxes).work
    sources = PostgresSources(harness.database, harness.queue, uuid7)

    async def scheduled(mapping: str, after: str = "1 hour") -> UUID:
        """The id of a new schedule."""
        found, problems = read_mapping(mapping)
        assert found is not None, problems
        due = None if found.schedule is None else found.schedule.after(datetime.now(UTC))
        await sources.update(
            office.principal, "notes", SourceChange(mapping=mapping), ("staff", "people"), "", due
        )
        harness.ask(
            f"UPDATE responsa.source SET next_run_time = now() + '{after}' WHERE next_run_time IS NOT NULL"
        )
        return UUID(str(harness.ask("SELECT schedule_id FROM responsa.source")[0][0]))

    nightly = 'schedule = "30 2 * * *"\n' + MAPPING
    waiting = await scheduled(nightly)
    pause = await work("acme", waiting, 0)
    assert pause is not None
    assert 3500 < pause <= 3600
    missed = await scheduled(nightly, after="-3 days")
    assert await work("acme", waiting, 0) is None  # the earlier schedule has gone
    pauses = await asyncio.gather(*(work("acme", missed, 0) for _ in range(4)))
    assert all(pause is not None and 0 < pause <= 86_400 for pause in pauses)
    [(begun, cause)] = harness.ask("SELECT id, cause FROM responsa.operation WHERE kind = 'sync'")
    assert cause == "schedule"
    # While a run for all subjects works, another one is left out.
    assert await work("acme", await scheduled(nightly, after="-1 hour"), 0) is not None
    assert harness.ask("SELECT count(*) FROM responsa.operation WHERE kind = 'sync'") == [(1,)]
    ended = await office.finish(await harness.operations.get(office.principal, UUID(str(begun))))
    assert (ended.error, ended.counts["created"]) == (None, 8)
    await sources.update(office.principal, "notes", SourceChange(mapping=MAPPING), ("staff", "people"), "")
    assert (await sources.get(office.principal, "notes")).next_run_time is None


async def test_the_end_of_a_run_is_announced_once_and_delivered_with_a_signature(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, seen, answers = b"k" * 32, list[LoopbackRequest](), deque[str]()
    (office.folder / "webhooks").mkdir()

    def declare(name: str, url: str, *more: str) -> None:
        lines = [f'url = "{url}"', 'secret = { env = "KEY" }', 'tenants = ["acme"]', "seconds = 0.5", *more]
        (office.folder / "webhooks" / f"{name}.toml").write_text("\n".join(lines))

    async def receive(exchange: LoopbackExchange) -> None:
        seen.append(exchange.request)
        match answers.popleft() if answers else "":
            case "broken":
                await exchange.reply(500, b"")
            case "elsewhere":
                await exchange.reply(302, b"", {"location": "http://169.254.169.254/"})
            case "huge":
                await exchange.reply(200, b"x" * 100_000)
            case "never":
                await asyncio.Event().wait()
            case _:
                await exchange.reply(204, b"")

    server, connector = LoopbackServer(receive), Connector()
    await server.start()
    try:
        declare("room", f"{server.url}/hook?a=b", 'allow_private = ["127.0.0.1"]')
        declare("closed", "https://127.0.0.1:9/")
        declare("proud", "https://example.org/", 'events = ["source.succeeded"]')
        declare("others", "https://example.org/", 'events = ["source.failed"]')
        webhooks = DeclaredWebhooks(office.folder / "webhooks")
        secret = "whsec_" + base64.b64encode(key).decode()
        delivering = Delivering(office.deliveries, webhooks, connector, lambda _: secret, pauses=(1.0,) * 3)

        office.harness.ask(
            "UPDATE responsa.app_user SET email = 'ann@example.org' WHERE id = %s", office.principal.user_id
        )
        await office.run()
        proud = await office.deliveries.list(office.principal, ListQuery(50, Order("create_time")))
        assert [(item.webhook, item.event.value) for item in proud.items] == [("proud", "source.succeeded")]
        office.change("DELETE FROM note WHERE id > 4")
        stopped = await office.run()
        await office.notifier().announce_end("acme", stopped.id)  # as after a crash
        page = await office.deliveries.list(office.principal, ListQuery(50, Order("create_time")))
        by_webhook = {item.webhook: item for item in page.items if item.operation_id == stopped.id}
        assert {one.event.value for one in by_webhook.values()} == {"source.confirmation_wanted"}
        assert by_webhook.keys() == {"room", "closed"}
        mails = "SELECT kind, email, about, events FROM responsa.mail ORDER BY id"
        ((notice,),) = office.harness.ask("SELECT id FROM responsa.notice")
        assert await office.notifier().notice("acme", notice, 0) is None
        assert await office.notifier().notice("acme", notice, 0) is None  # as after a crash
        assert office.harness.ask(mails) == [("run_stopped", "ann@example.org", "notes", 1)]
        for _ in range(2):  # within the hour
            await office.run()
            waits = await office.notifier().notice("acme", notice, 0)
            assert waits is not None
            assert 3500 < waits <= 3600
        office.harness.ask("UPDATE responsa.notice SET send_time = send_time - interval '1 hour'")
        assert await office.notifier().notice("acme", notice, 0) is None
        assert office.harness.ask(mails)[1:] == [("run_stopped", "ann@example.org", "notes", 2)]
        room = by_webhook["room"].id
        answers.extend(["broken", "elsewhere", "huge", "never"])
        problems, outcomes = list[str](), list[str]()
        monkeypatch.setattr(DELIVERIES, "_write", lambda _, labels: outcomes.append(labels["outcome"]))
        for pause in (1.0, 1.0, 1.0, None):
            assert await delivering.work("acme", room, 0) == pause
            tried = await office.deliveries.find("acme", room)
            assert tried is not None
            problems.append(tried.attempt.problem)
        assert [problem.split()[-1] for problem in problems] == ["500.", "followed.", "bytes.", "s."]
        assert (tried.state, tried.attempts, len(seen)) == (DeliveryState.FAILED, 4, 4)
        assert await delivering.work("acme", room, 0) is None  # it has ended

        assert (await office.deliveries.again(office.principal, room)).attempts == 0
        assert await delivering.work("acme", room, 0) is None
        sent = await office.deliveries.find("acme", room)
        assert sent is not None
        assert (sent.state, sent.attempt.status) == (DeliveryState.DELIVERED, 204)
        assert outcomes == [*["failed"] * 4, "delivered"]
        got = seen[-1]
        signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
        signature = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        assert got.headers["webhook-signature"] == f"v1,{signature}"
        assert {one.headers["webhook-id"] for one in seen} == {f"msg_{room}"}
        assert json.loads(got.body)["data"]["metadata"]["deletions"] == "3"
        assert await delivering.work("acme", by_webhook["closed"].id, 0) == 1.0
        refused = await office.deliveries.find("acme", by_webhook["closed"].id)
        assert refused is not None
        assert "is not public" in refused.attempt.problem
        await raises(NotFound, office.deliveries.again(office.principal, uuid7()))
    finally:
        await connector.close()
        await server.close()


async def test_the_documents_of_a_subject_are_published_together(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.run()
    before = office.documents()
    office.change(
        *(f"UPDATE note SET note = 'It sings {n}.' WHERE id = {n}" for n in range(7)),
        "DELETE FROM note WHERE id = 7",
    )
    operation = await office.begin(monkeypatch, 3)
    # The documents of a subject are made one after the other, so that the first subjects are complete early.
    assert office.harness.ask(
        "SELECT d.source_key FROM responsa.operation AS o JOIN responsa.document AS d ON d.id = "
        "o.document_id WHERE o.indexed AND o.stage <> 'done' ORDER BY o.id"
    ) == [("notes/note/0.md",), ("notes/note/4.md",), ("notes/note/1.md",)]
    await raises(
        Precondition,
        office.runs.start(office.principal, "notes", "", confirmed=False),
        "is already reading sources/notes",
    )
    assert office.documents() == before
    ended = await office.finish(operation)
    assert (ended.error, ended.counts["created"], ended.counts["failed"]) == (None, 0, 0)
    after = {str(n): (f"p{n % 4}", f"It sings {n}.") for n in range(7)}
    assert office.documents() == after
    assert office.published() == [("p0", 1), ("p1", 1), ("p2", 1), ("p3", 1)]
    # The document whose row is gone went in the same transaction.
    [(together,)] = office.harness.ask(
        "SELECT count(*)::int FROM responsa.deleted_document AS g JOIN responsa.document AS d ON d.subject = g.subject AND d.xmin = g.xmin"
    )
    assert together == 1
    # The ingestion of one of the two fails, so the other one stays as it is, too, until the next run.
    office.change("UPDATE note SET note = 'It dives.' WHERE id IN (1, 5, 6)")
    operation = await office.begin(monkeypatch, 2)
    [(lost,)] = office.harness.ask(
        "SELECT o.id FROM responsa.operation AS o JOIN responsa.document AS d ON d.id = "
        "o.document_id WHERE o.stage <> 'done' AND d.source_key = 'notes/note/1.md'"
    )
    await office.runs.wait(RunClaim("acme", operation.id, 2, "notes"))
    await office.harness.library.cancel_operation(office.principal, lost)
    failed = await office.finish(operation)
    assert (failed.error, failed.counts["failed"]) == (None, 2)
    assert office.documents() == after
    assert {key for key, _ in await office.failed()} == {"1", "5"}
    assert (await office.run()).counts["updated"] == 3
    assert (office.documents()["1"][1], office.documents()["5"][1]) == ("It dives.", "It dives.")
    assert await office.failed() == []
    # What one of them leaves behind does not count for the other.
    office.change("DELETE FROM note WHERE id = 1", "UPDATE note SET note = 'It rests.' WHERE id = 5")
    assert (await office.run()).counts["updated"] == 1
    assert (await office.run()).counts["updated"] == 0


async def test_a_cancelled_run_publishes_nothing_more(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = await office.runs.start(office.principal, "notes", "", confirmed=False)
    await office.harness.library.cancel_operation(office.principal, cancelled.id)
    assert (await office.finish(cancelled)).error is not None
    assert office.documents() == {}
    await office.run()
    before = office.documents()
    office.change(
        *(f"UPDATE note SET note = 'It sings {n}.' WHERE id = {n}" for n in range(8)),
        "INSERT INTO note VALUES (9, 'p0', 'It is new.')",
    )
    operation = await office.begin(monkeypatch, 8)
    # Documents that are indexed count as done while they wait for others of their subject.
    assert await office.runs.settle(RunClaim("acme", operation.id, 2, "notes")) == 8
    seen = await office.harness.operations.get(office.principal, operation.id)
    assert (seen.passages_done, seen.passages_total) == (9, 9)
    # A run for one subject does not wait for documents of others.
    subject = await office.runs.start(office.principal, "notes", "p0", confirmed=False)
    assert await office.runs.settle(RunClaim("acme", subject.id, 0, "notes")) == 3
    await office.harness.library.cancel_operation(office.principal, subject.id)
    await office.harness.library.cancel_operation(office.principal, operation.id)
    assert (await office.finish(operation)).error is not None
    assert office.documents() == before
    states = "SELECT DISTINCT state FROM responsa.document UNION ALL SELECT stage FROM responsa.operation WHERE stage <> 'done'"
    assert office.harness.ask(states) == [("ready",)]
    assert (await office.run()).counts["updated"] == 8
    assert {text for _, text in office.documents().values()} == {
        "It is new.",
        *(f"It sings {n}." for n in range(8)),
    }


async def test_the_next_run_takes_over_what_a_cancelled_one_began(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.run()
    wait = office.runs.wait

    async def cancelled(claim: RunClaim) -> None:
        await office.harness.library.cancel_operation(office.principal, claim.operation_id)
        await wait(claim)

    # One document of each subject, so that their ingestions do not wait for the run.
    office.change("UPDATE note SET note = 'It dives.' WHERE id < 3")
    with monkeypatch.context() as patched:
        patched.setattr(office.runs, "wait", cancelled)
        assert (await office.run()).error is not None
    begun = (
        "SELECT o.id FROM responsa.source_document AS s JOIN responsa.operation AS o ON o.id = "
        "s.operation_id WHERE o.stage = 'done' ORDER BY s.key"
    )
    await office.harness.until(lambda: len(office.harness.ask(begun)) == 3)
    (_, failed, _) = office.harness.ask(begun)
    office.harness.ask("UPDATE responsa.operation SET error_message = 'It broke.' WHERE id = %s", *failed)
    # A run for another subject leaves the failed row among those that a retry makes, and does not count it as its own.
    assert (await office.run("p0")).counts["failed"] == 0
    assert await office.failed() == [("1", "It broke.")]
    retried = await office.run(retry=True)
    assert (retried.counts["updated"], retried.counts["failed"]) == (1, 0)
    assert await office.failed() == []
    assert (await office.run()).counts["unchanged"] == 8


@dataclass
class Website:
    """A website. pages: the status, the headers and the body of each path. asked: the requests since the last look,
    with their conditions. reached: what happens when a path is asked for."""

    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(
        default_factory=dict[str, tuple[int, dict[str, str], bytes]]
    )
    requests: list[str] = field(default_factory=list[str])
    reached: dict[str, Callable[[], Awaitable[object]]] = field(
        default_factory=dict[str, Callable[[], Awaitable[object]]]
    )

    def write(self, path: str, text: str, *, head: str = "") -> None:
        body = f"<html><head><title>On {path}</title>{head}</head><body><p>{text}</p></body></html>".encode()
        self.pages[path] = (
            200,
            {"content-type": "text/html; charset=utf-8", "etag": f'"{zlib.crc32(body)}"'},
            body,
        )

    def list(self, *paths: str, base: str) -> None:
        urls = "".join(f"<url><loc>{base}{path}</loc></url>" for path in paths)
        sitemap = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}</urlset>'
        self.pages["/pages.xml.gz"] = (
            200,
            {"content-type": "application/gzip"},
            gzip.compress(sitemap.encode()),
        )
        index = f"<sitemapindex><sitemap><loc>{base}/pages.xml.gz</loc></sitemap></sitemapindex>"
        self.pages["/sitemap.xml"] = (200, {"content-type": "application/xml"}, index.encode())

    async def serve(self, exchange: LoopbackExchange) -> None:
        request = exchange.request
        condition = request.headers.get("if-none-match", "")
        self.requests.append(f"{request.path}{' if changed' if condition else ''}")
        if (happens := self.reached.pop(request.path, None)) is not None:
            await happens()
        status, headers, body = self.pages.get(request.path, (404, {}, b""))
        if condition and condition == headers.get("etag"):
            await exchange.reply(304, b"")
        else:
            await exchange.reply(status, body, headers)

    def looked(self) -> set[str]:
        """The pages that were asked for since the last look."""
        asked, self.requests = set(self.requests), []
        return asked - {"/sitemap.xml", "/pages.xml.gz", "/robots.txt"}


async def test_documents_follow_the_pages_of_a_website(office: Office) -> None:
    website = Website()
    server = LoopbackServer(website.serve)
    await server.start()
    base = server.url
    (office.folder / "handbook.toml").write_text(
        f'kind = "web"\ntenants = ["acme"]\nsites = ["{base}"]\nallow_private = ["127.0.0.1"]\ndelay = 0\npage_bytes = 2000\n'
    )
    text = (
        f'connection = "handbook"\ncollection = "people"\ndeletions_percent = 50\npages = {{ '
        f'sitemaps = ["{base}/sitemap.xml"], addresses = ["{base}/moved#top"] }}'
    )
    for path in ("/a", "/b", "/secret"):
        website.write(path, f"The heron of {path} fishes.")
    for path in ("/c?print=1", "/c?print=2"):
        website.write(path, "The heron of /c fishes.", head='<link href="/c" rel="canonical">')
    website.write("/large", "x" * 2000)
    website.pages |= {
        "/moved": (301, {"location": "/there"}, b""),
        "/away": (302, {"location": "http://127.0.0.2/"}, b""),
        "/image": (200, {"content-type": "image/x-unknown"}, b"x"),
        "/leaflet.pdf": (200, {"content-type": "application/pdf"}, PDF.sample),
        "/robots.txt": (200, {"content-type": "text/plain"}, b"User-agent: *\nDisallow: /sec*et$"),
    }
    website.write("/there", "The heron that moved fishes.")
    listed = [
        "/a",
        "/b",
        "/leaflet.pdf",
        "/c?print=1",
        "/c?print=2",
        "/large",
        "/away",
        "/image",
        "/secret",
        "/down",
        "/none",
    ]
    website.list(*listed, base=base)
    website.pages["/down"] = (500, {}, b"")
    try:
        shown = await office.administration.preview(office.principal, text, 3, "")
        assert [(row.document.title, row.document.text) for row in shown if row.document] == [
            ("On /there", "The heron that moved fishes."),
            ("On /a", "The heron of /a fishes."),
            ("On /b", "The heron of /b fishes."),
        ]
        await office.administration.create(office.principal, NewSource("book", "", text))
        first = await office.run(source="book")
        assert (first.error, first.counts["created"], first.counts["failed"]) == (None, 5, 7)
        failed = {key.removeprefix(base): problem for key, problem in await office.failed("book")}
        assert failed == {
            "/c?print=2": f"The address leads to {base}/c, to which another address of this source has led already.",
            "/large": "The page has more than 2,000 bytes, which the connection does not allow.",
            "/away": "http://127.0.0.2 is not a site of the connection; its owner can add it to `sites`.",
            "/image": "The page has the type image/x-unknown, which cannot be read.",
            "/secret": "The site's robots.txt does not allow Responsa to read this page.",
            "/down": "The site answered with the status 500.",
            "/none": "The site has no such page (HTTP 404).",
        }
        assert "/secret" not in website.looked()
        again = await office.run(source="book", retry=True)
        assert (again.error, again.counts["updated"], again.counts["failed"]) == (None, 0, 7)
        website.looked()
        host = base.removeprefix("http://")
        documents = "SELECT source_key, uri, title, media_type FROM responsa.document ORDER BY source_key"
        made = (
            ("/a", "On /a", "text/html"),
            ("/b", "On /b", "text/html"),
            ("/c", "On /c?print=1", "text/html"),
            ("/leaflet.pdf", "leaflet", "application/pdf"),
            ("/there", "On /there", "text/html"),
        )
        assert office.harness.ask(documents) == [
            (f"book/{host}{path}", base + path, *shown) for path, *shown in made
        ]

        # Only what has changed is sent again. A page that cannot be read stays as it is; one that the website or its
        # sitemap does not know any more goes.
        website.write("/a", "The heron of /a sleeps.")
        website.pages["/b"] = (503, {}, b"")
        website.pages["/there"] = (410, {}, b"")
        website.list("/a", "/b", "/leaflet.pdf", "/d", base=base)
        website.write("/d", "The heron of /d fishes.")
        second = await office.run(source="book")
        assert (second.error, second.counts) == (
            None, {"created": 1, "updated": 1, "deleted": 2, "unchanged": 1, "failed": 2, "skipped": 0},
        )  # fmt: skip
        assert website.looked() == {
            "/a if changed", "/b if changed", "/leaflet.pdf", "/moved", "/there if changed", "/d",
        }  # fmt: skip
        ends = [key.removeprefix(f"book/{host}") for key, *_ in office.harness.ask(documents)]
        assert ends == ["/a", "/b", "/d", "/leaflet.pdf"]

        # A retry asks for the failed pages alone.
        website.write("/b", "The heron of /b sleeps.")
        website.write("/a", "The heron of /a dives.")
        retried = await office.run(source="book", retry=True)
        assert (retried.error, retried.counts["updated"], retried.counts["failed"]) == (None, 1, 1)
        assert website.looked() == {"/b if changed", "/moved", "/there"}

        # A website that is down changes nothing.
        website.pages["/pages.xml.gz"] = (503, {}, b"")
        operation = await office.runs.start(office.principal, "book", "", confirmed=False)
        assert await office.sync().work("acme", operation.id, 0) is not None
        website.list("/a", "/b", "/leaflet.pdf", "/d", base=base)
        del website.pages["/moved"]
        last = await office.finish(operation)
        assert (last.error, last.counts) == (
            None, {"created": 0, "updated": 1, "deleted": 0, "unchanged": 3, "failed": 1, "skipped": 0},
        )  # fmt: skip

        # A run that is cancelled stops reading, also in the midst of a request.
        async def cancel() -> None:
            await office.harness.library.cancel_operation(office.principal, operation.id)
            await asyncio.Event().wait()

        website.looked()
        operation = await office.runs.start(office.principal, "book", "", confirmed=False)
        website.reached["/a"] = cancel
        assert (await office.finish(operation)).error is not None
        assert website.looked() == {"/moved", "/a if changed"}
        operation = await office.runs.start(office.principal, "book", "", confirmed=False)
        website.reached["/sitemap.xml"] = lambda: office.harness.library.cancel_operation(
            office.principal, operation.id
        )
        assert (await office.finish(operation)).error is not None
        assert website.requests == ["/sitemap.xml"]
    finally:
        await server.close()


async def test_a_run_whose_mapping_ends_its_process_fails_by_the_mapping(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_LIMITS", replace(sandbox._LIMITS, result_bytes=1))
    done = await office.run()
    assert done.error is not None
    assert done.error.reason.value == "INVALID_FIELD"
    assert "source.mapping: mapping: takes too much memory or time to be read" in str(done.error)
