"""What an administrator's session may do only soon after its sign-in, over gRPC: whatever makes a way in, changes the owners, deletes a user, or suspends or erases a tenant."""

# Requests are written as plain literals here.
# pyright: reportUnknownMemberType=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Awaitable, Callable

import psycopg

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import user_pb2
from responsa_server.domain.people import Origin, Role
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
        return {one.name: one.HasField("last_sign_in_time") for one in found.users}

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
