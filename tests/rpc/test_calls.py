"""The steps of every call, observed from outside."""

from __future__ import annotations

import asyncio
import gzip
import struct

import grpc
import grpc.aio
import httpx2
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.interceptors import limits
from responsa_server.calls.methods import SERVICES
from responsa_server.domain.errors import NotFound
from responsa_server.identity.credentials import SecretKind, new_secret
from responsa_server.transports.grpc.health import HEALTH
from tests.instance import PATIENCE
from tests.raising import raises
from tests.rpc.served import OWN, SECRET_CAUSE, Served, bearer, by_cookie, failed

ME = "/responsa.auth.v1.AuthService/GetMe"
ASK = "/responsa.chat.v1.ChatService/Ask"


async def test_a_key_or_a_session_says_who_calls(served: Served) -> None:
    me = await served.ann.GetMe()
    assert me.name == served.ann.name
    code = await served.ann.CreateSessionCode()
    token, _ = await served.identity.exchange_code(code.code)
    # The link was a sign-in.
    me = await served.ann.GetMe()
    assert me.HasField("last_sign_in_time")
    for cookie in (f"responsa_session={token}", f"theme=dark; responsa_session={token}; x=y"):
        same = await served.sending(by_cookie(cookie)).GetMe()
        assert same == me
    two = (*OWN, ("cookie", "theme={dark"), ("cookie", f"responsa_session={token}"))
    assert await served.sending(two).GetMe() == me
    # Other instances on the same machine have left cookies, too. They are not tried, even if they have no other use
    # than to work in somebody else's session.
    others = "; ".join(
        f"{name}={new_secret(SecretKind.SESSION)}"
        for name in ("responsa_session_8081", "__Host-responsa_session")
    )
    both = by_cookie(f"{others}; responsa_session={token}")
    assert await served.sending(both).GetMe() == me
    tossed = (
        (
            "cookie",
            f"responsa_session_8081={token}; responsa_session_={token}; __Host-responsa_session={token}",
        ),
    )
    error = await failed(served.sending(tossed).GetMe())
    assert error.reason == "CREDENTIAL_MISSING"
    # A page of another port may set a cookie of the same name for a longer path, which browsers send first.
    twice = by_cookie(f"responsa_session={new_secret(SecretKind.SESSION)}; responsa_session={token}")
    error = await failed(served.sending(twice).GetMe())
    assert error.reason == "CREDENTIAL_MALFORMED"
    assert "Delete the cookies" in error.message


async def test_a_call_without_its_message_is_answered(served: Served) -> None:
    for method in (ME, ASK):
        for metadata, reason in ((served.ann.metadata, "MALFORMED_MESSAGE"), ((), "CREDENTIAL_MISSING")):
            call = served.channel.stream_stream(method)(iter(()), metadata=metadata, timeout=20)
            assert (await failed(call)).reason == reason


REFUSED: tuple[tuple[tuple[tuple[str, str], ...], str], ...] = (
    ((), "CREDENTIAL_MISSING"),
    ((("cookie", "theme=dark"),), "CREDENTIAL_MISSING"),
    ((("cookie", '=;; ;a b="{[;'),), "CREDENTIAL_MISSING"),
    ((("authorization", ""),), "CREDENTIAL_MALFORMED"),
    ((("authorization", "Bearer"),), "CREDENTIAL_MALFORMED"),
    ((("authorization", "Basic YTpi"),), "CREDENTIAL_MALFORMED"),
    (bearer("nonsense"), "CREDENTIAL_MALFORMED"),
    (bearer("rsp_" + "x" * 43) * 2, "CREDENTIAL_MALFORMED"),
    (bearer("rsp_" + "x" * 43), "CREDENTIAL_UNKNOWN"),
    *((bearer(like_a_token), "TOKEN_INVALID") for like_a_token in ("a.b.c", "..", "eyJ.eyJ.", "rsp_.x")),
    (by_cookie("responsa_session=rss_short"), "CREDENTIAL_MALFORMED"),
    (
        by_cookie(f"responsa_session={new_secret(SecretKind.SESSION)}"),
        "CREDENTIAL_UNKNOWN",
    ),
)


async def test_credentials_that_are_refused(served: Served) -> None:
    for metadata, reason in REFUSED:
        error = await failed(served.sending(metadata).GetMe())
        assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason), metadata
        # A stream is refused in the same way.
        error = await failed(served.sending(metadata).Ask(text="Why?"))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason), metadata


async def test_every_method_but_health_and_reflection_asks_for_a_credential(served: Served) -> None:
    for method, rule in RULES.items():
        if rule is Rule.PUBLIC:
            continue
        # The request is not sent as a stream, because the server may refuse a stream before its first request.
        # grpc.aio would report such a refusal as an error of the client.
        error = await failed(served.channel.unary_stream(method)(b""))
        assert error.reason == "CREDENTIAL_MISSING", method


