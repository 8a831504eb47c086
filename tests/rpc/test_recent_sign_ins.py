"""What an administrator's session may do only soon after its sign-in, over gRPC: whatever makes a way in, changes the owners, deletes a user or what belongs to other users, or suspends or erases a tenant."""

# Requests are written as plain literals here.
# pyright: reportUnknownMemberType=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Awaitable, Callable

import psycopg

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import user_pb2
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_server.domain.knowledge import Chunking
from responsa_server.domain.people import Origin, Principal, Role, User
from tests.conftest import DatabaseUrls
from tests.people import GOOD
from tests.rpc.served import Served, caller, failed

ADMIN = user_pb2.USER_ROLE_ADMIN


async def test_the_list_of_users_says_when_each_signed_in_last(served: Served) -> None:
    user = await served.identity.create_user("acme", "Zoe", "zoe@example.org", Role.USER)
    zoe, bob = f"users/{user.id}", f"users/{served.bob.who.user_id}"
    code, _ = await served.accounts.create_reset_code(served.ann.who, user.id)
    await served.accounts.reset_password(code, GOOD)
    signed, _ = await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())
    metadata = (("authorization", f"Bearer {signed.access_token}"),)
    await served.auth.RevokeSessions(auth.RevokeSessionsRequest(all_others=True), metadata=metadata)
    me = await served.auth.GetMe(auth.GetMeRequest(), metadata=metadata)

    async def listed(filter_by: str) -> dict[str, bool]:
        request = admin.ListUsersRequest(filter=filter_by)
        found = await served.admin.ListUsers(request, metadata=served.ann.metadata)
        return {user.name: user.HasField("last_sign_in_time") for user in found.users}

    everybody = await listed("")
    assert (everybody[zoe], everybody[bob]) == (True, False)
    when = me.last_sign_in_time.ToJsonString()
    assert set(await listed(f'last_sign_in_time >= "{when}"')) == {zoe}
    assert zoe not in await listed(f'NOT last_sign_in_time >= "{when}"')
    assert bob in await listed(f'NOT last_sign_in_time >= "{when}"')


async def test_an_old_session_makes_no_way_in_changes_no_owner_and_deletes_no_user_or_tenant(
    served: Served, database_urls: DatabaseUrls
) -> None:
    user = await served.identity.create_user("acme", "Zoe", "zoe@example.org", Role.ADMIN)
    zoe, bob = f"users/{user.id}", f"users/{served.bob.who.user_id}"
    code, _ = await served.accounts.create_reset_code(served.ann.who, user.id)
    await served.accounts.reset_password(code, GOOD)
    await served.admin.GrantOwnership(admin.GrantOwnershipRequest(name=zoe), metadata=served.ann.metadata)
    another = await served.identity.create_user("acme", "Kim", "kim@example.org", Role.ADMIN)
    third = f"users/{another.id}"
    await served.admin.GrantOwnership(admin.GrantOwnershipRequest(name=third), metadata=served.ann.metadata)
    others = [
        await served.identity.create_user("acme", "Old", f"old{n}@example.org", Role.USER) for n in (1, 2)
    ]
    for tenant_id in ("other1", "other2"):
        made = admin.CreateTenantRequest(tenant_id=tenant_id)
        await served.admin.CreateTenant(made, metadata=served.ann.metadata)
    service = await caller(served.identity, served.channel, "acme", Role.SERVICE)
    signed, _ = await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())
    metadata = (("authorization", f"Bearer {signed.access_token}"),)
    calls: list[Callable[[int], Awaitable[object]]] = [
        lambda _: served.auth.CreateResetCode(auth.CreateResetCodeRequest(user=zoe), metadata=metadata),
        lambda _: served.auth.CreateInvitation(auth.CreateInvitationRequest(role=ADMIN), metadata=metadata),
        lambda n: served.admin.CreateUser(
            admin.CreateUserRequest(
                user={"display_name": "New", "email": f"new{n}@example.org", "role": ADMIN}
            ),
            metadata=metadata,
        ),
        lambda n: served.admin.UpdateUser(
            admin.UpdateUserRequest(
                user={"name": bob, "email": f"bob{n}@example.org"}, update_mask={"paths": ["email"]}
            ),
            metadata=metadata,
        ),
        lambda _: served.admin.UpdateUser(
            admin.UpdateUserRequest(user={"name": bob, "role": ADMIN}, update_mask={"paths": ["role"]}),
            metadata=metadata,
        ),
        lambda _: served.admin.CreateServiceApiKey(
            admin.CreateServiceApiKeyRequest(user=f"users/{service.who.user_id}"), metadata=metadata
        ),
        lambda _: served.admin.InviteTenantAdministrator(
            admin.InviteTenantAdministratorRequest(name="tenants/acme"), metadata=metadata
        ),
        lambda _: served.admin.GrantOwnership(admin.GrantOwnershipRequest(name=zoe), metadata=metadata),
        lambda _: served.admin.RevokeOwnership(admin.RevokeOwnershipRequest(name=third), metadata=metadata),
        lambda n: served.admin.CreateTenant(
            admin.CreateTenantRequest(tenant_id=f"made{n}"), metadata=metadata
        ),
        lambda n: served.admin.DeleteUser(
            admin.DeleteUserRequest(name=f"users/{others[n - 1].id}"), metadata=metadata
        ),
        lambda n: served.admin.SuspendTenant(
            admin.SuspendTenantRequest(name=f"tenants/other{n}"), metadata=metadata
        ),
        lambda n: served.admin.EraseTenant(
            admin.EraseTenantRequest(name=f"tenants/other{n}", confirm_tenant_id=f"other{n}"),
            metadata=metadata,
        ),
    ]
    for call in calls:
        await call(1)
    with psycopg.connect(database_urls.superuser) as connection:
        connection.execute("UPDATE responsa.session SET sign_in_time = now() - interval '11 minutes'")
    assert [(await failed(call(2))).reason for call in calls] == ["SIGN_IN_REQUIRED"] * len(calls)
    # What lets nobody in as somebody else goes on, and so does a program with a key.
    await served.auth.CreateInvitation(auth.CreateInvitationRequest(), metadata=metadata)
    renamed = admin.UpdateUserRequest(
        user={"name": bob, "display_name": "Bob B."}, update_mask={"paths": ["display_name"]}
    )
    await served.admin.UpdateUser(renamed, metadata=metadata)
    gone = admin.DeleteUserRequest(name=f"users/{others[1].id}")
    await served.admin.DeleteUser(gone, metadata=served.ann.metadata)
    reset = auth.CreateResetCodeRequest(user=zoe)
    assert (await served.auth.CreateResetCode(reset, metadata=served.ann.metadata)).code


