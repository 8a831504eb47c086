"""The owner of the installation, over gRPC: what only owners may do, and how ownership is given on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.auth.v1 import user_pb2
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.interceptors.audited import ACTS
from responsa_server.domain.people import Role
from tests.rpc.served import Caller, Served, caller, failed
from tests.rpc.sweeping import plain_request, resource_names

ADMIN = "/responsa.admin.v1.AdminService/"


async def colleague(served: Served) -> Caller:
    return await caller(served.identity, served.channel, "acme", Role.ADMIN)


async def test_the_first_administrator_of_the_first_tenant_is_the_owner(served: Served) -> None:
    callers = (served.ann, await colleague(served), served.bob, served.eve)
    assert [(await who.GetMe()).owns_installation for who in callers] == [True, False, False, False]


NAMES = {
    **resource_names(),
    "responsa.example.org/Agent": ["agents/chat"],
    "responsa.example.org/AgentVersion": ["agents/chat/versions/1"],
    "responsa.example.org/Tenant": ["tenants/rival"],
}
MORE = {
    "CreateAgentVersion": admin.CreateAgentVersionRequest(agent_version={"content": {}}),
    "CreateExperiment": admin.CreateExperimentRequest(experiment={"duration": timedelta(days=1)}),
}
"""What valid requests of these methods need, too."""
RECORDED = {
    "ReloadAgents": "agents/-",
    "SetDefaultModel": "defaultModel/-",
    "TestModel": "defaultModel/-",
    "CreateAgentVersion": "agents/chat",
    "CreateExperiment": "",
}
"""What the audit log names for these methods; for the others, it is what the request names."""


def named_in_request(request: bytes) -> str:
    """The resource that a request names; "" if it names none."""
    found = [name for names in NAMES.values() for name in names if name.encode() in request]
    return max(found, key=len, default="")


async def test_what_belongs_to_the_installation_is_its_owners(served: Served) -> None:
    second = await colleague(served)
    expected: list[tuple[str, str]] = []
    for method in (one for one, rule in RULES.items() if rule is Rule.OWNER and not one.startswith("/grpc.")):
        name = method.removeprefix(ADMIN)
        request = plain_request(method, NAMES)
        request += MORE[name].SerializeToString() if name in MORE else b""
        for somebody in (second, served.eve):
            error = await failed(served.raw(method, request, somebody))
            assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
            assert error.metadata == {"required_role": "OWNER"}
            assert "GrantOwnership" in error.message
        resource = RECORDED.get(name, named_in_request(request))
        expected.append((ACTS[method][0], resource))
    assert len(expected) > 20
    for reader, somebody in ((served.ann, second), (served.eve, served.eve)):
        asked = f'outcome = ROLE_REQUIRED AND actor = "{somebody.name}"'
        found = (await reader.ListAuditEvents(filter=asked)).audit_events
        assert sorted((event.action, event.resource) for event in found) == sorted(expected)


async def test_only_the_owner_gets_the_counters_of_all_tenants(served: Served) -> None:
    for _ in range(2):
        served.counters.add("turns", {"agent": "default"})
    served.counters.add("reloads", {})
    system = await served.ann.GetSystemStatus()
    assert [(counter.name, dict(counter.labels), counter.value) for counter in system.counters] == [
        ("reloads", {}, 1),
        ("turns", {"agent": "default"}, 2),
    ]
    for who in (served.eve, await colleague(served)):
        found = await who.GetSystemStatus()
        assert found.parts
        assert not found.counters


async def test_ownership_is_given_on_and_ends(served: Served) -> None:
    second = await colleague(served)
    await second.GetMe()
    for _ in range(2):
        made = await served.ann.GrantOwnership(name=second.name)
        assert made.owns_installation
    await second.ReloadAgents()
    for _ in range(2):
        ended = await second.RevokeOwnership(name=served.ann.name)
        assert (ended.owns_installation, ended.role) == (False, user_pb2.USER_ROLE_ADMIN)
    error = await failed(served.ann.ReloadAgents())
    assert error.reason == "ROLE_REQUIRED"
    error = await failed(second.RevokeOwnership(name=second.name))
    assert (error.code, error.reason, error.metadata) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "LAST_OWNER",
        {"user": second.name},
    )
    found = await served.ann.ListAuditEvents(filter='action = "user.*_ownership"', order_by="create_time")
    assert [(audit_event.action, audit_event.outcome) for audit_event in found.audit_events] == [
        ("user.grant_ownership", "OK"),
        ("user.revoke_ownership", "OK"),
        ("user.revoke_ownership", "LAST_OWNER"),
    ]


async def test_only_active_administrators_of_the_first_tenant_become_owners(served: Served) -> None:
    second = await colleague(served)
    await served.ann.DisableUser(name=second.name)
    for who in (served.bob, second):
        error = await failed(served.ann.GrantOwnership(name=who.name))
        assert (error.reason, list(error.violations)) == ("INVALID_FIELD", ["name"])
        assert "role ADMIN first" in error.message
    error = await failed(served.ann.GrantOwnership(name=served.eve.name))
    assert error.reason == "RESOURCE_NOT_FOUND"


async def test_the_last_owner_is_neither_disabled_nor_demoted(served: Served) -> None:
    await colleague(served)
    called = {"name": served.ann.name, "display_name": "Root", "email": "root@example.org"}
    await served.ann.UpdateUser(user=called, update_mask={"paths": ["display_name", "email"]})
    for work in (
        served.ann.DisableUser(name=served.ann.name),
        served.ann.UpdateUser(demotion(served.ann)),
    ):
        error = await failed(work)
        assert error.reason == "LAST_OWNER"
        # People know each other by name, not by resource.
        assert error.message.startswith(
            "Root (root@example.org) is the only enabled owner of the installation"
        )


async def test_an_administrator_cannot_take_an_owner_over(served: Served) -> None:
    """Whoever could reset the owner's password, or change the owner's address, would be the owner."""
    second = await colleague(served)
    address = admin.UpdateUserRequest(
        user={"name": served.ann.name, "email": "mine@example.org"}, update_mask={"paths": ["email"]}
    )
    for work in (
        second.DisableUser(name=served.ann.name),
        second.UpdateUser(demotion(served.ann)),
        second.UpdateUser(address),
        second.CreateResetCode(user=served.ann.name),
    ):
        error = await failed(work)
        assert error.reason in ("ROLE_REQUIRED", "LAST_OWNER")
    await served.ann.GrantOwnership(name=(await colleague(served)).name)
    for work in (
        second.DisableUser(name=served.ann.name),
        second.UpdateUser(demotion(served.ann)),
    ):
        error = await failed(work)
        assert (error.reason, error.metadata) == ("ROLE_REQUIRED", {"required_role": "OWNER"})


@pytest.mark.parametrize("act", ["owner", "demoted", "disabled"])
async def test_a_reset_code_ends_with_what_allowed_it(served: Served, act: str) -> None:
    """An administrator may hand out no code for an owner, also none before; and one who is none any more may not use
    those that are left."""
    maker, user = await colleague(served), await colleague(served)
    changed = {"name": user.name, "email": f"{act}@example.org"}
    await maker.UpdateUser(admin.UpdateUserRequest(user=changed, update_mask={"paths": ["email"]}))
    code = (await maker.CreateResetCode(user=user.name)).code
    match act:
        case "owner":
            await served.ann.GrantOwnership(name=user.name)
        case "demoted":
            await served.ann.UpdateUser(demotion(maker))
        case _:
            await served.ann.DisableUser(name=maker.name)
    error = await failed(served.nobody.ResetPassword(code=code, new_password="a long enough pass phrase 9"))
    assert error.reason == "CODE_INVALID"


async def test_an_administrator_cannot_shut_an_owner_out(served: Served) -> None:
    """Nor bring a disabled owner back. Administrators may see an owner's keys and limits."""
    ann, second = served.ann, await colleague(served)
    keys = await second.ListTenantApiKeys(filter=f'owner = "{ann.name}"')
    assert len(keys.api_keys) == 1
    third = await colleague(served)
    await ann.GrantOwnership(name=third.name)
    await ann.DisableUser(name=third.name)
    limits = admin.UpdateUserLimitsRequest(
        user_limits={"name": f"{ann.name}/limits", "exceptions": {"calls_per_minute": 1}},
        update_mask={"paths": ["exceptions.calls_per_minute"]},
    )
    quota = admin.UpdateUserQuotaRequest(
        user_quota={"name": f"{ann.name}/quota", "tokens_per_day": {"at_most": 1000}},
        update_mask={"paths": ["tokens_per_day"]},
    )
    calls: tuple[tuple[str, Any], ...] = (
        ("UpdateUserLimits", limits),
        ("UpdateUserQuota", quota),
        ("EnableUser", admin.EnableUserRequest(name=third.name)),
        ("DeleteUser", admin.DeleteUserRequest(name=third.name)),
        ("RevokeTenantApiKey", admin.RevokeTenantApiKeyRequest(name=keys.api_keys[0].name)),
        ("CreateServiceApiKey", admin.CreateServiceApiKeyRequest(user=ann.name)),
    )
    for method, request in calls:
        error = await failed(getattr(second, method)(request))
        assert (error.reason, error.metadata) == ("ROLE_REQUIRED", {"required_role": "OWNER"})
    refused = await ann.ListAuditEvents(filter="outcome = ROLE_REQUIRED")
    assert {audit_event.actor for audit_event in refused.audit_events} == {second.name}
    assert len(refused.audit_events) == len(calls)
    for method, request in (*calls[:3], calls[4]):
        await getattr(ann, method)(request)


async def test_an_owner_who_is_demoted_owns_nothing_when_promoted_again(served: Served) -> None:
    second = await colleague(served)
    await served.ann.GrantOwnership(name=second.name)
    await served.ann.UpdateUser(demotion(second))
    promoted = await served.ann.UpdateUser(
        user={"name": second.name, "role": "USER_ROLE_ADMIN"}, update_mask={"paths": ["role"]}
    )
    assert (promoted.role, promoted.owns_installation) == (user_pb2.USER_ROLE_ADMIN, False)


def demotion(caller: Caller) -> admin.UpdateUserRequest:
    return admin.UpdateUserRequest(
        user={"name": caller.name, "role": "USER_ROLE_USER"}, update_mask={"paths": ["role"]}
    )
