"""Services that act on behalf of users, over gRPC: grants, their end at once, and both names in the records."""

# Requests are written as plain literals here.
# pyright: reportUnknownMemberType=false, reportArgumentType=false

from __future__ import annotations

import asyncio
import time

import grpc
import pytest
from uuid_utils.compat import uuid7

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.domain.people import Role
from tests.rpc.served import SOON, Caller, Served, caller, failed

Metadata = tuple[tuple[str, str], ...]


def name(who: Caller) -> str:
    return f"users/{who.who.user_id}"


def acting(service: Caller, user: str) -> Metadata:
    return (*service.metadata, ("responsa-on-behalf-of", user))


async def service_of(served: Served, tenant: str = "acme") -> Caller:
    return await caller(served.identity, served.channel, tenant, Role.SERVICE)


async def grant(served: Served, service: Caller, user: Caller | None = None) -> str:
    scope = {"all_users": True} if user is None else {"user": name(user)}
    request = admin.CreateServiceGrantRequest(service_grant={"service": name(service), **scope})
    return (await served.admin.CreateServiceGrant(request, metadata=served.ann.metadata)).name


async def key_of(served: Served, who: Caller) -> str:
    request = admin.ListTenantApiKeysRequest(filter=f'owner = "{name(who)}"')
    (found,) = (await served.admin.ListTenantApiKeys(request, metadata=served.ann.metadata)).api_keys
    return found.name


async def test_a_call_on_behalf_of_a_user_is_the_users(served: Served) -> None:
    service = await service_of(served)
    await grant(served, service, served.bob)
    as_bob = acting(service, name(served.bob))
    assert (await served.auth.GetMe(auth.GetMeRequest(), metadata=as_bob)).name == name(served.bob)
    made = await served.chat.CreateConversation(
        chat.CreateConversationRequest(conversation={"title": "Rivers"}), metadata=as_bob
    )
    assert (
        await served.chat.GetConversation(
            chat.GetConversationRequest(name=made.name), metadata=served.bob.metadata
        )
    ).title == "Rivers"
    error = await failed(
        served.chat.GetConversation(chat.GetConversationRequest(name=made.name), metadata=service.metadata)
    )
    assert error.reason == "RESOURCE_NOT_FOUND"
    line = next(one for one in served.lines.of("call") if one["method"].endswith("/CreateConversation"))
    assert (line["tenant"], line["user"], line["acting"]) == (
        "acme",
        str(served.bob.who.user_id),
        str(service.who.user_id),
    )


async def test_both_names_are_in_the_audit_log(served: Served) -> None:
    """What a service changes of a user's resources is audited, as it is when an administrator does it."""
    service = await service_of(served)
    await grant(served, service, served.bob)
    as_bob = acting(service, name(served.bob))
    made = await served.chat.CreateConversation(
        chat.CreateConversationRequest(conversation={"title": "Rivers"}), metadata=as_bob
    )
    rivers = await served.house.take_in(served.bob.who, "The Nile is long.", "rivers.md")
    document = f"documents/{rivers.document_id}"
    turn = await served.chat.StartTurn(chat.StartTurnRequest(text="wait"), metadata=as_bob)
    await served.knowledge.UpdateDocument(
        knowledge.UpdateDocumentRequest(
            document={"name": document, "labels": {"kind": "river"}}, update_mask={"paths": ["labels"]}
        ),
        metadata=as_bob,
    )
    await served.chat.CancelTurn(chat.CancelTurnRequest(name=turn.name), metadata=as_bob)
    await served.chat.DeleteConversation(chat.DeleteConversationRequest(name=made.name), metadata=as_bob)
    await served.knowledge.DeleteDocument(knowledge.DeleteDocumentRequest(name=document), metadata=as_bob)
    found = await served.admin.ListAuditEvents(
        admin.ListAuditEventsRequest(filter=f'on_behalf_of = "{name(served.bob)}"', order_by="create_time"),
        metadata=served.ann.metadata,
    )
    assert [(audit_event.action, audit_event.resource) for audit_event in found.audit_events] == [
        ("document.update", document),
        ("turn.cancel", turn.name),
        ("conversation.delete", made.name),
        ("document.delete", document),
    ]
    assert {
        (audit_event.actor, audit_event.on_behalf_of, audit_event.affected_user)
        for audit_event in found.audit_events
    } == {(name(service), name(served.bob), name(served.bob))}
    about_bob = await served.admin.ListAuditEvents(
        admin.ListAuditEventsRequest(
            filter=f'affected_user = "{name(served.bob)}" AND actor = "{name(service)}"',
            order_by="create_time",
        ),
        metadata=served.ann.metadata,
    )
    assert list(about_bob.audit_events) == list(found.audit_events)


