"""The audit log on real PostgreSQL: what it records, its lists, and that nobody changes it."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.interceptors.audited import ACTS, reads
from responsa_server.domain.errors import NotFound
from responsa_server.domain.knowledge import Chunking, CollectionFields
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.people import AuditEvent, Principal, Role
from responsa_server.stores.postgres.audit import PostgresAuditTrail
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.resources import TEACHERS, ResourceTable
from tests.conftest import DatabaseUrls
from tests.contract.library_harness import Harness
from tests.contract.people import People
from tests.contract.turn_steps import Store
from tests.people import people_of
from tests.raising import raises

OLDEST = ListQuery(200, Order("create_time"))
TEXT = "# Rivers\n\nThe Elbe is 1094 kilometres long.\n"


@pytest.fixture
def trail(database: Database) -> PostgresAuditTrail:
    return PostgresAuditTrail(database)


def admin_of(caller: Principal) -> Principal:
    return replace(caller, role=Role.ADMIN, address="192.0.2.7", call_id="call-1", act="admin.act")


async def acts(trail: PostgresAuditTrail) -> list[tuple[str, str]]:
    return [(item.action, item.resource) for item in (await trail.list("acme", OLDEST)).items]


async def test_no_role_of_the_server_changes_the_log(
    trail: PostgresAuditTrail, people: People, database_urls: DatabaseUrls
) -> None:
    await trail.record(AuditEvent.of(people.ann, "user.create", "users/1"))
    for statement in (
        "UPDATE responsa.audit_event SET actor = 'nobody'",
        "DELETE FROM responsa.audit_event",
        "TRUNCATE responsa.audit_event",
        "INSERT INTO responsa.audit_event (id, tenant_id, actor, action, resource_name) VALUES (uuidv7(), 'rival', '', '', '')",
        "ALTER TABLE responsa.audit_event DISABLE ROW LEVEL SECURITY",
        "CREATE RULE quiet AS ON INSERT TO responsa.audit_event DO INSTEAD NOTHING",
    ):
        for url in (database_urls.app, database_urls.log):
            with psycopg.connect(url) as connection:
                connection.execute("SELECT set_config('responsa.tenant_id', 'acme', true)")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())
    assert await acts(trail) == [("user.create", "users/1")]


async def test_old_events_of_all_tenants_are_pruned_and_none_of_the_last_30_days(
    trail: PostgresAuditTrail, people: People, database_urls: DatabaseUrls
) -> None:
    for who in (people.ann, people.eve):
        for name in ("old", "older", "new"):
            await trail.record(AuditEvent.of(who, "user.create", name))
    with psycopg.connect(database_urls.superuser) as connection:
        for name, days in (("old", 31), ("older", 401)):
            connection.execute(
                "UPDATE responsa.audit_event SET create_time = now() - %s * interval '1 day' WHERE resource_name = %s",
                (days, name),
            )
    assert await trail.prune(400) == 2
    assert await acts(trail) == [("user.create", "old"), ("user.create", "new")]
    # Whoever may call the function cannot clear the log.
    with psycopg.connect(database_urls.log) as connection:
        row = connection.execute("SELECT responsa.prune_audit_events('-1 day', 1000)").fetchone()
    assert row == (2,)
    assert await acts(trail) == [("user.create", "new")]
    with (
        psycopg.connect(database_urls.app) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT responsa.prune_audit_events('30 days', 1)")


async def test_changes_of_teachers_are_recorded_with_the_call(
    trail: PostgresAuditTrail, database: Database, people: People
) -> None:
    teachers, admin = ResourceTable(database, TEACHERS, uuid7), admin_of(people.ann)
    request = uuid7()
    ada = {"display_name": "Ada", "persona": "Patient.", "parameters": {}}
    made = await teachers.create(admin, ada, request_id=request)
    await teachers.create(admin, ada, request_id=request)
    await teachers.update(admin, made.id, {"persona": "Stern."}, "")
    await teachers.delete(admin, made.id, "")
    await raises(NotFound, teachers.delete(admin, made.id, ""))
    name = f"teachers/{made.id}"
    found = (await trail.list("acme", OLDEST)).items
    assert [(one.action, one.resource) for one in found] == [("admin.act", name)] * 3
    assert {(one.actor, one.outcome, one.address, one.call_id) for one in found} == {
        (f"users/{people.ann.user_id}", "OK", "192.0.2.7", "call-1")
    }


async def test_deletions_and_cancellations_of_what_belongs_to_others_are_recorded_and_ones_own_are_not(
    trail: PostgresAuditTrail, harness: Harness
) -> None:
    library, admin = harness.library, admin_of(harness.bob)
    expected: list[tuple[str, str]] = []
    for caller in (harness.ann, admin):
        rivers = await library.create_collection(
            harness.ann, "rivers", CollectionFields("Rivers"), Chunking()
        )
        lakes = await library.create_collection(harness.ann, "lakes", CollectionFields("Lakes"), Chunking())
        mine = caller is harness.ann
        ended, running = [
            await harness.upload(harness.ann, TEXT, collection=name) for name in ("rivers", "lakes")
        ]
        await harness.ingest().run("acme", ended.id)
        await library.cancel_operation(caller, running.id)
        await library.cancel_operation(caller, running.id)
        await library.delete_operation(caller, ended.id)
        await library.delete_document(caller, ended.document_id)
        await library.delete_collection(caller, "rivers")
        await library.delete_collection(caller, "lakes", force=True)
        if not mine:
            expected += [
                ("admin.act", f"operations/{running.id}"),
                ("admin.act", f"operations/{ended.id}"),
                ("admin.act", f"documents/{ended.document_id}"),
                ("admin.act", f"collections/{rivers.shared_id}"),
                ("admin.act", f"collections/{lakes.shared_id}"),
            ]
        assert await acts(trail) == expected


async def test_a_refused_act_names_the_owner_in_the_tenant_alone(
    store: Store, trail: PostgresAuditTrail, harness: Harness, database: Database
) -> None:
    bob, eve = admin_of(store.bob), admin_of(store.eve)
    new = await store.make()
    key, _ = await people_of(database).identity.create_key("acme", store.ann.user_id, "")
    rivers = await harness.library.create_collection(
        store.ann, "rivers", CollectionFields("Rivers"), Chunking()
    )
    operation = await harness.upload(store.ann, TEXT, collection="rivers")
    resources = [
        f"apiKeys/{key.id}",
        f"turns/{new.id}",
        f"documents/{operation.document_id}",
        f"operations/{operation.id}",
        f"collections/{rivers.shared_id}",
    ]
    for who in (bob, eve):
        refused = [AuditEvent.of(who, "x.y", resource, outcome="ETAG_MISMATCH") for resource in resources]
        await trail.record_refused(who, refused)
    for tenant, affected in (("acme", store.ann.user_id), ("rival", None)):
        found = (await trail.list(tenant, OLDEST)).items
        assert [(one.resource, one.affected_user_id) for one in found if one.action == "x.y"] == [
            (resource, affected) for resource in resources
        ]


def test_every_change_of_ones_own_account_is_named() -> None:
    changing = {
        method
        for method, rule in RULES.items()
        if rule is Rule.OWN and not method.rpartition("/")[2].startswith(("Get", "List", "Query"))
    }
    # The session that begins with a code has an event, not the code.
    assert {method for method in ACTS if RULES[method] is Rule.OWN} == changing - {
        "/responsa.auth.v1.AuthService/CreateSessionCode"
    }


def test_every_administrative_method_is_named() -> None:
    reading = ("Get", "List", "Lookup", "Preview", "Query")
    every = {method for method, rule in RULES.items() if rule in (Rule.ADMIN, Rule.OWNER, Rule.SERVICE)}
    assert every <= ACTS.keys()
    # Each opening of what a user has shown is in the log.
    opening = {"/responsa.admin.v1.AdminService/GetShownExchange"}
    assert {method for method in ACTS if reads(method)} == {
        method for method in every if method.rpartition("/")[2].startswith(reading)
    } - opening
