"""The owner of the installation, over gRPC: what only owners may do, and how ownership is given on."""

# Requests are written as plain literals here.
# pyright: reportUnknownMemberType=false, reportArgumentType=false

from __future__ import annotations

import grpc
import pytest
from uuid_utils.compat import uuid7

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import user_pb2
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.domain.people import Role
from tests.rpc.served import Caller, Served, caller, failed

ADMIN = "/responsa.admin.v1.AdminService/"
SOMEBODY = f"users/{uuid7()}"


def name(who: Caller) -> str:
    return f"users/{who.who.user_id}"


async def colleague(served: Served) -> Caller:
    return await caller(served.identity, served.channel, "acme", Role.ADMIN)


async def owns(served: Served, who: Caller) -> bool:
    return (await served.auth.GetMe(auth.GetMeRequest(), metadata=who.metadata)).owns_installation


async def test_the_first_administrator_of_the_first_tenant_is_the_owner(served: Served) -> None:
    second = await colleague(served)
    assert [await owns(served, one) for one in (served.ann, second, served.bob, served.eve)] == [
        True,
        False,
        False,
        False,
    ]


OF_OWNERS = {
    "ReloadAgents": (admin.ReloadAgentsRequest(), "agents.reload", "agents/-"),
    "GrantOwnership": (admin.GrantOwnershipRequest(name=SOMEBODY), "user.grant_ownership", SOMEBODY),
    "RevokeOwnership": (admin.RevokeOwnershipRequest(name=SOMEBODY), "user.revoke_ownership", SOMEBODY),
    "CreateTenant": (admin.CreateTenantRequest(tenant_id="new"), "tenant.create", ""),
    "InviteTenantAdministrator": (
        admin.InviteTenantAdministratorRequest(name="tenants/rival"),
        "invitation.create",
        "tenants/rival",
    ),
    "GetTenant": (admin.GetTenantRequest(name="tenants/rival"), "tenant.read", "tenants/rival"),
    "ListTenants": (admin.ListTenantsRequest(), "tenant.read", ""),
    "SuspendTenant": (admin.SuspendTenantRequest(name="tenants/rival"), "tenant.suspend", "tenants/rival"),
    "ResumeTenant": (admin.ResumeTenantRequest(name="tenants/rival"), "tenant.resume", "tenants/rival"),
    "EraseTenant": (admin.EraseTenantRequest(name="tenants/rival"), "tenant.erase", "tenants/rival"),
}
"""For each method of owners: a request, and the action and the resource in the audit log."""


@pytest.mark.parametrize("method", [one for one, rule in RULES.items() if rule is Rule.OWNER])
async def test_what_belongs_to_the_installation_is_its_owners(served: Served, method: str) -> None:
    second = await colleague(served)
    request, action, resource = OF_OWNERS[method.removeprefix(ADMIN)]
    for who in (second, served.bob, served.eve):
        error = await failed(
            served.channel.unary_unary(method)(request.SerializeToString(), metadata=who.metadata)
        )
        assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
        assert error.metadata == {"required_role": "OWNER"}
        assert "GrantOwnership" in error.message
    # The server refuses users before it reads the request, so their events name only a resource that is always the same.
    of_user = resource if action == "agents.reload" else ""
    by_tenant = [
        (served.ann, [(name(second), action, resource), (name(served.bob), action, of_user)]),
        (served.eve, [(name(served.eve), action, resource)]),
    ]
    for who, expected in by_tenant:
        found = await served.admin.ListAuditEvents(
            admin.ListAuditEventsRequest(filter="outcome = ROLE_REQUIRED"), metadata=who.metadata
        )
        assert [
            (audit_event.actor, audit_event.action, audit_event.resource)
            for audit_event in reversed(found.audit_events)
        ] == expected


async def test_only_the_owner_gets_the_counters_of_all_tenants(served: Served) -> None:
    served.counters.add("turns", {"agent": "default"})
    request = admin.GetSystemStatusRequest()
    assert (await served.admin.GetSystemStatus(request, metadata=served.ann.metadata)).counters
    for who in (served.eve, await colleague(served)):
        found = await served.admin.GetSystemStatus(request, metadata=who.metadata)
        assert found.parts
        assert not found.counters


