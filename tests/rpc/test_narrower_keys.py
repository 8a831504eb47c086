"""API keys of administrators with the role USER, over gRPC: no call, no key and no session that begins with such a key has more rights."""

from __future__ import annotations

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import user_pb2
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_server.domain.errors import NotPermitted
from responsa_server.domain.people import Role
from responsa_server.identity.service import Credential
from tests.conftest import DatabaseUrls
from tests.raising import raises
from tests.rpc.served import Metadata, Served, bearer, failed

USER = user_pb2.USER_ROLE_USER


async def narrow(served: Served) -> tuple[str, Metadata]:
    """A key of Ann, who is an owner. Returns its name and its metadata."""
    made = await served.ann.CreateApiKey(api_key={"display_name": "backup", "role": "USER_ROLE_USER"})
    assert made.api_key.role == USER
    return made.api_key.name, bearer(made.secret)


async def test_a_narrower_key_does_not_administer(served: Served) -> None:
    _, metadata = await narrow(served)
    me = await served.sending(metadata).GetMe()
    assert (me.name, me.role) == (served.ann.name, USER)
    assert not me.owns_installation
    renamed = auth.UpdateMeRequest(user={"display_name": "Ann B."}, update_mask={"paths": ["display_name"]})
    now = await served.auth.UpdateMe(renamed, metadata=metadata)
    assert (now.display_name, now.role, now.owns_installation) == ("Ann B.", USER, False)
    same = auth.UpdateMeRequest(user=now, update_mask={"paths": ["*"]})
    assert (await served.auth.UpdateMe(same, metadata=metadata)).email == now.email


async def test_what_begins_with_a_narrower_key_is_as_narrow(
    served: Served, database_urls: DatabaseUrls
) -> None:
    name, metadata = await narrow(served)
    child = await served.sending(metadata).CreateApiKey()
    assert (child.api_key.role, child.api_key.parent_key) == (USER, name)
    code = await served.sending(metadata).CreateSessionCode()
    cookie, _ = await served.identity.exchange_code(code.code)
    browser = await served.identity.caller_of(cookie)
    assert browser is not None
    assert (browser.role, browser.owner) == (Role.USER, False)
    listing = admin.ListUsersRequest()
    error = await failed(served.admin.ListUsers(listing, metadata=bearer(child.secret)))
    assert error.reason == "ROLE_REQUIRED"
    # Ann has no password. A session of another key of hers could set the first one; this one would lead to all her rights.
    password = auth.ChangePasswordRequest(new_password="seven purple walruses hum")
    database_urls.ask(
        "UPDATE responsa.app_user SET email = 'ann@example.org' WHERE id = %s", served.ann.who.user_id
    )
    assert (await failed(served.auth.ChangePassword(password, metadata=metadata))).reason == (
        "SIGN_IN_REQUIRED"
    )
    await raises(NotPermitted, served.accounts.require_recent_sign_in(browser), "sign-in")


async def test_a_narrower_key_reads_what_users_may_read(served: Served) -> None:
    shared = {"readers": [{"role": "USER_ROLE_ADMIN"}]}
    made = await served.bob.CreateCollection(collection_id="admins", collection=shared)
    _, metadata = await narrow(served)
    read = knowledge.GetCollectionRequest(name=made.name)
    full = await served.ann.ListCollections()
    less = await served.sending(metadata).ListCollections()
    assert len(full.collections) == len(less.collections) + 1
    assert (await failed(served.knowledge.GetCollection(read, metadata=metadata))).reason == (
        "RESOURCE_NOT_FOUND"
    )
    # The turn runs with the rights of the key, on whichever server.
    turn = await served.sending(metadata).StartTurn(text="wait")
    assert turn.owner == served.ann.name


async def test_a_narrower_key_stays_good_whatever_role_its_owner_gets(served: Served) -> None:
    user = await served.identity.create_user("acme", "Zoe", "", Role.ADMIN)
    _, secret = await served.identity.create_key("acme", user.id, "")
    request = auth.CreateApiKeyRequest(api_key={"role": "USER_ROLE_USER"})
    made = await served.auth.CreateApiKey(request, metadata=bearer(secret))
    caller = await served.identity.authenticate(Credential("api_key", made.secret))
    assert caller.narrowed
    assert await served.identity.recheck([caller]) == [None]
    await served.ann.UpdateUser(
        user={"name": f"users/{user.id}", "role": USER}, update_mask={"paths": ["role"]}
    )
    assert await served.identity.recheck([caller]) == [None]
    await served.sending(bearer(made.secret)).RevokeApiKey(name=made.api_key.name)
    (ended,) = await served.identity.recheck([caller])
    assert ended is not None
    assert ended.reason == "CREDENTIAL_REVOKED"


async def test_a_key_has_no_other_role(served: Served) -> None:
    error = await failed(served.bob.CreateApiKey(api_key={"role": "USER_ROLE_ADMIN"}))
    assert error.reason == "INVALID_FIELD"
    assert set(error.violations) == {"api_key.role"}
    service = await served.ann.CreateUser(user={"display_name": "Sync", "role": "USER_ROLE_SERVICE"})
    error = await failed(
        served.ann.CreateServiceApiKey(user=service.name, api_key={"role": "USER_ROLE_USER"})
    )
    assert set(error.violations) == {"api_key.role"}
