"""Tenants over gRPC: their first administrator, suspension on every server, and erasure of what was really stored."""

from __future__ import annotations

import asyncio

import grpc

from responsa.admin.v1 import tenant_pb2
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import user_pb2
from responsa.chat.v1 import turn_pb2
from responsa_server.domain.people import Origin, Role
from responsa_server.identity.tenants import TenantKeeper
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.tenants import PostgresTenants
from tests.contract.library_harness import Gate, GatedParser, Harness
from tests.people import GOOD
from tests.rpc.served import Served, bearer, caller, failed


async def nothing(tenant_id: str) -> int:
    return 0


def keeper_of(served: Served, database: Database) -> TenantKeeper:
    return TenantKeeper(PostgresTenants(database), served.turns.stop, nothing, settle_seconds=0.0)


async def suspend(served: Served, tenant: str = "rival") -> tenant_pb2.Tenant:
    return await served.ann.SuspendTenant(name=f"tenants/{tenant}")


async def resume(served: Served, tenant: str = "rival") -> tenant_pb2.Tenant:
    return await served.ann.ResumeTenant(name=f"tenants/{tenant}")


async def test_the_first_administrator_registers_with_the_code(served: Served) -> None:
    made = await served.ann.CreateTenant(tenant_id="new", display_name="New")
    another = await served.ann.InviteTenantAdministrator(name="tenants/new")
    for code, email in (
        (made.invitation_code, "ada@example.org"),
        (another.invitation_code, "bo@example.org"),
    ):
        await served.nobody.Register(invitation=code, email=email, password=GOOD)
        signed = await served.nobody.Login(tenant="tenants/new", email=email, password=GOOD)
        assert (signed.user.role, signed.user.tenant, signed.user.owns_installation) == (
            user_pb2.USER_ROLE_ADMIN,
            "tenants/new",
            False,
        )
    signed_in = served.sending(bearer(signed.tokens.access_token))
    events = await signed_in.ListAuditEvents(order_by="create_time")
    assert [audit_event.action for audit_event in events.audit_events] == [
        "tenant.create",
        "invitation.create",
        "invitation.create",
        "user.register",
        "session.create",
        "user.register",
        "session.create",
    ]
    own = await served.ann.ListAuditEvents(filter='action = "tenant.create" AND resource = "tenants/new"')
    assert [audit_event.actor for audit_event in own.audit_events] == [served.ann.name]


async def test_an_owners_invitation_is_not_good_when_its_maker_is_no_owner_any_more(served: Served) -> None:
    """A dismissed owner could otherwise administer another tenant."""
    owner = await caller(served.identity, served.channel, "acme", Role.ADMIN)
    await served.ann.GrantOwnership(name=owner.name)
    made = await owner.CreateTenant(tenant_id="new")
    another = await owner.InviteTenantAdministrator(name="tenants/new")
    codes = (made.invitation_code, another.invitation_code)
    registering = [
        auth.RegisterRequest(invitation=code, email=f"ada{number}@example.org", password=GOOD)
        for number, code in enumerate(codes)
    ]

    async def refused() -> bool:
        errors = [await failed(served.auth.Register(one)) for one in registering]
        return all(error.reason == "CODE_INVALID" for error in errors)

    await served.ann.RevokeOwnership(name=owner.name)
    assert await refused()
    await served.ann.GrantOwnership(name=owner.name)
    await served.ann.DisableUser(name=owner.name)
    assert await refused()
    await served.ann.EnableUser(name=owner.name)
    for one in registering:
        await served.auth.Register(one)


async def test_the_turns_of_a_suspended_tenant_are_cancelled_on_every_server(
    pair: tuple[Served, Served], database: Database
) -> None:
    first, _ = pair
    for server in pair:
        await anext(aiter(server.sending(first.eve.metadata).Ask(text="wait")))
    suspended = await suspend(first)
    assert suspended.state == tenant_pb2.TENANT_STATE_SUSPENDED
    error = await failed(first.eve.GetMe())
    assert (error.code, error.metadata) == (grpc.StatusCode.PERMISSION_DENIED, {"tenant": "tenants/rival"})
    for server in pair:
        await keeper_of(server, database).stop()
    for server in pair:
        await server.agent.ended.wait()
    await resume(first)
    turns = await first.eve.ListTurns()
    assert [turn.state for turn in turns.turns] == [turn_pb2.TURN_STATE_CANCELLED] * 2


