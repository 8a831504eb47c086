"""Sign-ins: streams live as long as their session, not as its access token, and strangers take no room from others."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import user_pb2
from responsa_server.calls.interceptors.limits import MAX_SIGN_IN_CALLS
from responsa_server.domain.accounts import Claims
from responsa_server.domain.people import Origin, Principal
from responsa_server.identity import accounts
from responsa_server.identity.service import Credential
from responsa_server.stores.postgres.database import Database
from tests.instance import PATIENCE
from tests.people import GOOD, people_of
from tests.rpc.served import Metadata, Served, bearer, failed, zoe
from tests.rpc.slow import SlowReader


async def signed_in(served: Served) -> tuple[Principal, Metadata, str]:
    """A new user's principal, metadata with an access token, and refresh token."""
    await zoe(served)
    signed, _ = await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())
    who = await served.identity.authenticate(Credential("token", signed.access_token))
    return who, bearer(signed.access_token), signed.refresh_token


async def begun(served: Served, metadata: Metadata) -> asyncio.Task[str]:
    """An open stream. The task returns the reason of its end."""
    call = served.sending(metadata).Ask(text="wait")
    frames = aiter(call)
    await anext(frames)

    async def rest() -> str:
        error = await failed(frames)
        assert error.code is grpc.StatusCode.UNAUTHENTICATED
        return error.reason

    return asyncio.create_task(rest())


async def test_a_stream_ends_when_a_stolen_refresh_token_is_used(served: Served) -> None:
    _, metadata, refresh = await signed_in(served)
    stream = await begun(served, metadata)
    first = await served.nobody.RefreshToken(refresh_token=refresh)
    # The stream of the earlier access token goes on.
    for _ in range(6):
        await asyncio.sleep(0.1)
        assert not stream.done()
    error = await failed(served.nobody.RefreshToken(refresh_token=refresh))
    assert error.reason == "TOKEN_INVALID"
    assert await stream == "SESSION_ENDED"
    error = await failed(served.nobody.RefreshToken(refresh_token=first.tokens.refresh_token))
    assert error.reason == "TOKEN_INVALID"
    served.agent.gate.set()


async def test_a_lost_reply_is_repeated_for_the_address_that_the_proxy_names(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "ADDRESS_REPEAT_SECONDS", PATIENCE)
    _, _, refresh = await signed_in(served)
    request = auth.RefreshTokenRequest(refresh_token=refresh)
    here, elsewhere = ((("x-forwarded-for", address),) for address in ("192.0.2.7", "192.0.2.8"))
    first = await served.sending(here).RefreshToken(request)
    assert await served.sending(here).RefreshToken(request) == first
    assert (await failed(served.sending(elsewhere).RefreshToken(request))).reason == "TOKEN_INVALID"
    request = auth.RefreshTokenRequest(refresh_token=first.tokens.refresh_token)
    assert (await failed(served.sending(here).RefreshToken(request))).reason == "TOKEN_INVALID"


async def test_an_expired_token_begins_nothing_and_its_stream_goes_on(
    served: Served, database: Database
) -> None:
    who, _, _ = await signed_in(served)
    assert isinstance(who.session_id, UUID)
    # Ten seconds of leeway for clocks keep this token good for about three more seconds.
    begin = datetime.now(UTC) - timedelta(seconds=907)
    token, _, _ = await people_of(database).tokens.sign(
        Claims(who.tenant_id, who.user_id, who.session_id), begin
    )
    metadata = bearer(token)
    stream = await begun(served, metadata)
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(AssertionError):
                error = await failed(served.sending(metadata).GetMe())
                break
            await asyncio.sleep(0.1)
        assert error.reason == "TOKEN_INVALID"
    assert not stream.done()
    stream.cancel()
    served.agent.gate.set()


async def test_messages_of_strangers_are_small(served: Served) -> None:
    """An unknown field of 5,000 bytes."""
    channel: Any = served.channel
    call = channel.unary_unary("/responsa.auth.v1.AuthService/Login")
    error = await failed(call(b"\x7a\x88\x27" + b"x" * 5000))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert "at most 4096 bytes" in error.message


async def test_sign_ins_leave_room_for_other_calls(served: Served) -> None:
    many = [
        failed(served.nobody.Login(email="nobody@example.org", password=GOOD))
        for _ in range(MAX_SIGN_IN_CALLS * 2)
    ]
    errors, me = await asyncio.gather(asyncio.gather(*many), served.bob.GetMe())
    assert me.name
    assert {error.reason for error in errors} <= {"OVERLOADED", "SIGN_IN_FAILED", "TOO_MANY_ATTEMPTS"}


async def test_calls_whose_messages_never_arrive_keep_nobody_out(served: Served) -> None:
    """Those of strangers, who could take all places of sign-ins, and those of a user, who could take all places."""
    bob = served.bob
    nobody = auth.LoginRequest(email="nobody@example.org", password=GOOD)
    rename = auth.UpdateMeRequest(user=user_pb2.User(display_name="Bob"))
    path = "/responsa.auth.v1.AuthService/"
    async with SlowReader(served.address.removeprefix("unix:"), 0) as stranger:
        for _ in range(150):
            stranger.ask(path + "Login", nobody, "", whole=False)
            stranger.ask(path + "UpdateMe", rename, bob.secret, whole=False)
        async with asyncio.timeout(30):
            # The server waits for a hundred messages of each kind, and each kind has one caller, which loses its oldest calls.
            await served.lines.calls("RESOURCE_EXHAUSTED", 100)
            # A place that the oldest call has lost is free a moment later.
            while (reason := (await failed(served.nobody.Login(nobody))).reason) == "OVERLOADED":
                pass
        assert reason == "SIGN_IN_FAILED"
        assert (await bob.GetMe()).name
