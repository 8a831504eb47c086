"""A gRPC server that plays the cases of cases.yaml and checks each request.

A question's text is the name of its case, and each case has a turn of its own, so the server knows which case a call
belongs to. Clients connect through a proxy, which cuts their connections where a case says so.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar, cast
from uuid import UUID

import grpc
from google.protobuf import any_pb2, duration_pb2, json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from clients.conformance.cases import CASES, EVENTS
from clients.conformance.proxies import CuttingProxy
from responsa.chat.v1 import chat_service_pb2, turn_pb2

TOKEN: Final = "rsp_" + "k" * 43
"""The credential of cases without `tokens`."""
HASTE: Final = 0.05
"""The server asks a client to wait this many seconds for each second in cases.yaml."""
_PADDING: Final = 8192
_CUT_AFTER: Final = 4096
"""A connection is cut after this number of bytes, which is more than all frames before, and less than the frame that is cut."""
_PADDING_FIELD: Final = 1000

Context = aio.ServicerContext[Any, Any]
FrameT = TypeVar("FrameT", chat_service_pb2.AskResponse, chat_service_pb2.ResumeTurnResponse)


class Play:
    """A case while it is played.

    calls: the number of calls so far, without repeated ones.
    repeated: how often a client made a call again because the cut had discarded what it had not read yet.
    problems: what was wrong with them, as sentences.
    """

    def __init__(self, case: Mapping[str, Any], turn: str, *, any_connection: bool) -> None:
        self.case = case
        self.turn = turn
        self._any_connection = any_connection
        self.calls = 0
        self.repeated = 0
        self.problems: list[str] = []
        self._first: Message | None = None
        self._peer = ""
        self._sent = time.monotonic()
        self._cancelled = asyncio.Event()

    async def take(self, made: str | Mapping[str, int], request: Any, context: Context) -> Mapping[str, Any]:
        """The case's next call, if it is this one. Otherwise the call fails with a final error."""
        wanted: Sequence[Mapping[str, Any]] = self.case["calls"]
        number = self.calls
        if 0 < number < len(wanted) and made != wanted[number]["expect"]:
            before = wanted[number - 1]
            if made == before["expect"] and "inside" in before.get("end", ""):
                number -= 1
                self.repeated += 1
        self.calls = number + 1
        if number >= len(wanted) or made != wanted[number]["expect"]:
            expected = wanted[number]["expect"] if number < len(wanted) else "no further call"
            self.problems.append(f"call {number + 1} is {made}, expected: {expected}")
            await abort(context, status(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", self.problems[-1]))
        call = wanted[number]
        self._check_request(call, request, context)
        self._check_wait(call)
        if call.get("fresh") and not self._any_connection and context.peer() == self._peer:
            self.problems.append(f"call {number + 1} uses the connection of the call before")
        self._peer = context.peer()
        return call

    def missing(self) -> list[str]:
        """A problem if calls were not made."""
        wanted = len(self.case["calls"])
        return [f"{self.calls} calls, expected: {wanted}"] if self.calls < wanted else []

    async def frames(
        self, call: Mapping[str, Any], kind: type[FrameT], context: Context, proxy: CuttingProxy
    ) -> AsyncIterator[FrameT]:
        """Send the frames of a call, then end the stream as the call says."""
        turn = self.turn if not call.get("of_another_turn") else f"{self.turn[:-1]}f"
        for one in call["frames"]:
            self._sent = time.monotonic()
            yield self._frame(one, kind, turn)
        if "after_cancel" in call:
            await self._cancelled.wait()
            for one in call["after_cancel"]:
                yield self._frame(one, kind, turn)
        self._sent = time.monotonic()
        match call["end"]:
            case "ok":
                return
            case "cut":
                await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
            case "silent" | "left":
                await asyncio.Event().wait()
            case {"inside": one}:
                proxy.budgets[int(context.peer().rpartition(":")[2])].to_client = _CUT_AFTER
                yield self._frame(one, kind, turn, padded=True)
                await asyncio.Event().wait()
            case error:
                code = grpc.StatusCode[error["code"]]
                if "reason" not in error:
                    await context.abort(code, "Something on the way.")
                retry = error["retry_after"] * HASTE if "retry_after" in error else None
                fields = [tuple(one) for one in error.get("fields", ())]
                await abort(
                    context,
                    status(
                        code,
                        error["reason"],
                        error.get("message", "It is so."),
                        violations=fields,
                        retry_after=retry,
                    ),
                )

    def summary(self, call: Mapping[str, Any]) -> turn_pb2.Turn:
        """The turn that a call returns."""
        self._sent = time.monotonic()
        if call["expect"] == "cancel":
            self._cancelled.set()
        return json_format.ParseDict({"name": self.turn, **call["turn"]}, turn_pb2.Turn())

    def _frame(self, one: Sequence[Any], kind: type[FrameT], turn: str, *, padded: bool = False) -> FrameT:
        after, through, *names = one
        frame = kind(turn=turn, after_seq=after, through_seq=through)
        for name in names:
            event = json_format.ParseDict(EVENTS[name], frame.events.add())
            if name == "unknown":
                event.MergeFromString(bytes([0xFA, 0x06, 0x02, 0x08, 0x01]))  # field 111, a message
            if event.WhichOneof("event") == "reconnect":
                seconds = event.reconnect.after.ToTimedelta().total_seconds() * HASTE
                event.reconnect.after.FromNanoseconds(round(seconds * 1e9))
        if padded:
            # A field that no client knows: its tag (with the wire type of bytes), its length, its bytes.
            padding = _varint(_PADDING_FIELD << 3 | 2) + _varint(_PADDING) + bytes(_PADDING)
            frame.MergeFromString(padding)
        return frame

    def _check_request(self, call: Mapping[str, Any], request: Any, context: Context) -> None:
        def check(what: str, found: object, wanted: object) -> None:
            if found != wanted:
                self.problems.append(f"call {self.calls}: {what} is {found!r}, expected: {wanted!r}")

        metadata = dict(cast("Sequence[tuple[str, str]]", context.invocation_metadata() or ()))
        check("authorization", metadata.get("authorization"), f"Bearer {call.get('token', TOKEN)}")
        if call["expect"] in ("get", "cancel"):
            return
        check("include_deltas", request.include_deltas, self.case["deltas"])
        if call["expect"] == "ask":
            self._first = self._first or request
            if request != self._first:
                self.problems.append(f"call {self.calls} asks another question than call 1: {request}")
            try:
                UUID(request.request_id)
            except ValueError:
                self.problems.append(
                    f"call {self.calls}: request_id is {request.request_id!r}, expected: a UUID"
                )

    def _check_wait(self, call: Mapping[str, Any]) -> None:
        """A client may wait longer than it must, because a machine may be slow."""
        pause = call.get("pause", {})
        least = max(pause.get("at_least", 0), pause.get("exactly", 0)) * HASTE
        waited = time.monotonic() - self._sent
        if waited < least:
            self.problems.append(
                f"call {self.calls} comes after {waited:.3f} s, expected: at least {least:.3f} s"
            )


_IPV6: Final = "[::1]"


class ScriptedServer:
    """The server. This is an async context manager.

    address: the host and the port for clients.
    nobody: an address at which nobody answers.
    """

    def __init__(self, port: int = 0) -> None:
        self.address = ""
        self._port = port
        # A port that is taken, and on which nobody listens.
        self._taken = socket.socket()
        self._taken.bind(("127.0.0.1", 0))
        self.nobody = f"127.0.0.1:{self._taken.getsockname()[1]}"
        self._hosts = {"localhost"}
        self._plays: dict[str, Play] = {}
        self._turns = {turn_of(name): name for name in CASES}

    async def __aenter__(self) -> ScriptedServer:
        self._server = aio.server(options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self._handlers(),))
        target = ("127.0.0.1", self._server.add_insecure_port("127.0.0.1:0"))
        await self._server.start()
        self._proxy = CuttingProxy(("127.0.0.1", self._port), target)
        await self._proxy.__aenter__()
        self.address = f"127.0.0.1:{self._proxy.port}"
        self._proxy6 = CuttingProxy(("::1", self._proxy.port), target)
        with suppress(OSError):
            await self._proxy6.__aenter__()
            self._hosts.add(_IPV6)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)
        await self._proxy.__aexit__()
        if _IPV6 in self._hosts:
            await self._proxy6.__aexit__()
        self._taken.close()

    def address_in(self, case: Mapping[str, Any]) -> str:
        """The address for clients in a case; "" if this machine does not have it."""
        if case.get("nobody"):
            return self.nobody
        host = case.get("host")
        if host is None:
            return self.address
        return f"{host}:{self._proxy.port}" if host in self._hosts else ""

    def begin(self, name: str, *, any_connection: bool = False) -> Play:
        """Play a case from its first call on. any_connection: whether the client may not choose its connections."""
        play = self._plays[name] = Play(CASES[name], turn_of(name), any_connection=any_connection)
        return play

    def _handlers(self) -> grpc.GenericRpcHandler:
        chat = chat_service_pb2
        methods: dict[str, Any] = {
            "Ask": grpc.unary_stream_rpc_method_handler(
                cast("Any", self._ask), chat.AskRequest.FromString, chat.AskResponse.SerializeToString
            ),
            "ResumeTurn": grpc.unary_stream_rpc_method_handler(
                cast("Any", self._resume),
                chat.ResumeTurnRequest.FromString,
                chat.ResumeTurnResponse.SerializeToString,
            ),
            "GetTurn": grpc.unary_unary_rpc_method_handler(
                cast("Any", partial(self._summary, "get")),
                chat.GetTurnRequest.FromString,
                turn_pb2.Turn.SerializeToString,
            ),
            "CancelTurn": grpc.unary_unary_rpc_method_handler(
                cast("Any", partial(self._summary, "cancel")),
                chat.CancelTurnRequest.FromString,
                turn_pb2.Turn.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler("responsa.chat.v1.ChatService", methods)

    async def _ask(
        self, request: chat_service_pb2.AskRequest, context: Context
    ) -> AsyncIterator[chat_service_pb2.AskResponse]:
        play = await self._play(request.text, context)
        call = await play.take("ask", request, context)
        async for frame in play.frames(call, chat_service_pb2.AskResponse, context, self._proxy):
            yield frame

    async def _resume(
        self, request: chat_service_pb2.ResumeTurnRequest, context: Context
    ) -> AsyncIterator[chat_service_pb2.ResumeTurnResponse]:
        play = await self._play(self._turns.get(request.turn, ""), context)
        call = await play.take({"resume": request.after_seq}, request, context)
        async for frame in play.frames(call, chat_service_pb2.ResumeTurnResponse, context, self._proxy):
            yield frame

    async def _summary(self, made: str, request: Any, context: Context) -> turn_pb2.Turn:
        play = await self._play(self._turns.get(request.name, ""), context)
        return play.summary(await play.take(made, request, context))

    async def _play(self, name: str, context: Context) -> Play:
        if name not in CASES:
            await abort(
                context,
                status(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", f"No case is named {name!r}."),
            )
        return self._plays.get(name) or self.begin(name)


def turn_of(name: str) -> str:
    """The name of the turn of a case. Its last digit is 0."""
    return f"turns/0192f3c8-0000-7000-8000-{list(CASES).index(name):011x}0"


def status(
    code: grpc.StatusCode,
    reason: str,
    message: str = "It is so.",
    *,
    metadata: Mapping[str, str] | None = None,
    violations: Sequence[tuple[str, str, str]] = (),
    retry_after: float | None = None,
) -> status_pb2.Status:
    """A status as Responsa builds it. violations: fields, each with a rule and a description."""
    details: list[Message] = []
    if reason:
        details.append(error_details_pb2.ErrorInfo(reason=reason, domain="responsa", metadata=metadata))
    if violations:
        bad = error_details_pb2.BadRequest()
        for path, rule, description in violations:
            bad.field_violations.add(field=path, reason=rule, description=description)
        details.append(bad)
    if retry_after is not None:
        delay = duration_pb2.Duration(nanos=int(retry_after % 1 * 1e9), seconds=int(retry_after))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(
        code=code.value[0], message=message, details=[packed(detail) for detail in details]
    )


async def abort(context: Context, made: status_pb2.Status) -> None:
    """End a call with a status. Raises, as `context.abort` does."""
    context.set_trailing_metadata((("grpc-status-details-bin", made.SerializeToString()),))
    await context.abort(_CODES[made.code], made.message)


def packed(message: Message) -> any_pb2.Any:
    """The message as an Any."""
    result = any_pb2.Any()
    result.Pack(message)
    return result


_CODES: Final[dict[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}


def _varint(number: int) -> bytes:
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])
