"""Compares the authorisation table with the served methods."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from a2a.types import a2a_pb2
from google.api import annotations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from responsa.knowledge.v1.knowledge_service_pb2 import GetPassageRequest
from responsa.type.v1 import method_pb2
from responsa_server.calls.authorisation import RULES, SCOPES, Rule
from responsa_server.calls.call import Call
from responsa_server.calls.methods import METHODS, SERVICES
from responsa_server.calls.services.knowledge import KnowledgeService
from responsa_server.domain.errors import NotPermitted
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.programs import ASK, SEARCH
from responsa_server.transports.a2a.routes import SERVICE as A2A
from responsa_server.transports.grpc.health import HEALTH

TURN = f"turns/{UUID(int=3)}"
STANDARD = (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR, a2a_pb2.DESCRIPTOR)


def services() -> list[ServiceDescriptor]:
    pool = descriptor_pool.Default()
    assert all(file.services_by_name for file in STANDARD)
    return [
        pool.FindServiceByName(name)
        for name in (
            *SERVICES,
            HEALTH,
            "grpc.reflection.v1alpha.ServerReflection",
            A2A,
        )
    ]


def test_every_method_that_is_served_has_a_rule_and_no_other() -> None:
    served = {f"/{service.full_name}/{method.name}" for service in services() for method in service.methods}
    # The library has no descriptor of this version, whose messages are the same.
    served |= {method.replace(".v1alpha.", ".v1.") for method in served if ".reflection." in method}
    assert served == set(RULES)


def test_administrative_methods_are_for_administrators() -> None:
    rules = {method: rule for method, rule in RULES.items() if method.startswith("/responsa.admin.")}
    assert {method.rpartition("/")[2] for method, rule in rules.items() if rule is Rule.SERVICE} == {
        "NotifySubjectChanged"
    }
    assert {method.rpartition("/")[2] for method, rule in rules.items() if rule is Rule.MEMBER} == {
        "GetGroup",
        "ListGroups",
    }
    assert set(rules.values()) == {Rule.ADMIN, Rule.OWNER, Rule.SERVICE, Rule.MEMBER}


def test_what_belongs_to_the_installation_is_its_owners_and_the_ways_in_are_administrators() -> None:
    for rule, package, methods in (
        (
            Rule.OWNER,
            "/responsa.",
            (
                "CreateAgentVersion CreateExperiment CreateTenant DeleteAskedProgram EraseTenant GetExperiment "
                "GetExperimentReport GetModels GetTenant GrantOwnership InviteTenantAdministrator "
                "ListAskedPrograms ListExperiments ListTenants PublishAgentVersion ReloadAgents ResumeTenant "
                "RevokeOwnership RollbackAgentVersion SetDefaultModel StopExperiment SuspendTenant TestModel "
                "UpdateAgent UpdateAskedProgram"
            ),
        ),
        (
            Rule.ADMIN,
            "/responsa.auth.",
            "CreateInvitation CreateResetCode ListInvitations RevokeInvitation",
        ),
    ):
        found = [method for method, one in RULES.items() if one is rule and method.startswith(package)]
        assert sorted(method.rpartition("/")[2] for method in found) == methods.split()


def test_only_sign_in_health_and_reflection_are_public() -> None:
    public = {method for method, rule in RULES.items() if rule is Rule.PUBLIC}
    assert {method.rpartition("/")[2] for method in public if not method.startswith("/grpc.")} == {
        "ListSignInMethods", "Login", "RefreshToken", "Logout", "GetJwks", "Register", "ConfirmEmail", "RequestReset", "ResetPassword"
    }  # fmt: skip


def test_what_makes_a_way_in_or_ends_a_user_or_a_tenant_needs_a_recent_sign_in() -> None:
    wanted = {
        method: one.GetOptions().Extensions[method_pb2.recent_session] for method, one in METHODS.items()
    }
    for session, methods in (
        (method_pb2.RECENT_SESSION_ONLY, "DeleteMe UnlinkIdentity"),
        (
            method_pb2.RECENT_SESSION_OR_KEY,
            (
                "CreateApiKey CreateResetCode CreateServiceApiKey CreateTenant DeleteUser EraseTenant "
                "GrantOwnership InviteTenantAdministrator RevokeOwnership SetDefaultModel SuspendTenant "
                "TestModel"
            ),
        ),
    ):
        found = sorted(method.rpartition("/")[2] for method, one in wanted.items() if one == session)
        assert found == methods.split()
    assert not any(
        METHODS[method].server_streaming or METHODS[method].client_streaming
        for method in wanted
        if wanted[method]
    )


def test_all_services_of_the_contract_are_served() -> None:
    pool = descriptor_pool.Default()
    for area in ("chat", "knowledge", "auth", "admin"):
        file = pool.FindFileByName(f"responsa/{area}/v1/{area}_service.proto")
        for service in file.services_by_name.values():
            assert service.full_name in SERVICES


@pytest.mark.parametrize("name", [name for name in SERVICES if name.startswith("responsa.")])
def test_every_method_but_uploads_has_a_rest_binding(name: str) -> None:
    for method in descriptor_pool.Default().FindServiceByName(name).methods:
        bound = method.GetOptions().HasExtension(annotations_pb2.http)  # pyright: ignore[reportArgumentType]  # its stub is untyped
        assert bound != method.client_streaming, method.full_name


@pytest.mark.parametrize(("turn", "scope"), [("", ASK), (TURN, SEARCH)])
async def test_a_program_reads_passages_of_turns_only_if_it_may_ask(turn: str, scope: str) -> None:
    assert SCOPES["/responsa.knowledge.v1.KnowledgeService/GetPassage"] == {ASK, SEARCH}
    program = Principal("acme", UUID(int=1), Role.USER, "token", scopes=frozenset({scope}))
    entered = Call("/x", principal=program).enter()
    missing: Any = SimpleNamespace(library=None, limiter=None)  # the scope is checked before anything is read
    try:
        service = KnowledgeService(missing, missing)
        with pytest.raises(NotPermitted) as refused:
            await service.GetPassage(GetPassageRequest(name=f"passages/{UUID(int=2)}", turn=turn))
    finally:
        Call.leave(entered)
    assert refused.value.metadata["required_scope"] == ({ASK, SEARCH} - {scope}).pop()
