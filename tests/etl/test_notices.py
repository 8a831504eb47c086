"""Notices about failed ingestions, and deliveries that are sent again, on a real queue. A passed hour is a stored time
that is moved back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_etl.sources.notifying import Notifier
from responsa_etl.sources.webhooks import DeclaredWebhooks
from responsa_etl.stores.deliveries import PostgresDeliveries
from responsa_server.domain.knowledge import JobKind
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.notifications import Attempt, DeliveryState, NotifiedEvent, OperationNotice
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.mail import Outbox
from tests.contract.library_harness import PACE, Harness, running


@pytest.fixture
def deliveries(harness: Harness) -> PostgresDeliveries:
    return PostgresDeliveries(harness.database, harness.queue, uuid7, Outbox(harness.queue, uuid7))


async def test_failed_ingestions_are_one_notification_an_hour(
    harness: Harness, deliveries: PostgresDeliveries, tmp_path: Path
) -> None:
    for name, more in (("room", ""), ("runs", 'events = ["source.failed"]')):
        text = f'url = "https://example.org/"\nsecret = {{ env = "KEY" }}\ntenants = ["acme"]\n{more}'
        (tmp_path / f"{name}.toml").write_text(text)
    harness.ask(
        "UPDATE responsa.app_user SET role = 'admin', email = 'ann@example.org' WHERE id = %s",
        harness.ann.user_id,
    )
    notifier = Notifier(deliveries, DeclaredWebhooks(tmp_path), mails={NotifiedEvent.INGESTION_FAILED})

    waiting = "SELECT count(*)::int FROM responsa.delivery WHERE webhook = '' AND state = 'waiting'"

    def job() -> UUID:
        """The one job of a notice. It waits for a minute before the first notice, and for an hour before the next one.
        Returns the id of the notice."""
        ((notice, later),) = harness.ask(
            "SELECT args ->> 'id', scheduled_at > now() + interval '50 s' FROM procrastinate_jobs WHERE queue_name = 'notice'"
        )
        assert later
        return UUID(notice)

    async def sent() -> list[Mapping[str, Any]]:
        page = await deliveries.list(harness.ann, ListQuery(50, Order("create_time")))
        assert all((item.webhook, item.source_id) == ("room", "") for item in page.items)
        return [json.loads(item.body) for item in page.items]

    mails = "SELECT kind, email, events FROM responsa.mail ORDER BY id"
    async with harness.working(announce=notifier.announce_end):
        uploaded = [
            await harness.upload(harness.bob, text, f"{number}.html")
            for number, text in enumerate(("<p></p>", "<p>The heron fishes.</p>", "<p></p>"))
        ]
        await harness.until(lambda: harness.ask(waiting) == [(2,)])
    for one in uploaded:
        await notifier.announce_end("acme", one.id)  # as after a crash
    assert harness.ask(waiting) == [(2,)]
    notice = job()
    assert await notifier.notice("acme", notice, 0) is None
    assert await notifier.notice("acme", notice, 0) is None  # as after a crash
    (first,) = await sent()
    assert (first["type"], first["data"]["failed"]) == ("ingestion.failed", 2)
    assert first["data"]["reasons"] == {"DOCUMENT_EMPTY": 2}
    assert first["data"]["since"] <= first["timestamp"]
    assert harness.ask(mails) == [("ingestions_failed", "ann@example.org", 2)]

    harness.ask("DELETE FROM procrastinate_jobs")
    for name in ("a.html", "b.html", "c.html"):
        failed = await harness.take_in(harness.bob, "<p></p>", name)
        await notifier.announce_end("acme", failed.id)
    assert job() == notice
    pause = await notifier.notice("acme", notice, 0)
    assert pause is not None
    assert 3500 < pause <= 3600
    assert len(await sent()) == 1
    harness.ask("UPDATE responsa.notice SET send_time = send_time - interval '1 hour'")
    assert await notifier.notice("acme", notice, 0) is None
    assert [one["data"]["failed"] for one in await sent()] == [2, 3]
    assert [events for *_, events in harness.ask(mails)] == [2, 3]


async def test_a_delivery_that_waits_is_brought_forward(
    harness: Harness, deliveries: PostgresDeliveries
) -> None:
    operation = await harness.upload(harness.ann, "The heron fishes.")
    harness.ask(
        "INSERT INTO responsa.notice (id, tenant_id, event, source_id, waits, send_time) VALUES "
        "(gen_random_uuid(), 'acme', 'source.failed', 'old', false, now() - interval '2 days')"
    )
    with psycopg.connect(harness.urls.superuser) as other:
        # An announcement does not wait for an old notice of another source, which might wait for this one.
        other.execute("SELECT FROM responsa.notice FOR UPDATE")
        await deliveries.announce(OperationNotice(operation, NotifiedEvent.FAILED, "{}", ["room"]))
    ((delivery,),) = harness.ask("SELECT id FROM responsa.delivery")
    jobs = "SELECT scheduled_at > now(), status::text FROM procrastinate_jobs WHERE queue_name = 'deliver' ORDER BY id"
    harness.ask(
        "UPDATE procrastinate_jobs SET scheduled_at = now() + interval '2 hours' WHERE queue_name = 'deliver'"
    )
    for _ in range(2):
        assert (await deliveries.again(harness.ann, delivery)).state is DeliveryState.WAITING
        assert harness.ask(jobs) == [(None, "todo")]
    # A call during an attempt counts the attempts from the beginning, so the attempt is not the last one.
    harness.ask("UPDATE procrastinate_jobs SET status = 'doing' WHERE queue_name = 'deliver'")
    harness.ask("UPDATE responsa.delivery SET attempts = 7")
    await deliveries.again(harness.ann, delivery)
    assert harness.ask(jobs) == [(False, "doing")]
    after = await deliveries.record("acme", delivery, Attempt(500, "no"), 8)
    assert after is not None
    assert (after.state, after.attempts) == (DeliveryState.WAITING, 1)
    # The job of a delivery that has ended makes no further attempt, even if it has not ended itself.
    await deliveries.record("acme", delivery, Attempt(204), 8)
    await deliveries.again(harness.ann, delivery)
    assert harness.ask(jobs) == [(False, "doing"), (None, "todo")]


async def test_a_delivery_that_is_sent_again_while_its_attempt_ends_begins_at_once(
    harness: Harness, deliveries: PostgresDeliveries
) -> None:
    operation = await harness.upload(harness.ann, "The heron fishes.")
    harness.ask("DELETE FROM procrastinate_jobs")
    await deliveries.announce(OperationNotice(operation, NotifiedEvent.FAILED, "{}", ["room"]))
    states = list[DeliveryState]()

    async def work(tenant_id: str, delivery_id: UUID, _: int) -> float | None:
        after = await deliveries.record(tenant_id, delivery_id, Attempt(500, "no"), 8)
        assert after is not None
        states.append(after.state)
        if len(states) == 1:
            # The outcome is stored, and the queue does not have the pause yet.
            await deliveries.again(harness.ann, delivery_id)
        return 3600.0

    queue = JobQueue(harness.urls.log, concurrency=1, pace=PACE)
    jobs = "SELECT scheduled_at > now(), status::text FROM procrastinate_jobs WHERE queue_name = 'deliver'"
    async with running(queue, {JobKind.DELIVER: work}):
        await harness.until(lambda: len(states) == 2)
        await harness.until(lambda: harness.ask(jobs) == [(True, "todo")])
    assert states == [DeliveryState.WAITING, DeliveryState.WAITING]