async def test_ownership_is_given_on_and_ends(served: Served) -> None:
    second = await colleague(served)
    await served.auth.GetMe(auth.GetMeRequest(), metadata=second.metadata)
    granting = admin.GrantOwnershipRequest(name=name(second))
    for _ in range(2):
        made = await served.admin.GrantOwnership(granting, metadata=served.ann.metadata)
        assert made.owns_installation
    await served.admin.ReloadAgents(admin.ReloadAgentsRequest(), metadata=second.metadata)
    for _ in range(2):
        ended = await served.admin.RevokeOwnership(
            admin.RevokeOwnershipRequest(name=name(served.ann)), metadata=second.metadata
        )
        assert (ended.owns_installation, ended.role) == (False, user_pb2.USER_ROLE_ADMIN)
    error = await failed(served.admin.ReloadAgents(admin.ReloadAgentsRequest(), metadata=served.ann.metadata))
    assert error.reason == "ROLE_REQUIRED"
    error = await failed(
        served.admin.RevokeOwnership(
            admin.RevokeOwnershipRequest(name=name(second)), metadata=second.metadata
        )
    )
    assert (error.code, error.reason, error.metadata) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "LAST_OWNER",
        {"user": name(second)},
    )
    found = await served.admin.ListAuditEvents(
        admin.ListAuditEventsRequest(filter='action = "user.*_ownership"', order_by="create_time"),
        metadata=served.ann.metadata,
    )
    assert [(audit_event.action, audit_event.outcome) for audit_event in found.audit_events] == [
        ("user.grant_ownership", "OK"),
        ("user.revoke_ownership", "OK"),
        ("user.revoke_ownership", "LAST_OWNER"),
    ]


async def test_only_active_administrators_of_the_first_tenant_become_owners(served: Served) -> None:
    second = await colleague(served)
    await served.admin.DisableUser(admin.DisableUserRequest(name=name(second)), metadata=served.ann.metadata)
    for who in (served.bob, second):
        error = await failed(
            served.admin.GrantOwnership(
                admin.GrantOwnershipRequest(name=name(who)), metadata=served.ann.metadata
            )
        )
        assert (error.reason, list(error.violations)) == ("INVALID_FIELD", ["name"])
        assert "role ADMIN first" in error.message
    error = await failed(
        served.admin.GrantOwnership(
            admin.GrantOwnershipRequest(name=name(served.eve)), metadata=served.ann.metadata
        )
    )
    assert error.reason == "RESOURCE_NOT_FOUND"


async def test_the_last_owner_is_neither_disabled_nor_demoted(served: Served) -> None:
    await colleague(served)
    called = {"name": name(served.ann), "display_name": "Root", "email": "root@example.org"}
    await served.admin.UpdateUser(
        admin.UpdateUserRequest(user=called, update_mask={"paths": ["display_name", "email"]}),
        metadata=served.ann.metadata,
    )
    for work in (
        served.admin.DisableUser(
            admin.DisableUserRequest(name=name(served.ann)), metadata=served.ann.metadata
        ),
        served.admin.UpdateUser(demotion(served.ann), metadata=served.ann.metadata),
    ):
        error = await failed(work)
        assert error.reason == "LAST_OWNER"
        # People know each other by name, not by resource.
        assert error.message.startswith("Root (root@example.org) is the only owner of the installation")


