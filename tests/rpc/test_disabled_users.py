"""A disabled user's calls end: on the server that disabled the user, and on another one."""

from __future__ import annotations

import asyncio
import time

import grpc

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_server.calls.interceptors.lasting import INTERVAL_SECONDS
from tests.rpc.served import SOON, Caller, Served, bearer, failed


def disabling(caller: Caller) -> admin.DisableUserRequest:
    return admin.DisableUserRequest(name=caller.name)


async def test_streams_on_every_server_end_within_a_second(pair: tuple[Served, Served]) -> None:
    first, second = pair
    request = chat.AskRequest(text="wait")
    streams = [aiter(one.chat.Ask(request, metadata=first.bob.metadata)) for one in (first, second)]
    staying = first.ann.Ask(request)
    for stream in (*streams, aiter(staying)):
        await anext(stream)
    await first.ann.DisableUser(disabling(first.bob))
    begun = time.monotonic()
    for stream in streams:
        error = await failed(stream)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "USER_DISABLED")
    assert time.monotonic() - begun < SOON
    assert INTERVAL_SECONDS <= 0.5
    assert not staying.done()
    staying.cancel()


async def test_calls_that_wait_end_too(pair: tuple[Served, Served]) -> None:
    first, second = pair
    answer = second.sending(first.bob.metadata).Answer(text="wait")
    async with asyncio.timeout(10):
        while not (await first.bob.ListTurns()).turns:  # noqa: ASYNC110  the database does not report changes by itself
            await asyncio.sleep(0.01)
    await first.ann.DisableUser(disabling(first.bob))
    assert (await failed(answer)).reason == "USER_DISABLED"


async def test_a_stream_ends_when_its_caller_gets_another_role(pair: tuple[Served, Served]) -> None:
    """An administrator sees more than a user, so a stream that an administrator began must not go on."""
    first, second = pair
    stream = aiter(second.sending(first.bob.metadata).Ask(text="wait"))
    staying = second.sending(first.ann.metadata).Ask(text="wait")
    frame = await anext(stream)
    await anext(aiter(staying))
    await first.ann.UpdateUser(
        user={"name": first.bob.name, "role": "USER_ROLE_ADMIN"},
        update_mask={"paths": ["role"]},
    )
    error = await failed(stream)
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ROLE_CHANGED")
    assert not staying.done()
    staying.cancel()
    again = second.sending(first.bob.metadata).ResumeTurn(turn=frame.turn)
    assert (await anext(aiter(again))).turn == frame.turn
    again.cancel()


async def test_the_next_call_is_refused_and_works_again_when_enabled(pair: tuple[Served, Served]) -> None:
    first, second = pair
    me = auth.GetMeRequest()
    for server in pair:
        await server.auth.GetMe(me, metadata=first.bob.metadata)
    await first.ann.DisableUser(disabling(first.bob))
    error = await failed(first.bob.GetMe(me))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "USER_DISABLED")
    begun = time.monotonic()
    while True:
        try:
            await second.auth.GetMe(me, metadata=first.bob.metadata)
        except grpc.aio.AioRpcError:
            break
        assert time.monotonic() - begun < SOON
        await asyncio.sleep(0.02)
    await first.ann.EnableUser(name=first.bob.name)
    for server in pair:
        await server.auth.GetMe(me, metadata=first.bob.metadata)


async def test_a_stream_of_a_revoked_key_ends(pair: tuple[Served, Served]) -> None:
    first, second = pair
    made = await first.bob.CreateApiKey()
    key = bearer(made.secret)
    stream = aiter(second.sending(key).Ask(text="wait"))
    await anext(stream)
    await first.bob.RevokeApiKey(name=made.api_key.name)
    assert (await failed(stream)).reason == "CREDENTIAL_REVOKED"