async def test_nobody_signs_in_to_a_suspended_tenant_and_sessions_survive(served: Served) -> None:
    user = await served.identity.create_user("rival", "Zoe", "zoe@example.org", Role.USER)
    code, _ = await served.accounts.create_reset_code(served.eve.who, user.id)
    await served.accounts.reset_password(code, GOOD)
    signed, _ = await served.accounts.login("rival", "zoe@example.org", GOOD, Origin())
    invited, _ = await served.accounts.create_invitation(served.eve.who, Role.USER, "", 60)
    again, _ = await served.accounts.create_reset_code(served.eve.who, user.id)
    cookie, _ = await served.accounts.login_browser("rival", "zoe@example.org", GOOD, Origin(), None)
    assert await served.identity.caller_of(cookie) is not None
    await suspend(served)
    assert await served.identity.caller_of(cookie) is None, "the browser is free for another tenant's user"
    error, unknown = (
        await failed(served.nobody.Login(tenant="tenants/rival", email="zoe@example.org", password=GOOD)),
        await failed(served.nobody.Login(tenant="tenants/nowhere", email="zoe@example.org", password=GOOD)),
    )
    assert (error.reason, error.message, error.metadata) == (
        "SIGN_IN_FAILED",
        unknown.message,
        unknown.metadata,
    )
    refreshing = auth.RefreshTokenRequest(refresh_token=signed.refresh_token)
    assert (await failed(served.auth.RefreshToken(refreshing))).reason == "TOKEN_INVALID"
    registering = auth.RegisterRequest(invitation=invited, email="x@example.org", password=GOOD)
    assert (await failed(served.auth.Register(registering))).reason == "CODE_INVALID"
    resetting = auth.ResetPasswordRequest(code=again, new_password=f"{GOOD} again")
    assert (await failed(served.auth.ResetPassword(resetting))).reason == "CODE_INVALID"
    metadata = bearer(signed.access_token)
    assert (await failed(served.sending(metadata).GetMe())).reason == "TENANT_SUSPENDED"
    await resume(served)
    # The refused calls used nothing up.
    await served.auth.RefreshToken(refreshing)
    await served.auth.Register(registering)
    await served.auth.ResetPassword(resetting)


async def test_a_suspended_tenants_jobs_stop_wait_and_go_on(served: Served, harness: Harness) -> None:
    gate = Gate()
    ingest = harness.ingest(parser=GatedParser(harness.parser, gate.pass_through))
    async with harness.working(ingest):
        running = await harness.upload(served.eve.who, "# Rivers\n\nThe Nile is long.")
        await gate.reached.wait()
        await suspend(served)
        waiting = await harness.upload(served.eve.who, "# Lakes\n\nThe lake is deep.", "lakes.md")
        gate.reached.clear()

        def states() -> list[str]:
            asked = "SELECT status::text FROM procrastinate_jobs WHERE args ->> 'tenant_id' = 'rival'"
            return [state for (state,) in harness.ask(asked)]

        # The running job returns to the queue, and no worker takes either job.
        await harness.until(lambda: states() == ["todo", "todo"])
        gate.opened.set()
        other = await harness.upload(served.bob.who, "# Hills\n\nThe hill is high.", "hills.md")
        assert (await harness.ended(served.bob.who, other)).error is None
        assert states() == ["todo", "todo"]
        await resume(served)
        for one in (running, waiting):
            ended = await harness.ended(served.eve.who, one)
            assert ended.done
            assert ended.error is None


async def test_what_was_really_stored_is_erased_while_the_tenant_works(
    served: Served, harness: Harness, database: Database
) -> None:
    async with harness.working():
        for number in range(3):
            done = await harness.upload(
                served.eve.who, f"# Rivers {number}\n\nThe Nile is long.", f"{number}.md"
            )
            await harness.ended(served.eve.who, done)
        kept = await harness.upload(served.bob.who, "# Rivers\n\nThe Nile is long.")
        await harness.ended(served.bob.who, kept)
        for _ in range(2):
            await served.eve.Answer(text="How long is it?")
        stream = aiter(served.eve.Ask(text="wait"))
        await anext(stream)
        await harness.upload(served.eve.who, "# Late\n\nThis one is still in the queue.", "late.md")
        begun = await served.ann.EraseTenant(name="tenants/rival", confirm_tenant_id="rival")
        assert begun.state == tenant_pb2.TENANT_STATE_ERASING
        assert (await failed(stream)).reason == "TENANT_SUSPENDED"
        keeper = keeper_of(served, database)
        async with asyncio.timeout(30):
            while True:
                await keeper.erase()
                found = await served.ann.GetTenant(name="tenants/rival")
                if found.state == tenant_pb2.TENANT_STATE_ERASED:
                    break
                await asyncio.sleep(0.1)
    counts = dict(found.erased_counts)
    assert (counts["document"], counts["turn"], counts["conversation"], counts["message"]) == (4, 3, 3, 4)
    assert (counts["app_user"], counts["api_key"], counts["collection"]) == (1, 1, 1)
    assert counts["turn_event"] >= 3
    assert counts["passage"] >= 3
    assert counts["citation"] == 2
    error = await failed(served.eve.GetMe())
    assert error.reason == "CREDENTIAL_UNKNOWN"
    # Nothing of the other tenant is gone.
    (parent,) = (await served.bob.ListCollections()).collections
    listed = await served.bob.ListDocuments(parent=parent.name)
    assert len(listed.documents) == 1
    events = await served.ann.ListAuditEvents(filter='resource = "tenants/rival"')
    assert [audit_event.action for audit_event in events.audit_events] == ["tenant.erase"]
    left = harness.ask("SELECT DISTINCT address FROM responsa.audit_event WHERE tenant_id = 'rival'")
    assert left == [("",)]