async def test_an_administrator_cannot_take_an_owner_over(served: Served) -> None:
    """Whoever could reset the owner's password, or change the owner's address, would be the owner."""
    second = await colleague(served)
    address = admin.UpdateUserRequest(
        user={"name": name(served.ann), "email": "mine@example.org"}, update_mask={"paths": ["email"]}
    )
    for work in (
        served.admin.DisableUser(admin.DisableUserRequest(name=name(served.ann)), metadata=second.metadata),
        served.admin.UpdateUser(demotion(served.ann), metadata=second.metadata),
        served.admin.UpdateUser(address, metadata=second.metadata),
        served.auth.CreateResetCode(
            auth.CreateResetCodeRequest(user=name(served.ann)), metadata=second.metadata
        ),
    ):
        error = await failed(work)
        assert error.reason in ("ROLE_REQUIRED", "LAST_OWNER")
    await served.admin.GrantOwnership(
        admin.GrantOwnershipRequest(name=name(await colleague(served))), metadata=served.ann.metadata
    )
    for work in (
        served.admin.DisableUser(admin.DisableUserRequest(name=name(served.ann)), metadata=second.metadata),
        served.admin.UpdateUser(demotion(served.ann), metadata=second.metadata),
    ):
        error = await failed(work)
        assert (error.reason, error.metadata) == ("ROLE_REQUIRED", {"required_role": "OWNER"})


async def test_an_administrator_cannot_shut_an_owner_out(served: Served) -> None:
    """Nor bring a disabled owner back. Administrators may see an owner's keys and limits."""
    ann, second = served.ann, await colleague(served)
    keys = await served.admin.ListTenantApiKeys(
        admin.ListTenantApiKeysRequest(filter=f'owner = "{name(ann)}"'), metadata=second.metadata
    )
    assert len(keys.api_keys) == 1
    third = await colleague(served)
    await served.admin.GrantOwnership(admin.GrantOwnershipRequest(name=name(third)), metadata=ann.metadata)
    await served.admin.DisableUser(admin.DisableUserRequest(name=name(third)), metadata=ann.metadata)
    limits = admin.UpdateUserLimitsRequest(
        user_limits={"name": f"{name(ann)}/limits", "exceptions": {"calls_per_minute": 1}},
        update_mask={"paths": ["exceptions.calls_per_minute"]},
    )
    quota = admin.UpdateUserQuotaRequest(
        user_quota={"name": f"{name(ann)}/quota", "tokens_per_day": {"at_most": 1000}},
        update_mask={"paths": ["tokens_per_day"]},
    )
    calls = (
        (served.admin.UpdateUserLimits, limits),
        (served.admin.UpdateUserQuota, quota),
        (served.admin.EnableUser, admin.EnableUserRequest(name=name(third))),
        (served.admin.DeleteUser, admin.DeleteUserRequest(name=name(third))),
        (served.admin.RevokeTenantApiKey, admin.RevokeTenantApiKeyRequest(name=keys.api_keys[0].name)),
        (served.admin.CreateServiceApiKey, admin.CreateServiceApiKeyRequest(user=name(ann))),
    )
    for call, request in calls:
        error = await failed(call(request, metadata=second.metadata))
        assert (error.reason, error.metadata) == ("ROLE_REQUIRED", {"required_role": "OWNER"})
    refused = await served.admin.ListAuditEvents(
        admin.ListAuditEventsRequest(filter="outcome = ROLE_REQUIRED"), metadata=ann.metadata
    )
    assert {audit_event.actor for audit_event in refused.audit_events} == {name(second)}
    assert len(refused.audit_events) == len(calls)
    for call, request in (*calls[:3], calls[4]):
        await call(request, metadata=ann.metadata)


async def test_an_owner_who_is_demoted_owns_nothing_when_promoted_again(served: Served) -> None:
    second = await colleague(served)
    await served.admin.GrantOwnership(
        admin.GrantOwnershipRequest(name=name(second)), metadata=served.ann.metadata
    )
    await served.admin.UpdateUser(demotion(second), metadata=served.ann.metadata)
    promoted = await served.admin.UpdateUser(
        admin.UpdateUserRequest(
            user={"name": name(second), "role": "USER_ROLE_ADMIN"}, update_mask={"paths": ["role"]}
        ),
        metadata=served.ann.metadata,
    )
    assert (promoted.role, promoted.owns_installation) == (user_pb2.USER_ROLE_ADMIN, False)


def demotion(who: Caller) -> admin.UpdateUserRequest:
    return admin.UpdateUserRequest(
        user={"name": name(who), "role": "USER_ROLE_USER"}, update_mask={"paths": ["role"]}
    )