async def test_a_grant_for_all_users_is_for_those_of_the_role_user_alone(served: Served) -> None:
    service, other = await service_of(served), await service_of(served)
    second = await caller(served.identity, served.channel, "acme", Role.ADMIN)
    await grant(served, service)
    newcomer = await caller(served.identity, served.channel, "acme", Role.USER)
    me = auth.GetMeRequest()
    for user in (served.bob, newcomer):
        assert (await served.auth.GetMe(me, metadata=acting(service, name(user)))).name == name(user)
    nobody = f"users/{uuid7()}"
    for user in (name(served.ann), name(second), name(other), name(service), name(served.eve), nobody):
        error = await failed(served.auth.GetMe(me, metadata=acting(service, user)))
        assert (error.code, error.reason, error.metadata) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "GRANT_REQUIRED",
            {"user": user},
        )
        assert (
            error.message == (await failed(served.auth.GetMe(me, metadata=acting(service, nobody)))).message
        )


@pytest.mark.parametrize("who", ["ann", "bob", "browser"])
async def test_only_a_service_with_a_key_acts_for_others(served: Served, who: str) -> None:
    if who == "browser":
        code = await served.auth.CreateSessionCode(
            auth.CreateSessionCodeRequest(), metadata=served.ann.metadata
        )
        token, _ = await served.identity.exchange_code(code.code)
        own: Metadata = (("cookie", f"responsa_session={token}"),)
    else:
        own = (served.ann if who == "ann" else served.bob).metadata
    metadata = (*own, ("responsa-on-behalf-of", name(served.bob)))
    error = await failed(served.auth.GetMe(auth.GetMeRequest(), metadata=metadata))
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ON_BEHALF_NOT_ALLOWED")


@pytest.mark.parametrize(
    "given", ["", "bob", "users/", "users/me", "users/0192F3C8-7A1E-7CC3-9B1E-2F6D2D5C1A10"]
)
async def test_a_name_that_cannot_be_read_is_refused(served: Served, given: str) -> None:
    service = await service_of(served)
    error = await failed(served.auth.GetMe(auth.GetMeRequest(), metadata=acting(service, given)))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert "users/{uuid}" in error.violations["responsa-on-behalf-of"]
    twice = (*acting(service, name(served.bob)), ("responsa-on-behalf-of", name(served.bob)))
    assert (await failed(served.auth.GetMe(auth.GetMeRequest(), metadata=twice))).reason == "INVALID_FIELD"


@pytest.mark.parametrize("method", [one for one, rule in RULES.items() if rule is Rule.OWN])
async def test_nothing_about_the_users_account_is_done_on_the_users_behalf(
    served: Served, method: str
) -> None:
    service = await service_of(served)
    await grant(served, service, served.bob)
    as_bob = acting(service, name(served.bob))
    error = await failed(served.channel.unary_unary(method)(b"", metadata=as_bob))
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ON_BEHALF_NOT_ALLOWED")


@pytest.mark.parametrize("method", [one for one, rule in RULES.items() if rule in (Rule.ADMIN, Rule.OWNER)])
async def test_no_service_administers_anything(served: Served, method: str) -> None:
    service = await service_of(served)
    await grant(served, service, served.bob)
    as_bob = acting(service, name(served.bob))
    for metadata in (service.metadata, as_bob):
        assert (
            await failed(served.channel.unary_unary(method)(b"", metadata=metadata))
        ).reason == "ROLE_REQUIRED"


def every_account_call_is_own() -> set[str]:
    return {
        one.rpartition("/")[2]
        for one, rule in RULES.items()
        if one.startswith("/responsa.auth.") and rule is Rule.MEMBER
    }


def test_of_the_calls_about_the_account_only_reading_ones_own_record_is_left() -> None:
    assert every_account_call_is_own() == {"GetMe"}