async def test_an_old_session_deletes_no_collection_and_no_document_of_others(
    served: Served, database_urls: DatabaseUrls
) -> None:
    """An administrator's own ones go, and so do those of others with a recent sign-in or with a key. Other users need no recent sign-in."""
    library = served.house.library
    zoe = await served.identity.create_user("acme", "Zoe", "zoe@example.org", Role.ADMIN)
    kim = await served.identity.create_user("acme", "Kim", "kim@example.org", Role.USER)
    ours = {one.id: Principal("acme", one.id, one.role, "api_key") for one in (zoe, kim)}

    async def signed_in(user: User) -> tuple[tuple[str, str], ...]:
        code, _ = await served.accounts.create_reset_code(served.ann.who, user.id)
        await served.accounts.reset_password(code, GOOD)
        signed, _ = await served.accounts.login("acme", user.email, GOOD, Origin())
        return (("authorization", f"Bearer {signed.access_token}"),)

    async def made(owner: Principal, name: str) -> tuple[str, str]:
        """The names of a collection and of a document in it."""
        collection = await library.create_collection(owner, name, "", Chunking())
        operation = await served.house.upload(owner, f"The {name} is long.", collection=name)
        return f"collections/{collection.shared_id}", f"documents/{operation.document_id}"

    def document(name: str, metadata: tuple[tuple[str, str], ...]) -> Awaitable[object]:
        return served.knowledge.DeleteDocument(knowledge.DeleteDocumentRequest(name=name), metadata=metadata)

    def collection(name: str, metadata: tuple[tuple[str, str], ...]) -> Awaitable[object]:
        request = knowledge.DeleteCollectionRequest(name=name, force=True)
        return served.knowledge.DeleteCollection(request, metadata=metadata)

    as_zoe, as_kim = await signed_in(zoe), await signed_in(kim)
    for number, metadata in enumerate((as_zoe, served.ann.metadata)):
        of_bob = await made(served.bob.who, f"elbe{number}")
        await document(of_bob[1], metadata)
        await collection(of_bob[0], metadata)
    with psycopg.connect(database_urls.superuser) as connection:
        connection.execute("UPDATE responsa.session SET sign_in_time = now() - interval '11 minutes'")
    of_bob = await made(served.bob.who, "oder")
    assert (await failed(document(of_bob[1], as_zoe))).reason == "SIGN_IN_REQUIRED"
    assert (await failed(collection(of_bob[0], as_zoe))).reason == "SIGN_IN_REQUIRED"
    listing = admin.ListAuditEventsRequest(filter='outcome = "SIGN_IN_REQUIRED"')
    found = (await served.admin.ListAuditEvents(listing, metadata=served.ann.metadata)).audit_events
    assert [(one.action, one.resource, one.affected_user) for one in reversed(found)] == [
        ("document.delete", of_bob[1], f"users/{served.bob.who.user_id}"),
        ("collection.delete", of_bob[0], f"users/{served.bob.who.user_id}"),
    ]
    for owner, metadata in ((ours[zoe.id], as_zoe), (ours[kim.id], as_kim)):
        own = await made(owner, "main")
        await document(own[1], metadata)
        await collection(own[0], metadata)
    await document(of_bob[1], served.ann.metadata)
    await collection(of_bob[0], served.ann.metadata)
