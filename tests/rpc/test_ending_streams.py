"""Calls and streams end with their credential: on the server that ended it, and on another one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
import pytest

from responsa_server.calls.interceptors.lasting import INTERVAL_SECONDS
from responsa_server.domain.people import Origin
from tests.people import GOOD
from tests.rpc.served import SOON, Metadata, Sender, Served, bearer, failed, zoe
from tests.rpc.test_service_grants import acting, grant, key_of, service_of


@dataclass(frozen=True, slots=True)
class Ending:
    """A credential, and what ends it. reason: what its streams get. undo: makes it good again. stays: a credential whose
    streams go on, too."""

    metadata: Metadata
    end: Callable[[], Awaitable[object]]
    reason: str
    undo: Callable[[], Awaitable[object]] | None = None
    stays: Metadata = ()


async def of_user(on: Served) -> Ending:
    ann, bob = on.ann, on.bob.name
    return Ending(
        on.bob.metadata,
        lambda: ann.DisableUser(name=bob),
        "USER_DISABLED",
        lambda: ann.EnableUser(name=bob),
    )


async def of_key(on: Served) -> Ending:
    made = await on.bob.CreateApiKey()
    return Ending(
        bearer(made.secret), lambda: on.bob.RevokeApiKey(name=made.api_key.name), "CREDENTIAL_REVOKED"
    )


async def of_session(on: Served) -> Ending:
    await zoe(on)
    signed, _ = await on.accounts.login("acme", "zoe@example.org", GOOD, Origin())
    return Ending(
        bearer(signed.access_token),
        lambda: on.nobody.Logout(refresh_token=signed.refresh_token),
        "SESSION_ENDED",
    )


async def of_tenant(on: Served) -> Ending:
    ann, rival = on.ann, "tenants/rival"
    return Ending(
        on.eve.metadata,
        lambda: ann.SuspendTenant(name=rival),
        "TENANT_SUSPENDED",
        lambda: ann.ResumeTenant(name=rival),
    )


def of_grant(what: str) -> Callable[[Served], Awaitable[Ending]]:
    """A service acts for a user, until `what` ends."""

    async def ending(on: Served) -> Ending:
        ann, bob, service = on.ann, on.bob.name, await service_of(on)
        granted, key = await grant(on, service, on.bob), await key_of(on, service)
        promoted = {"name": bob, "role": "USER_ROLE_ADMIN"}
        end, reason = {
            "grant": (lambda: ann.DeleteServiceGrant(name=granted), "GRANT_REQUIRED"),
            "user": (lambda: ann.DisableUser(name=bob), "USER_DISABLED"),
            "service": (lambda: ann.DisableUser(name=service.name), "GRANT_REQUIRED"),
            "promotion": (
                lambda: ann.UpdateUser(user=promoted, update_mask={"paths": ["role"]}),
                "GRANT_REQUIRED",
            ),
            "key": (lambda: ann.RevokeTenantApiKey(name=key), "CREDENTIAL_REVOKED"),
        }[what]
        stays = () if what in ("service", "key") else service.metadata
        return Ending(acting(service, bob), end, reason, stays=stays)

    return ending


ENDINGS: dict[str, Callable[[Served], Awaitable[Ending]]] = {
    "user": of_user,
    "key": of_key,
    "session": of_session,
    "tenant": of_tenant,
    **{f"grant: {what}": of_grant(what) for what in ("grant", "user", "service", "promotion", "key")},
}


async def is_refused(sender: Sender) -> bool:
    try:
        await sender.GetMe()
    except grpc.aio.AioRpcError:
        return True
    return False


async def until(refused: bool, sender: Sender) -> None:
    """Wait until calls are refused, or are not."""
    async with asyncio.timeout(SOON):
        while await is_refused(sender) is not refused:  # noqa: ASYNC110  the database does not report changes by itself
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("what", ENDINGS)
async def test_the_next_call_and_open_streams_end_on_every_server(
    pair: tuple[Served, Served], what: str
) -> None:
    first, second = pair
    ending = await ENDINGS[what](first)
    streams = [aiter(one.sending(ending.metadata).Ask(text="wait")) for one in pair]
    staying = [first.sending(one).Ask(text="wait") for one in (first.ann.metadata, ending.stays) if one]
    for stream in (*streams, *map(aiter, staying)):
        await anext(stream)
    await ending.end()
    begun = time.monotonic()
    assert await is_refused(first.sending(ending.metadata))
    for stream in streams:
        assert (await failed(stream)).reason == ending.reason
    assert time.monotonic() - begun < SOON
    assert INTERVAL_SECONDS <= 0.5
    await until(True, second.sending(ending.metadata))
    if ending.undo is not None:
        await ending.undo()
        for one in pair:
            await until(False, one.sending(ending.metadata))
    for call in staying:
        assert not call.done()
    first.agent.gate.set()
    assert [[frame async for frame in call][-1].events[-1].WhichOneof("event") for call in staying] == [
        "answer"
    ] * len(staying)


async def test_calls_that_wait_end_too(pair: tuple[Served, Served]) -> None:
    first, second = pair
    answer = second.sending(first.bob.metadata).Answer(text="wait")
    async with asyncio.timeout(10):
        while not (await first.bob.ListTurns()).turns:  # noqa: ASYNC110  the database does not report changes by itself
            await asyncio.sleep(0.01)
    await first.ann.DisableUser(name=first.bob.name)
    assert (await failed(answer)).reason == "USER_DISABLED"


async def test_a_stream_ends_when_its_caller_gets_another_role(pair: tuple[Served, Served]) -> None:
    """An administrator sees more than a user, so a stream that an administrator began must not go on."""
    first, second = pair
    stream = aiter(second.sending(first.bob.metadata).Ask(text="wait"))
    frame = await anext(stream)
    await first.ann.UpdateUser(
        user={"name": first.bob.name, "role": "USER_ROLE_ADMIN"}, update_mask={"paths": ["role"]}
    )
    error = await failed(stream)
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ROLE_CHANGED")
    again = second.sending(first.bob.metadata).ResumeTurn(turn=frame.turn)
    assert (await anext(aiter(again))).turn == frame.turn
    again.cancel()
