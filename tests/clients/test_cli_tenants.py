"""`responsa admin tenants`, `grants` and the ownership of users: requests, output and exit codes."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import service_grant_pb2, tenant_pb2
from responsa.auth.v1 import user_pb2
from responsa_client.aio.client import AsyncResponsa
from tests.clients.command_line import CommandLine
from tests.clients.scripted import ADMIN, AUTH, Context, Scripted, abort, sent, status

ADA, BOT, GRANT = (f"0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a1{number}" for number in range(3))
TIME = Timestamp(seconds=1_793_000_000)
SHOWN = "2026-10-26T07:33:20Z"


def tenant(state: tenant_pb2.TenantState.ValueType, **more: Any) -> tenant_pb2.Tenant:
    return tenant_pb2.Tenant(name="tenants/acme", display_name="Acme \x1b[2J", state=state, **more)


def grant(user: str = "") -> service_grant_pb2.ServiceGrant:
    scope: dict[str, Any] = {"user": user} if user else {"all_users": True}
    return service_grant_pb2.ServiceGrant(name=f"serviceGrants/{GRANT}", service=f"users/{BOT}", **scope)


@pytest.fixture(autouse=True)
def served(server: Scripted) -> None:
    """Three tenants and two grants. An erasure ends at the second look."""
    looks = 0

    async def tenants(_: Any, __: Context) -> pb.ListTenantsResponse:
        home = tenant_pb2.Tenant(
            name="tenants/default", display_name="Default", home=True, state=tenant_pb2.TENANT_STATE_ACTIVE
        )
        suspended = tenant(tenant_pb2.TENANT_STATE_SUSPENDED, suspend_time=TIME)
        return pb.ListTenantsResponse(tenants=[home, suspended])

    async def one(_: Any, __: Context) -> tenant_pb2.Tenant:
        nonlocal looks
        looks += 1
        if looks < 2:
            return tenant(tenant_pb2.TENANT_STATE_ERASING, erase_time=TIME)
        counts = {"document": 12, "turn": 3}
        return tenant_pb2.Tenant(
            name="tenants/acme",
            state=tenant_pb2.TENANT_STATE_ERASED,
            erase_end_time=TIME,
            erased_counts=counts,
        )

    async def changed(_: Any, __: Context) -> tenant_pb2.Tenant:
        return tenant(tenant_pb2.TENANT_STATE_ACTIVE)

    async def erase(request: pb.EraseTenantRequest, context: Context) -> tenant_pb2.Tenant:
        if request.confirm_tenant_id != "acme":
            refusal = status(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "confirm_tenant_id: no.")
            await abort(context, refusal)
        return tenant(tenant_pb2.TENANT_STATE_ERASING, erase_time=TIME)

    async def create(request: pb.CreateTenantRequest, _: Context) -> pb.CreateTenantResponse:
        made = tenant(tenant_pb2.TENANT_STATE_ACTIVE)
        if request.administrator_name:
            return pb.CreateTenantResponse(tenant=made, api_key_secret="rsp_secret")
        return pb.CreateTenantResponse(tenant=made, invitation_code="rsi_code")

    async def invite(_: Any, __: Context) -> pb.InviteTenantAdministratorResponse:
        return pb.InviteTenantAdministratorResponse(invitation_code="rsi_code")

    async def grants(_: Any, __: Context) -> pb.ListServiceGrantsResponse:
        return pb.ListServiceGrantsResponse(service_grants=[grant(), grant(f"users/{ADA}")])

    async def new_grant(request: pb.CreateServiceGrantRequest, _: Context) -> service_grant_pb2.ServiceGrant:
        return grant(request.service_grant.user)

    async def delete(_: Any, __: Context) -> Empty:
        return Empty()

    async def users(_: Any, __: Context) -> pb.ListUsersResponse:
        named = [user_pb2.User(name=f"users/{one}", display_name="Ada") for one in (ADA, BOT)]
        return pb.ListUsersResponse(users=named)

    async def user(_: Any, __: Context) -> user_pb2.User:
        return user_pb2.User(
            name=f"users/{ADA}", display_name="Ada", role=user_pb2.USER_ROLE_ADMIN, owns_installation=True
        )

    for method, script in {
        "ListTenants": tenants,
        "GetTenant": one,
        "SuspendTenant": changed,
        "ResumeTenant": changed,
        "EraseTenant": erase,
        "CreateTenant": create,
        "InviteTenantAdministrator": invite,
        "ListServiceGrants": grants,
        "CreateServiceGrant": new_grant,
        "DeleteServiceGrant": delete,
        "GrantOwnership": user,
        "RevokeOwnership": user,
        "LookupUser": user,
        "GetUser": user,
        "ListUsers": users,
    }.items():
        server.on(f"{ADMIN}/{method}", script)


async def test_tenants_are_listed(server: Scripted, responsa: CommandLine) -> None:
    done = await responsa("admin", "tenants", "list", "--filter", "state = SUSPENDED")
    assert (done.code, done.err) == (0, "")
    first, second = done.out.splitlines()
    assert first == "default  active     Default  the installation's own"
    assert second.startswith("acme  suspended  Acme ")
    assert second.endswith(f"suspended since {SHOWN}")
    assert "\x1b" not in second
    assert sent(server, "ListTenants").filter == "state = SUSPENDED"
    listed = (await responsa("admin", "tenants", "list", "--json")).lines
    assert [one["name"] for one in listed] == ["tenants/default", "tenants/acme"]


async def test_a_new_tenant_prints_what_lets_its_administrator_in(
    server: Scripted, responsa: CommandLine
) -> None:
    done = await responsa("admin", "tenants", "create", "acme", "--email", "ada@example.org")
    assert done.out.splitlines()[1] == "rsi_code"
    assert sent(server, "CreateTenant").invitation_email == "ada@example.org"
    done = await responsa("admin", "tenants", "create", "acme", "--administrator", "Ada")
    assert done.out.splitlines()[1] == "rsp_secret"
    assert (await responsa("admin", "tenants", "invite", "acme")).out == "rsi_code\n"
    assert (await responsa("admin", "tenants", "invite", "acme", "--json")).lines[0]["invitationCode"]
    assert sent(server, "InviteTenantAdministrator").name == "tenants/acme"


async def test_tenants_are_suspended_and_resumed(server: Scripted, responsa: CommandLine) -> None:
    for act, method in (("suspend", "SuspendTenant"), ("resume", "ResumeTenant")):
        assert (await responsa("admin", "tenants", act, "tenants/acme")).code == 0
        assert sent(server, method).name == "tenants/acme"


async def test_an_erasure_is_confirmed_waited_for_and_prints_the_receipt(
    server: Scripted, responsa: CommandLine
) -> None:
    assert (await responsa("admin", "tenants", "erase", "acme", "--confirm", "acne")).code != 0
    done = await responsa("admin", "tenants", "erase", "acme", "--confirm", "acme")
    assert done.out.splitlines() == [
        f"acme  erased     erased at {SHOWN}",
        "         12  document",
        "          3  turn",
    ]
    assert len(server.requests[f"{ADMIN}/GetTenant"]) == 2
    done = await responsa("admin", "tenants", "erase", "acme", "--confirm", "acme", "--no-wait", "--json")
    assert done.lines[0]["state"] == "TENANT_STATE_ERASING"
    before = len(server.requests[f"{ADMIN}/EraseTenant"])
    assert (await responsa("admin", "tenants", "erase", "acme")).code != 0  # nobody answers the question
    assert len(server.requests[f"{ADMIN}/EraseTenant"]) == before


async def test_grants_are_made_listed_and_taken_back(server: Scripted, responsa: CommandLine) -> None:
    done = await responsa("admin", "grants", "list", "--service", BOT)
    assert done.out.splitlines() == [
        f"{GRANT}  Ada  for  all users",
        f"{GRANT}  Ada  for  Ada",
    ]
    assert sent(server, "ListServiceGrants").filter == f'service = "users/{BOT}"'
    assert (await responsa("admin", "grants", "create", BOT, "--all-users")).code == 0
    assert sent(server, "CreateServiceGrant").service_grant.all_users
    done = await responsa("admin", "grants", "create", BOT, "--user", "ada@example.org", "--json")
    assert done.lines[0]["user"] == f"users/{ADA}"
    for wrong in ((), ("--user", ADA, "--all-users")):
        assert (await responsa("admin", "grants", "create", BOT, *wrong)).code == 2
    done = await responsa("admin", "grants", "delete", GRANT, f"serviceGrants/{GRANT}")
    assert done.out == f"deleted serviceGrants/{GRANT}\n" * 2
    done = await responsa("admin", "grants", "delete", GRANT, "--json")
    assert done.lines == [{"deleted": f"serviceGrants/{GRANT}"}]
    assert sent(server, "DeleteServiceGrant").name == f"serviceGrants/{GRANT}"


async def test_ownership_is_given_and_ended(server: Scripted, responsa: CommandLine) -> None:
    for act, method in (("grant-ownership", "GrantOwnership"), ("revoke-ownership", "RevokeOwnership")):
        done = await responsa("admin", "users", act, ADA)
        assert done.out == f"{ADA}  admin    Ada  owner\n"
        assert sent(server, method).name == f"users/{ADA}"


async def test_a_client_names_the_user_for_whom_it_acts(server: Scripted) -> None:
    seen: list[object] = []

    async def me(_: Any, context: Context) -> user_pb2.User:
        seen.append(dict(context.invocation_metadata() or ()).get("responsa-on-behalf-of"))
        return user_pb2.User()

    server.on(f"{AUTH}/GetMe", me)
    for given in (ADA, f"users/{ADA}", None):
        async with AsyncResponsa(server.url, "rsp_" + "x" * 43, on_behalf_of=given) as client:
            await client.me()
    assert seen == [f"users/{ADA}", f"users/{ADA}", None]
