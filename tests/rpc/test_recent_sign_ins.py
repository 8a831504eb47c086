"""What an administrator's session may do only soon after its sign-in, over gRPC: whatever makes a way in, changes the
owners, deletes a user or what belongs to other users, or suspends or erases a tenant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from responsa.auth.v1 import user_pb2
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_server.domain.knowledge import Chunking, CollectionFields
from responsa_server.domain.people import Origin, Principal, Role, User
from tests.conftest import DatabaseUrls
from tests.people import GOOD
from tests.rpc.served import Served, bearer, failed, zoe

ADMIN = user_pb2.USER_ROLE_ADMIN


async def test_the_list_of_users_says_when_each_signed_in_last(served: Served) -> None:
    own, bob = f"users/{(await zoe(served)).id}", served.bob.name
    signed, _ = await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())
    metadata = bearer(signed.access_token)
    await served.sending(metadata).RevokeSessions(all_others=True)
    me = await served.sending(metadata).GetMe()

    async def listed(filter_by: str) -> dict[str, bool]:
        found = await served.ann.ListUsers(filter=filter_by)
        return {user.name: user.HasField("last_sign_in_time") for user in found.users}

    everybody = await listed("")
    assert (everybody[own], everybody[bob]) == (True, False)
    when = me.last_sign_in_time.ToJsonString()
    assert set(await listed(f'last_sign_in_time >= "{when}"')) == {own}
    assert own not in await listed(f'NOT last_sign_in_time >= "{when}"')
    assert bob in await listed(f'NOT last_sign_in_time >= "{when}"')


async def test_an_old_session_makes_no_way_in(served: Served, database_urls: DatabaseUrls) -> None:
    """By one of the methods that always need a recent sign-in, and by those that need it for some requests."""
    user, bob = await zoe(served, Role.ADMIN), served.bob.name
    signed, _ = await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())
    signed_in = served.sending(bearer(signed.access_token))

    calls: list[Callable[[int], Awaitable[object]]] = [
        lambda _: signed_in.CreateApiKey(),
        lambda _: signed_in.CreateInvitation(role=ADMIN),
        lambda n: signed_in.CreateUser(
            user={"display_name": "New", "email": f"new{n}@example.org", "role": ADMIN}
        ),
        lambda n: signed_in.UpdateUser(
            user={"name": bob, "email": f"bob{n}@example.org"}, update_mask={"paths": ["email"]}
        ),
        lambda _: signed_in.UpdateUser(user={"name": bob, "role": ADMIN}, update_mask={"paths": ["role"]}),
    ]
    for call in calls:
        await call(1)
    database_urls.ask("UPDATE responsa.session SET sign_in_time = now() - interval '11 minutes'")
    calls.append(lambda _: signed_in.DeleteMe())
    assert [(await failed(call(2))).reason for call in calls] == ["SIGN_IN_REQUIRED"] * len(calls)
    # What lets nobody in as somebody else goes on, and so does a program with a key.
    await signed_in.CreateInvitation()
    await signed_in.UpdateUser(
        user={"name": bob, "display_name": "Bob B."}, update_mask={"paths": ["display_name"]}
    )
    assert (await served.ann.CreateResetCode(user=f"users/{user.id}")).code


async def test_an_old_session_deletes_no_collection_and_no_document_of_others(
    served: Served, database_urls: DatabaseUrls
) -> None:
    """An administrator's own ones go, and so do those of others with a recent sign-in or with a key. Other users need no recent sign-in."""
    library = served.harness.library
    zoe = await served.identity.create_user("acme", "Zoe", "zoe@example.org", Role.ADMIN)
    kim = await served.identity.create_user("acme", "Kim", "kim@example.org", Role.USER)
    ours = {one.id: Principal("acme", one.id, one.role, "api_key") for one in (zoe, kim)}

    async def signed_in(user: User) -> tuple[tuple[str, str], ...]:
        code, _ = await served.accounts.create_reset_code(served.ann.who, user.id)
        await served.accounts.reset_password(code, GOOD)
        signed, _ = await served.accounts.login("acme", user.email, GOOD, Origin())
        return bearer(signed.access_token)

    async def made(owner: Principal, name: str) -> tuple[str, str]:
        """The names of a collection and of a document in it."""
        collection = await library.create_collection(owner, name, CollectionFields(""), Chunking())
        operation = await served.harness.upload(owner, f"The {name} is long.", collection=name)
        return f"collections/{collection.shared_id}", f"documents/{operation.document_id}"

    def document(name: str, metadata: tuple[tuple[str, str], ...]) -> Awaitable[object]:
        return served.sending(metadata).DeleteDocument(name=name)

    def collection(name: str, metadata: tuple[tuple[str, str], ...]) -> Awaitable[object]:
        request = knowledge.DeleteCollectionRequest(name=name, force=True)
        return served.knowledge.DeleteCollection(request, metadata=metadata)

    as_zoe, as_kim = await signed_in(zoe), await signed_in(kim)
    for number, metadata in enumerate((as_zoe, served.ann.metadata)):
        of_bob = await made(served.bob.who, f"elbe{number}")
        await document(of_bob[1], metadata)
        await collection(of_bob[0], metadata)
    database_urls.ask("UPDATE responsa.session SET sign_in_time = now() - interval '11 minutes'")
    of_bob = await made(served.bob.who, "oder")
    assert (await failed(document(of_bob[1], as_zoe))).reason == "SIGN_IN_REQUIRED"
    assert (await failed(collection(of_bob[0], as_zoe))).reason == "SIGN_IN_REQUIRED"
    found = (await served.ann.ListAuditEvents(filter='outcome = "SIGN_IN_REQUIRED"')).audit_events
    assert [(one.action, one.resource, one.affected_user) for one in reversed(found)] == [
        ("document.delete", of_bob[1], served.bob.name),
        ("collection.delete", of_bob[0], served.bob.name),
    ]
    for owner, metadata in ((ours[zoe.id], as_zoe), (ours[kim.id], as_kim)):
        own = await made(owner, "main")
        await document(own[1], metadata)
        await collection(own[0], metadata)
    await document(of_bob[1], served.ann.metadata)
    await collection(of_bob[0], served.ann.metadata)
