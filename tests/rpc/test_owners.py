"""The owner of the installation, over gRPC: what only owners may do, and how ownership is given on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest
from uuid_utils.compat import uuid7

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.auth.v1 import user_pb2
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.domain.people import Role
from tests.rpc.served import Caller, Served, caller, failed

ADMIN = "/responsa.admin.v1.AdminService/"
SOMEBODY = f"users/{uuid7()}"
EXPERIMENT = f"experiments/{uuid7()}"
PROGRAM = "askedPrograms/01900000-0000-7000-8000-000000000000"


async def colleague(served: Served) -> Caller:
    return await caller(served.identity, served.channel, "acme", Role.ADMIN)


async def test_the_first_administrator_of_the_first_tenant_is_the_owner(served: Served) -> None:
    callers = (served.ann, await colleague(served), served.bob, served.eve)
    assert [(await who.GetMe()).owns_installation for who in callers] == [True, False, False, False]


OF_OWNERS = {
    "ReloadAgents": (admin.ReloadAgentsRequest(), "agents.reload", "agents/-"),
    "CreateAgentVersion": (
        admin.CreateAgentVersionRequest(parent="agents/chat", agent_version={"content": {}}),
        "agent_version.create",
        "agents/chat",
    ),
    "PublishAgentVersion": (
        admin.PublishAgentVersionRequest(name="agents/chat/versions/1"),
        "agent_version.publish",
        "agents/chat/versions/1",
    ),
    "RollbackAgentVersion": (
        admin.RollbackAgentVersionRequest(name="agents/chat/versions/1"),
        "agent_version.rollback",
        "agents/chat/versions/1",
    ),
    "UpdateAgent": (
        admin.UpdateAgentRequest(agent={"name": "agents/chat", "listed": True}),
        "agent.update",
        "agents/chat",
    ),
    "CreateExperiment": (
        admin.CreateExperimentRequest(
            experiment={
                "candidate": "agents/chat/versions/1",
                "candidate_percent": 50,
                "unit": "EXPERIMENT_UNIT_USER",
                "metric": "EXPERIMENT_METRIC_COST",
                "guard": "EXPERIMENT_METRIC_COST",
                "duration": timedelta(days=1),
            }
        ),
        "experiment.create",
        "",
    ),
    "GetExperiment": (admin.GetExperimentRequest(name=EXPERIMENT), "experiment.read", EXPERIMENT),
    "ListExperiments": (admin.ListExperimentsRequest(), "experiment.read", ""),
    "StopExperiment": (admin.StopExperimentRequest(name=EXPERIMENT), "experiment.stop", EXPERIMENT),
    "GetExperimentReport": (
        admin.GetExperimentReportRequest(name=EXPERIMENT),
        "experiment.read",
        EXPERIMENT,
    ),
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
    "GetModels": (admin.GetModelsRequest(), "default_model.read", ""),
    "SetDefaultModel": (
        admin.SetDefaultModelRequest(default_model={}),
        "default_model.set",
        "defaultModel/-",
    ),
    "TestModel": (admin.TestModelRequest(default_model={}), "default_model.test", "defaultModel/-"),
    "ListAskedPrograms": (admin.ListAskedProgramsRequest(), "asked_program.read", ""),
    "UpdateAskedProgram": (
        admin.UpdateAskedProgramRequest(asked_program={"name": PROGRAM, "allowed": True}),
        "asked_program.update",
        PROGRAM,
    ),
    "DeleteAskedProgram": (admin.DeleteAskedProgramRequest(name=PROGRAM), "asked_program.delete", PROGRAM),
    "EraseTenant": (admin.EraseTenantRequest(name="tenants/rival"), "tenant.erase", "tenants/rival"),
}
"""For each method of owners: a request, and the action and the resource in the audit log."""


async def test_what_belongs_to_the_installation_is_its_owners(served: Served) -> None:
    methods = [one for one, rule in RULES.items() if rule is Rule.OWNER and not one.startswith("/grpc.")]
    assert {one.removeprefix(ADMIN) for one in methods} == set(OF_OWNERS)
    second = await colleague(served)
    for method in methods:
        request, _, _ = OF_OWNERS[method.removeprefix(ADMIN)]
        for somebody in (second, served.bob, served.eve):
            error = await failed(served.raw(method, request.SerializeToString(), somebody))
            assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
            assert error.metadata == {"required_role": "OWNER"}
            assert "GrantOwnership" in error.message
    # The server refuses users before it reads the request, so their events name only a resource that is always the same.
    acts = [(action, resource) for _, action, resource in OF_OWNERS.values()]
    of_user = [(action, resource if resource.endswith("/-") else "") for action, resource in acts]
    for reader, somebody, expected in (
        (served.ann, second, acts),
        (served.ann, served.bob, of_user),
        (served.eve, served.eve, acts),
    ):
        asked = f'outcome = ROLE_REQUIRED AND actor = "{somebody.name}"'
        found = (await reader.ListAuditEvents(filter=asked)).audit_events
        assert sorted((event.action, event.resource) for event in found) == sorted(expected)


async def test_only_the_owner_gets_the_counters_of_all_tenants(served: Served) -> None:
    served.counters.add("turns", {"agent": "default"})
    assert (await served.ann.GetSystemStatus()).counters
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
