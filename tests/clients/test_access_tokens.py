"""Access tokens: a function of the program returns them, and it may fail while a stream is open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import grpc
import pytest

from clients.conformance.server import Context, abort, status
from responsa.auth.v1 import auth_service_pb2, session_pb2, user_pb2
from responsa.knowledge.v1 import knowledge_service_pb2
from responsa_client import (
    AsyncResponsa,
    AsyncTokenSource,
    CannotConnect,
    Responsa,
    ServerFault,
    Unauthenticated,
    Unavailable,
)
from responsa_client.connection import Credential
from responsa_client.errors import error_of_status
from tests.clients.conftest import Driver, quick
from tests.clients.scripted import (
    ASK,
    AUTH,
    KEY,
    KNOWLEDGE,
    OPERATION,
    RESUME,
    TURN,
    Frames,
    Scripted,
    complete,
    frame,
    operation,
    play_streams,
    seqs,
    whole_turn,
)
from tests.raising import raises


async def breaks_off(_: Any, context: Context) -> Frames:
    yield frame(0, 3, whole_turn())
    await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


def tokens(*results: str | Exception) -> Callable[[], str]:
    """A function that returns or raises one result per call; the last one again and again."""
    left = list(results)

    def next_token() -> str:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    return next_token


def unreachable() -> CannotConnect:
    return CannotConnect(grpc.StatusCode.UNAVAILABLE, "No server answers.")


async def test_a_stream_survives_a_refresh_that_fails_for_a_while(server: Scripted, driver: Driver) -> None:
    play_streams(server, breaks_off, complete)
    driver = replace(driver, credential=tokens("one", unreachable(), unreachable(), "two"))
    assert seqs(await driver.ask(include_deltas=True)) == [1, 2, 3, 4, 5, 6]
    assert server.authorizations == ["Bearer one", "Bearer two"]
    assert [len(server.requests[path]) for path in (ASK, RESUME)] == [1, 1]


async def test_the_end_of_the_session_ends_a_stream_with_the_place_to_resume(
    server: Scripted, driver: Driver
) -> None:
    ended = error_of_status(status(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"))
    play_streams(server, breaks_off, complete)
    caught = await raises(
        Unauthenticated, replace(driver, credential=tokens("one", ended)).ask(include_deltas=True)
    )
    assert (caught.turn, caught.after_seq) == (TURN, 3)
    assert caught.request_id == server.requests[ASK][0].request_id
    assert RESUME not in server.requests


async def test_a_first_refresh_that_reaches_no_server_fails_at_once(server: Scripted, driver: Driver) -> None:
    play_streams(server, complete)
    caught = await raises(CannotConnect, replace(driver, credential=tokens(unreachable(), "one")).ask())
    assert caught.request_id
    assert not server.authorizations


async def test_a_watched_operation_survives_a_refresh_that_fails_for_a_while(
    server: Scripted, driver: Driver
) -> None:
    async def watch(request: Any, context: Context) -> Any:
        if request.after_seq == 0:
            yield knowledge_service_pb2.WatchOperationResponse(seq=1, operation=operation())
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        yield knowledge_service_pb2.WatchOperationResponse(seq=2, operation=operation())

    server.on(f"{KNOWLEDGE}/WatchOperation", watch)
    passing = Unavailable(grpc.StatusCode.UNAVAILABLE, "The server restarts.")
    driver = replace(driver, credential=tokens("one", passing, "two"))
    assert [state.seq for state in await driver.call("watch_operation", OPERATION)] == [1, 2]
    assert server.authorizations == ["Bearer one", "Bearer two"]


async def test_the_asyncio_client_awaits_an_access_token(server: Scripted) -> None:
    play_streams(server, complete)
    refreshed = asyncio.Event()

    server.reply(f"{AUTH}/GetMe", user_pb2.User(display_name="Hal"))

    async def token() -> str:
        await refreshed.wait()
        return KEY

    async with AsyncResponsa(server.url, token, backoff=quick) as client:
        waiting = asyncio.create_task(client.me())
        # The event loop is free while the client waits for the token.
        asyncio.get_running_loop().call_soon(refreshed.set)
        assert (await waiting).display_name == "Hal"
        assert seqs([event async for event in client.ask("Who?", include_deltas=True)]) == [1, 2, 3, 4, 5, 6]
    assert server.authorizations == [f"Bearer {KEY}"] * 2


async def test_a_token_source_repeats_a_failed_refresh_with_the_same_id_and_keeps_what_it_gets(
    server: Scripted,
) -> None:
    async def refresh(_: Any, context: Context) -> auth_service_pb2.RefreshTokenResponse:
        if len(server.requests[f"{AUTH}/RefreshToken"]) == 1:
            await abort(context, status(grpc.StatusCode.INTERNAL, "INTERNAL"))
        return auth_service_pb2.RefreshTokenResponse(tokens=session(3600, "new"))

    def session(seconds: int, name: str) -> session_pb2.SessionTokens:
        tokens = session_pb2.SessionTokens(access_token=name, refresh_token=f"refresh {name}")
        tokens.access_expire_time.FromSeconds(int(time.time()) + seconds)
        return tokens

    server.on(f"{AUTH}/RefreshToken", refresh)
    async with AsyncResponsa(server.url, backoff=quick) as public:
        source = AsyncTokenSource(public, session(30, "old"))
        await raises(ServerFault, source())
        assert [await source(), await source()] == ["new", "new"]
    assert not source.request_id
    first, second = server.requests[f"{AUTH}/RefreshToken"]
    assert first == second
    assert (first.refresh_token, bool(first.request_id)) == ("refresh old", True)


async def test_a_call_whose_token_is_refused_is_repeated_once_with_the_next(
    server: Scripted, driver: Driver
) -> None:
    async def me(_: Any, context: Context) -> user_pb2.User:
        if server.authorizations[-1] != "Bearer two":
            await abort(context, status(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"))
        return user_pb2.User(display_name="Hal")

    server.on(f"{AUTH}/GetMe", me)
    assert (await replace(driver, credential=tokens("one", "two")).call("me")).display_name == "Hal"
    server.authorizations.clear()
    await raises(Unauthenticated, replace(driver, credential=tokens("one", "three", "two")).call("me"))
    assert server.authorizations == ["Bearer one", "Bearer three"]


async def test_the_blocking_client_refuses_a_function_that_it_cannot_await(server: Scripted) -> None:
    async def token() -> str:
        return KEY

    with Responsa(server.url, cast("Credential", token)) as client:
        with pytest.raises(TypeError, match="AsyncResponsa"):
            client.me()
        with pytest.raises(TypeError, match="AsyncResponsa"):
            list(client.ask("Who?"))