async def test_an_unexpected_error_tells_nothing(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        try:
            raise ValueError(SECRET_CAUSE)
        except ValueError as error:
            raise RuntimeError("SELECT * FROM responsa.api_key") from error

    monkeypatch.setattr(served.turns.store, "get", broken)
    request = chat.GetTurnRequest(name="turns/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10")
    call = served.chat.GetTurn(request, metadata=(*served.bob.metadata, ("x-request-id", "my-call.1")))
    error = await failed(call)
    assert (error.code, error.message) == (
        grpc.StatusCode.INTERNAL,
        "Something went wrong. Please try again.",
    )
    assert (error.reason, error.metadata) == ("INTERNAL", {"call_id": "my-call.1"})
    told = str(await call.trailing_metadata()) + str(error.status) + str(await call.debug_error_string())
    for leak in (SECRET_CAUSE, "SELECT", "RuntimeError", "Traceback", ".py"):
        assert leak not in told
    (logged,) = served.lines.of("unexpected error")
    assert logged["call_id"] == "my-call.1"
    assert "RuntimeError in broken test_calls.py" in logged["causes"][0]
    assert "ValueError" in logged["causes"][1]
    assert SECRET_CAUSE not in str(served.lines.kept)
    again = served.chat.GetTurn(request, metadata=(*served.bob.metadata, ("x-request-id", "my-call.2")))
    await failed(again)
    (group,) = served.turns.errors.read()
    assert (group.error, group.count, group.first_id, group.last_id) == (
        "RuntimeError",
        2,
        "my-call.1",
        "my-call.2",
    )
    # The last line of the server's code, and not that of what it called.
    assert group.place.startswith("turns/") or group.place.startswith("calls/")


async def test_a_cancellation_inside_does_not_hang_the_caller(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(served.turns.store, "get", cancelled)
    request = chat.GetTurnRequest(name="turns/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10")
    error = await failed(served.chat.GetTurn(request, metadata=served.bob.metadata, timeout=30))
    assert (error.code, error.reason) == (grpc.StatusCode.CANCELLED, "CANCELLED")


async def test_a_call_has_an_id(served: Served) -> None:
    for sent, kept in (("abc-1.X_2", True), ("a b", False), ("x" * 65, False), ('"}\n', False)):
        if "\n" in sent:
            sent = sent.replace("\n", "")
        call = served.sending((*served.bob.metadata, ("x-request-id", sent))).GetMe()
        await call
        returned = dict(await call.trailing_metadata())["x-request-id"]
        assert (returned == sent) is kept
        assert served.lines.of("call")[-1]["call_id"] == returned
    call = served.nobody.GetMe()
    await raises(grpc.aio.AioRpcError, call)
    # An error comes in trailers only.
    assert not await call.initial_metadata()
    assert dict(await call.trailing_metadata())["x-request-id"]


async def test_one_line_a_call_and_never_a_secret_or_a_text(served: Served) -> None:
    secret_text = "Is my sister Agathe ill?"
    served.lines.kept.clear()
    await served.bob.Answer(text=secret_text)
    async for _ in served.bob.Ask(text=secret_text):
        pass
    await failed(served.sending(bearer("rsp_" + "x" * 43)).Answer(text=secret_text))
    lines = served.lines.of("call")
    names = {"method", "code", "reason", "duration_ms", "call_id", "tenant", "user"}
    turns = [one.name for one in (await served.bob.ListTurns()).turns]
    for line, turn in zip(lines, [*reversed(turns), None], strict=True):
        of_turn = {} if turn is None else {"turn": turn, "agent": "scripted", "version": served.agent.version}
        assert {name: value for name, value in line.items() if name not in names} == of_turn
    assert [(line["method"].rsplit("/", 1)[1], line["code"], line["reason"]) for line in lines] == [
        ("Answer", "OK", ""),
        ("Ask", "OK", ""),
        ("Answer", "UNAUTHENTICATED", "CREDENTIAL_UNKNOWN"),
    ]
    assert (lines[0]["tenant"], lines[0]["user"]) == ("acme", str(served.bob.who.user_id))
    assert lines[0]["duration_ms"] >= 0
    for leak in ("Agathe", served.bob.secret, "rsp_"):
        assert leak not in str(served.lines.kept)


async def test_every_line_of_a_call_names_its_id_and_its_tenant(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def get(*_: object) -> None:
        structlog.get_logger("elsewhere").info("somewhere in the work")
        raise NotFound.of("turn", "turns/1")

    monkeypatch.setattr(served.turns.store, "get", get)
    request = chat.GetTurnRequest(name="turns/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10")
    with capture_logs(processors=[merge_contextvars]) as logs:
        for call_id in ("my-call.1", "my-call.2"):
            metadata = (*served.bob.metadata, ("x-request-id", call_id))
            await failed(served.chat.GetTurn(request, metadata=metadata))
    assert [(log["call_id"], log["tenant"]) for log in logs] == [("my-call.1", "acme"), ("my-call.2", "acme")]


def passes_after(seconds: float, monkeypatch: pytest.MonkeyPatch) -> float:
    """The time limit of a call that the server ends after `seconds`. gRPC's own timers would end it without a reason,
    but much later, however busy the machine is."""
    monkeypatch.setattr(limits, "HEAD_START_SECONDS", PATIENCE)
    monkeypatch.setattr(limits, "HEAD_START_SHARE", 1 - seconds / PATIENCE)
    return PATIENCE


async def test_a_deadline_ends_the_call_and_says_so(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    request = chat.AnswerRequest(text="wait for it")
    # Within the deadline, even a loaded machine accepts the turn.
    timeout = passes_after(2.0, monkeypatch)
    error = await failed(served.chat.Answer(request, metadata=served.bob.metadata, timeout=timeout))
    assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert error.reason == "DEADLINE_EXCEEDED"
    # The turn continues, and can be read after its end.
    served.agent.gate.set()
    page = await served.bob.ListTurns()
    assert len(page.turns) == 1


async def test_a_deadline_ends_a_stream(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    timeout = passes_after(0.3, monkeypatch)
    error = await failed(
        served.chat.Ask(chat.AskRequest(text="wait"), metadata=served.bob.metadata, timeout=timeout)
    )
    assert (error.code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")


async def test_work_is_not_cut_off_when_its_caller_leaves(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> object:
        begun.set()
        await gate.wait()
        ended.set()
        return None

    monkeypatch.setattr(served.identity, "me", slow)
    call = served.bob.GetMe()
    asking = asyncio.ensure_future(call)
    await begun.wait()
    call.cancel()
    await raises(asyncio.CancelledError, asking)
    await served.lines.call("CANCELLED")
    assert not ended.is_set()
    gate.set()
    await asyncio.wait_for(ended.wait(), 10)


async def test_health(served: Served) -> None:
    stub = health_pb2_grpc.HealthStub(served.channel)
    for name in ("", HEALTH, *SERVICES):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    caught = await raises(grpc.aio.AioRpcError, stub.Check(health_pb2.HealthCheckRequest(service="nothing")))
    assert caught.code() is grpc.StatusCode.NOT_FOUND
    listed = await stub.List(health_pb2.HealthListRequest())
    assert set(listed.statuses) == {"", HEALTH, *SERVICES}


async def test_reflection(served: Served) -> None:
    for version in ("v1", "v1alpha"):
        await check_reflection(served, version)


async def check_reflection(served: Served, version: str) -> None:
    """The server tells its services and the file of one."""
    ask = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="responsa.chat.v1.ChatService"),
    ]
    call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = served.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    )
    listed, file = [
        reflection_pb2.ServerReflectionResponse.FromString(one)
        async for one in call(one.SerializeToString() for one in ask)
    ]
    names = {one.name for one in listed.list_services_response.service}
    assert set(SERVICES) <= names
    assert file.file_descriptor_response.file_descriptor_proto


async def test_compressed_requests_are_read(served: Served) -> None:
    request = chat.AnswerRequest(text="Why? " * 1000)
    turn = await served.chat.Answer(request, metadata=served.bob.metadata, compression=grpc.Compression.Gzip)
    assert turn.text == request.text


async def test_a_large_response_is_compressed_for_clients_that_accept_it(served: Served) -> None:
    for accepted, words in (("gzip", 1), ("gzip", 1000), ("", 1000)):
        await check_compression(served, accepted, words)


async def check_compression(served: Served, accepted: str, words: int) -> None:
    """A response with so many words is compressed only if it is long and the client accepts it."""
    turn = await served.bob.Answer(text="Why? " * words)
    request = chat.GetTurnRequest(name=turn.name).SerializeToString()
    # gRPC's own client does not show whether a message was compressed.
    headers = {"content-type": "application/grpc", "te": "trailers", **dict(served.bob.metadata)}
    transport = httpx2.AsyncHTTPTransport(uds=served.address.removeprefix("unix:"), http1=False, http2=True)
    async with httpx2.AsyncClient(transport=transport) as client:
        reply = await client.post(
            "http://server/responsa.chat.v1.ChatService/GetTurn",
            content=struct.pack(">BI", 0, len(request)) + request,
            headers={**headers, **({"grpc-accept-encoding": accepted} if accepted else {})},
        )
    compressed, message = reply.content[0], reply.content[5:]
    assert compressed == (accepted != "" and words > 1)
    assert (gzip.decompress(message) if compressed else message) == turn.SerializeToString()


async def test_a_message_that_is_too_large_is_a_typed_error(served: Served) -> None:
    error = await failed(served.bob.Answer(text="x" * (5 << 20)))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")
    assert "4 MiB" in error.message


async def test_the_system_tells_of_its_parts(served: Served) -> None:
    async def ask() -> dict[str, tuple[int, str]]:
        found = await served.ann.GetSystemStatus()
        assert found.migration.startswith("00")
        assert not found.migrations_pending
        return {part.part: (part.health, part.detail) for part in found.parts}

    assert {name: health for name, (health, _) in (await ask()).items()} == {"postgresql": 1, "switched": 1}
    served.part.error = RuntimeError(SECRET_CAUSE)
    assert (await ask())["switched"] == (3, "failed with RuntimeError")
    served.part.hangs = True
    assert (await ask())["switched"] == (3, "did not answer within 2 seconds")