@pytest.mark.parametrize("end", ["grant", "user", "service", "promotion", "key"])
async def test_the_next_call_and_open_streams_end_on_every_server(
    pair: tuple[Served, Served], end: str
) -> None:
    first, second = pair
    service = await service_of(first)
    granted = await grant(first, service, first.bob)
    as_bob = acting(service, name(first.bob))
    streams = [aiter(one.chat.Ask(chat.AskRequest(text="wait"), metadata=as_bob)) for one in pair]
    staying = first.chat.Ask(chat.AskRequest(text="wait"), metadata=service.metadata)
    for stream in (*streams, aiter(staying)):
        await anext(stream)
    ann = first.ann.metadata
    match end:
        case "grant":
            await first.admin.DeleteServiceGrant(admin.DeleteServiceGrantRequest(name=granted), metadata=ann)
        case "user":
            await first.admin.DisableUser(admin.DisableUserRequest(name=name(first.bob)), metadata=ann)
        case "service":
            await first.admin.DisableUser(admin.DisableUserRequest(name=name(service)), metadata=ann)
        case "promotion":
            change = {"name": name(first.bob), "role": "USER_ROLE_ADMIN"}
            await first.admin.UpdateUser(
                admin.UpdateUserRequest(user=change, update_mask={"paths": ["role"]}), metadata=ann
            )
        case _:
            await first.admin.RevokeTenantApiKey(
                admin.RevokeTenantApiKeyRequest(name=await key_of(first, service)), metadata=ann
            )
    begun = time.monotonic()
    wanted = {"user": "USER_DISABLED", "key": "CREDENTIAL_REVOKED"}.get(end, "GRANT_REQUIRED")
    error = await failed(first.auth.GetMe(auth.GetMeRequest(), metadata=as_bob))
    assert error.reason in (wanted, "GRANT_REQUIRED", "USER_DISABLED")
    for stream in streams:
        assert (await failed(stream)).reason == wanted
    assert time.monotonic() - begun < SOON
    if end in ("grant", "user", "promotion"):
        assert not staying.done()
    staying.cancel()
    async with asyncio.timeout(SOON):
        while True:
            try:
                await second.auth.GetMe(auth.GetMeRequest(), metadata=as_bob)
            except grpc.aio.AioRpcError:
                break
            await asyncio.sleep(0.02)


async def test_grants_that_cannot_be(served: Served) -> None:
    service, other = await service_of(served), await service_of(served)
    foreign = await service_of(served, "rival")
    gone = await service_of(served)
    await served.admin.DisableUser(admin.DisableUserRequest(name=name(gone)), metadata=served.ann.metadata)
    disabled = await caller(served.identity, served.channel, "acme", Role.USER)
    await served.admin.DisableUser(
        admin.DisableUserRequest(name=name(disabled)), metadata=served.ann.metadata
    )
    cases = [
        (service, served.ann, "INVALID_FIELD", "service_grant.user"),  # an administrator
        (service, service, "INVALID_FIELD", "service_grant.user"),  # itself
        (service, other, "INVALID_FIELD", "service_grant.user"),  # half of a cycle
        (service, disabled, "INVALID_FIELD", "service_grant.user"),
        (served.ann, served.bob, "INVALID_FIELD", "service_grant.service"),
        (served.bob, served.bob, "INVALID_FIELD", "service_grant.user"),
        (gone, served.bob, "INVALID_FIELD", "service_grant.service"),
        (gone, None, "INVALID_FIELD", "service_grant.service"),
        (foreign, served.bob, "RESOURCE_NOT_FOUND", ""),
        (service, served.eve, "RESOURCE_NOT_FOUND", ""),
    ]
    for one, user, reason, field in cases:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await grant(served, one, user)
        error = await failed(_raised(caught.value))
        assert error.reason == reason, (one, user)
        assert not field or list(error.violations) == [field]
    assert not (
        await served.admin.ListServiceGrants(admin.ListServiceGrantsRequest(), metadata=served.ann.metadata)
    ).service_grants


async def _raised(error: grpc.aio.AioRpcError) -> None:
    raise error


async def test_grants_are_listed_once_each_and_belong_to_their_tenant(served: Served) -> None:
    service = await service_of(served)
    made = [await grant(served, service, served.bob), await grant(served, service)]
    assert await grant(served, service, served.bob) == made[0]
    assert await grant(served, service) == made[1]

    async def listed(who: Caller, filter_by: str = "") -> list[str]:
        request = admin.ListServiceGrantsRequest(filter=filter_by)
        found = await served.admin.ListServiceGrants(request, metadata=who.metadata)
        return [service_grant.name for service_grant in found.service_grants]

    assert await listed(served.ann) == made
    assert await listed(served.ann, f'user = "{name(served.bob)}"') == made[:1]
    assert await listed(served.eve) == []
    error = await failed(
        served.admin.DeleteServiceGrant(
            admin.DeleteServiceGrantRequest(name=made[0]), metadata=served.eve.metadata
        )
    )
    assert error.reason == "RESOURCE_NOT_FOUND"
    await served.admin.DeleteServiceGrant(
        admin.DeleteServiceGrantRequest(name=made[0]), metadata=served.ann.metadata
    )
    assert await listed(served.ann) == made[1:]
