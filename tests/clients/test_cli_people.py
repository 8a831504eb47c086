"""`responsa users`, `responsa groups` and `responsa collections share --group`: requests, output and exit codes."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2

from clients.conformance.server import Context, abort, status
from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.admin.v1 import group_pb2
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import user_pb2
from responsa.knowledge.v1 import collection_pb2, knowledge_service_pb2
from tests.clients.command_line import CommandLine
from tests.clients.scripted import ADMIN, KNOWLEDGE, Scripted

AUTH = "responsa.auth.v1.AuthService"
ADA = "users/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10"
SALES, FIELD, OTHER = (f"groups/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a2{number}" for number in range(3))


@pytest.fixture(autouse=True)
def served(server: Scripted) -> None:
    async def lookup(request: admin.LookupUserRequest, _: Any) -> user_pb2.User:
        assert request.email == "ada@example.org"
        return user_pb2.User(name=ADA)

    async def change(request: Any, _: Any) -> user_pb2.User:
        role = request.user.role if hasattr(request, "user") else user_pb2.USER_ROLE_USER
        return user_pb2.User(name=ADA, display_name="Ada", email="ada@example.org", role=role)

    async def invite(
        request: auth.CreateInvitationRequest, context: Context
    ) -> auth.CreateInvitationResponse:
        if "@" not in request.email:
            await abort(context, status(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "No address."))
        return auth.CreateInvitationResponse(code=f"code-{request.email[:3]}")

    async def groups(_: Any, __: Any) -> admin.ListGroupsResponse:
        names = ((SALES, "Sales"), (FIELD, "Field"), (OTHER, "Field"))
        return admin.ListGroupsResponse(
            groups=[group_pb2.Group(name=name, display_name=text, member_count=2) for name, text in names]
        )

    async def members(request: Any, _: Any) -> group_pb2.Group:
        return group_pb2.Group(name=request.name, display_name="Sales", member_count=len(request.users))

    async def collection(request: Any, _: Any) -> collection_pb2.Collection:
        return (
            request.collection
            if hasattr(request, "collection")
            else collection_pb2.Collection(name=request.name)
        )

    server.on(f"{ADMIN}/LookupUser", lookup)
    for method in ("UpdateUser", "DisableUser", "EnableUser"):
        server.on(f"{ADMIN}/{method}", change)
    server.on(f"{AUTH}/CreateInvitation", invite)
    server.reply(f"{AUTH}/CreateResetCode", auth.CreateResetCodeResponse(code="again"))
    server.reply(f"{AUTH}/GetMe", user_pb2.User(name=ADA, tenant="tenants/branch"))
    server.reply(f"{AUTH}/ListSignInMethods", auth.ListSignInMethodsResponse(tenant="tenants/default"))
    server.on(f"{ADMIN}/ListGroups", groups)
    server.on(f"{ADMIN}/AddGroupMembers", members)
    server.on(f"{ADMIN}/RemoveGroupMembers", members)
    server.reply(f"{ADMIN}/DeleteGroup", empty_pb2.Empty())
    server.on(f"{KNOWLEDGE}/GetCollection", collection)
    server.on(f"{KNOWLEDGE}/UpdateCollection", collection)


async def test_invitations_are_links_and_a_wrong_address_stops_no_other(responsa: CommandLine) -> None:
    done = await responsa(
        "users", "invite", "ada@example.org", "nowhere", "bob@example.org", "ada@example.org"
    )
    assert done.code == 2
    ada, bob = done.out.splitlines()
    assert ada.startswith("ada@example.org  http")
    assert ada.endswith("/?tenant=branch#invitation=code-ada&email=ada%40example.org")
    assert bob.endswith("#invitation=code-bob&email=bob%40example.org")
    assert "nowhere: No address." in done.err
    assert "1 address got no invitation." in done.err
    again = await responsa("users", "reset", "ada@example.org")
    assert (again.code, again.out.endswith("/?tenant=branch#reset=again\n")) == (0, True)


async def test_users_are_changed_by_their_addresses(server: Scripted, responsa: CommandLine) -> None:
    for words in (("disable", "ada@example.org"), ("enable", ADA), ("role", "ada@example.org", "admin")):
        done = await responsa("users", *words)
        assert done.code == 0, done.err
        assert f"Ada ({ADA})" in done.out
    [changed] = server.requests[f"{ADMIN}/UpdateUser"]
    assert (changed.user.name, changed.user.role) == (ADA, user_pb2.USER_ROLE_ADMIN)
    assert list(changed.update_mask.paths) == ["role"]


async def test_a_group_is_meant_by_its_name_unless_two_have_it(
    server: Scripted, responsa: CommandLine
) -> None:
    done = await responsa("groups", "add", "Sales", "ada@example.org", ADA.removeprefix("users/"))
    assert (done.code, done.out) == (0, f"{SALES}  Sales  2 members\n")
    [added] = server.requests[f"{ADMIN}/AddGroupMembers"]
    assert (added.name, list(added.users)) == (SALES, [ADA, ADA])
    for name, text in (("Field", "2 groups have this name."), ("Nobody", "No group is called Nobody.")):
        refused = await responsa("groups", "remove", name, ADA)
        assert (refused.code, text in refused.err) == (2, True)
    assert not server.requests.get(f"{ADMIN}/RemoveGroupMembers")
    deleted = await responsa("groups", "delete", "Sales")
    assert deleted.out == f"deleted Sales ({SALES})\n"


async def test_a_collection_is_shared_with_a_group_by_its_name(
    server: Scripted, responsa: CommandLine
) -> None:
    done = await responsa("collections", "share", "notes", "--group", "Sales")
    assert done.code == 0, done.err
    [request] = server.requests[f"{KNOWLEDGE}/UpdateCollection"]
    assert isinstance(request, knowledge_service_pb2.UpdateCollectionRequest)
    assert [reader.group for reader in request.collection.readers] == [SALES]
