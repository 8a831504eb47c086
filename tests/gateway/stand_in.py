"""A small gRPC server with the real contract and the real gateway, run as a separate process behind Envoy.

Its answers show what arrived, because these tests check the transports and not the answers. Usage:
stand_in.py GRPC_SOCKET HTTP_SOCKET WEB_ROOT PATIENCE PORT. PATIENCE: how many seconds a socket stays silent
before it sends a heartbeat, and how many seconds it waits for a token. PORT: Envoy's port. After SIGUSR1, the sockets
ask their clients to reconnect elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, cast
from uuid import NAMESPACE_OID, uuid5

import grpc
import structlog
from google.longrunning import operations_pb2, operations_pb2_grpc, operations_proto_pb2
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from responsa.auth.v1 import auth_service_pb2, auth_service_pb2_grpc, user_pb2
from responsa.chat.v1 import chat_service_pb2, chat_service_pb2_grpc, turn_pb2
from responsa.knowledge.v1 import document_pb2, knowledge_service_pb2, knowledge_service_pb2_grpc
from responsa_server.app.gateway import GatewayServer
from responsa_server.calls.status import of as status_of
from responsa_server.domain.addresses import LOOPBACK_HOSTS, UnixAddress, hosts_of, origins_of
from responsa_server.domain.errors import FieldViolation, InvalidRequest, NotFound, Reason, Unauthenticated
from responsa_server.domain.people import Origin, Principal
from responsa_server.transports.doors import GatewaySettings, build_app
from responsa_server.transports.grpc.server import OPTIONS
from responsa_server.transports.http.guard import AllowedCallers
from responsa_server.transports.ws.bridge import Bridge, Timing
from responsa_server.transports.ws.settings import SocketSettings
from tests.gateway.in_process import calls_of
from tests.gateway.scripted_turns import ScriptedTurns

TURN = "turns/0192f3c8-0000-7000-8000-000000000001"
UUID = "0192f3c8-0000-7000-8000-000000000002"
OTHER = "https://chat.example.org"
"""An origin from which Envoy allows calls."""


Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def refuse(context: Context, status: Status) -> NoReturn:
    await context.abort_with_status(cast("Any", rpc_status).to_status(status))
    raise AssertionError


def busy() -> Status:
    status = Status(code=10, message="The conversation's active turn has not ended: 100 % sure")
    status.details.add().Pack(
        ErrorInfo(reason="CONVERSATION_BUSY", domain="responsa", metadata={"active_turn": TURN})
    )
    return status


def wrong() -> Status:
    """The status for a question with an empty text and a malformed teacher_id."""
    violations = (
        FieldViolation("text", "string.min_bytes", "must not be empty"),
        FieldViolation("options.parameters.teacher_id", "string.uuid", "must be a UUID"),
    )
    message = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
    return status_of(InvalidRequest(Reason.INVALID_FIELD, message, {"violations": "2"}, violations))


class Chat(chat_service_pb2_grpc.ChatServiceServicer):
    def __init__(self) -> None:
        self._scripted = ScriptedTurns()

    async def Answer(self, request: chat_service_pb2.AnswerRequest, context: Context) -> turn_pb2.Turn:
        if request.text == "busy":
            await refuse(context, busy())
        if request.text == "wait":
            await asyncio.Event().wait()
        remaining = cast("float | None", context.time_remaining())
        deadline = -1 if remaining is None else round(remaining)
        return turn_pb2.Turn(
            name=TURN, text=request.text, last_seq=deadline, conversation=request.conversation
        )

    async def GetTurn(self, request: chat_service_pb2.GetTurnRequest, context: Context) -> turn_pb2.Turn:
        return self._scripted.turn(request.name) or turn_pb2.Turn(name=request.name)

    async def CancelTurn(
        self, request: chat_service_pb2.CancelTurnRequest, context: Context
    ) -> turn_pb2.Turn:
        if self._scripted.turn(request.name) is None:
            await refuse(context, status_of(NotFound.of("turn", request.name)))
        if "stuck" in self._scripted.text(request.name):
            await asyncio.Event().wait()
        return self._scripted.cancelled(request.name)

    async def ResumeTurn(
        self, request: chat_service_pb2.ResumeTurnRequest, context: Context
    ) -> AsyncIterator[chat_service_pb2.ResumeTurnResponse]:
        if self._scripted.turn(request.turn) is None:
            await refuse(context, status_of(NotFound.of("turn", request.turn)))
        async for frame in self._scripted.resumed(request, context):
            yield chat_service_pb2.ResumeTurnResponse.FromString(frame.SerializeToString())

    async def ListTurns(
        self, request: chat_service_pb2.ListTurnsRequest, context: Context
    ) -> chat_service_pb2.ListTurnsResponse:
        turns = [turn_pb2.Turn(name=TURN, text=request.filter) for _ in range(request.page_size)]
        return chat_service_pb2.ListTurnsResponse(turns=turns)

    async def Ask(
        self, request: chat_service_pb2.AskRequest, context: Context
    ) -> AsyncIterator[chat_service_pb2.AskResponse]:
        if not request.text:
            await refuse(context, wrong())
        if request.text == "busy":
            await refuse(context, busy())
        if request.text.startswith("script "):
            async for frame in self._scripted.stream_of(request, context):
                yield frame
            return
        for seq in range(1, 4):
            event = turn_pb2.TurnEvent(seq=seq, status=turn_pb2.TurnStatus(message=f"{request.text} {seq}"))
            yield chat_service_pb2.AskResponse(turn=TURN, after_seq=seq - 1, through_seq=seq, events=[event])
            if request.text == "break":
                await refuse(context, busy())
            if request.text == "hang" and seq == 1:
                await asyncio.Event().wait()


class Auth(auth_service_pb2_grpc.AuthServiceServicer):
    async def GetMe(self, request: auth_service_pb2.GetMeRequest, context: Context) -> user_pb2.User:
        """Shows the metadata that arrived. Every key that begins with rsp_good is accepted and may use a script."""
        key = str(dict(context.invocation_metadata() or ()).get("authorization", ""))
        if key == "Bearer rsp_stuck":
            await asyncio.Event().wait()
        if key.startswith("Bearer rsp_bad"):
            await refuse(
                context, status_of(Unauthenticated(Reason.CREDENTIAL_UNKNOWN, "No such key is known."))
            )
        pairs = [(key, str(value)) for key, value in context.invocation_metadata() or ()]
        return user_pb2.User(name=user_name(key), tenant="tenants/one", display_name=json.dumps(pairs))


class Knowledge(knowledge_service_pb2_grpc.KnowledgeServiceServicer):
    def __init__(self) -> None:
        self.uploads: list[str] = []
        """The result of each upload, in the order in which the uploads started."""

    async def UploadDocument(
        self,
        request_iterator: AsyncIterator[knowledge_service_pb2.UploadDocumentRequest],
        context: Context,
    ) -> operations_pb2.Operation:
        place = len(self.uploads)
        self.uploads.append("running")
        end = "broken-off"
        sizes: list[int] = []
        first = document_pb2.DocumentMetadata()
        announced = 0
        request_id = ""
        try:
            metadata = dict(context.invocation_metadata() or ())
            if "authorization" not in metadata and "cookie" not in metadata:
                end = "refused"
                status = Status(code=16, message="Sign in first.")
                status.details.add().Pack(ErrorInfo(reason="CREDENTIAL_MISSING", domain="responsa"))
                await refuse(context, status)
            async for request in request_iterator:
                if request.HasField("start") and first.source_key:
                    await refuse(context, busy())
                elif request.HasField("start"):
                    first.CopyFrom(request.start.metadata)
                    announced = request.start.size_bytes
                    request_id = request.start.request_id
                    if first.source_key == "unwanted":
                        end = "refused"
                        await refuse(context, busy())
                elif request.HasField("finish"):
                    assert request.finish.size_bytes == sum(sizes)
                    end = f"whole-{sum(sizes)}"
                else:
                    sizes.append(len(request.chunk))
                    if first.source_key.startswith("watched"):
                        self.uploads[place] = "receiving"
        finally:
            self.uploads[place] = end
        operation = operations_pb2.Operation(name=f"operations/{UUID}", done=True)
        operation.metadata.Pack(document_pb2.IngestMetadata(document=first.source_key, version=len(sizes)))
        credential = str(metadata.get("authorization") or metadata.get("cookie"))
        document = document_pb2.Document(
            source_key=first.source_key,
            title=first.title,
            collection=first.collection,
            uri=f"{credential} {metadata.get('x-request-id')}",
            media_type=f"{first.media_type} {request_id}",
            subject=first.subject,
            labels=first.labels,
            metadata=first.metadata,
            size_bytes=announced,
            passage_count=max(sizes, default=0),
        )
        operation.response.Pack(document)
        return operation

    async def CreateDocument(
        self, request: knowledge_service_pb2.CreateDocumentRequest, context: Context
    ) -> operations_pb2.Operation:
        return operations_pb2.Operation(name=f"operations/{len(request.text)}")


class Operations(operations_pb2_grpc.OperationsServicer):
    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, context: Context
    ) -> operations_pb2.ListOperationsResponse:
        operations = [operations_pb2.Operation(name=end) for end in self._knowledge.uploads]
        return operations_pb2.ListOperationsResponse(operations=operations, next_page_token=request.name)


class Codes:
    """Two codes, each valid once."""

    def __init__(self) -> None:
        self._codes = {"rsc_one", "rsc_two"}
        self.ended: list[str] = []

    async def caller_of(self, token: str) -> Principal | None:
        del token
        return None

    async def exchange_code(
        self, code: str, origin: Origin, present: Principal | None = None
    ) -> tuple[str, datetime]:
        del origin, present
        if code not in self._codes:
            raise Unauthenticated(Reason.SESSION_CODE_INVALID, "This sign-in link was used already.")
        self._codes.remove(code)
        return f"rss_{code}", datetime.now(UTC) + timedelta(hours=12)

    async def end_session(self, token: str, origin: Origin) -> None:
        if token == "rss_trouble":
            raise RuntimeError("secret detail of the database")
        self.ended.append(token)


def allowed_of(port: int) -> AllowedCallers:
    """The same accepted hosts and origins as in Envoy."""
    hosts = hosts_of(port, LOOPBACK_HOSTS)
    return AllowedCallers(hosts, (*origins_of(hosts), OTHER))


def user_name(authorization: str) -> str:
    """The name of the user with this credential."""
    return f"users/{uuid5(NAMESPACE_OID, authorization)}"


async def serve(grpc_socket: str, http_socket: str, web_root: str, patience: str, port: str) -> None:
    server = grpc.aio.server(options=tuple(OPTIONS.items()))
    # Methods that the tests do not call stay unimplemented.
    scripted: Any = Knowledge, Chat, Auth
    knowledge, chat, auth = (one() for one in scripted)
    healthy = health.aio.HealthServicer()
    chat_service_pb2_grpc.add_ChatServiceServicer_to_server(chat, server)
    auth_service_pb2_grpc.add_AuthServiceServicer_to_server(auth, server)
    knowledge_service_pb2_grpc.add_KnowledgeServiceServicer_to_server(knowledge, server)
    cast("Any", operations_pb2_grpc).add_OperationsServicer_to_server(Operations(knowledge), server)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    reflection.enable_server_reflection(["responsa.chat.v1.ChatService", reflection.SERVICE_NAME], server)
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    server.add_insecure_port(f"unix:{grpc_socket}")
    await server.start()
    timing = Timing(
        heartbeat_seconds=float(patience),
        credential_seconds=float(patience),
        call_seconds=min(10.0, 4 * float(patience)),
    )
    services = (chat_service_pb2, chat), (knowledge_service_pb2, knowledge), (auth_service_pb2, auth)
    calls = calls_of(
        *((file.DESCRIPTOR.services_by_name[type(one).__name__ + "Service"], one) for file, one in services),
        (operations_proto_pb2.DESCRIPTOR.services_by_name["Operations"], Operations(knowledge)),
    )
    bridge = Bridge(calls, SocketSettings(), timing)
    gateway = GatewayServer(
        build_app(
            GatewaySettings(Path(web_root), allowed_of(int(port)), secure_cookie=False),
            calls,
            Codes(),
            bridge=bridge,
        ),
        UnixAddress(Path(http_socket)),
    )
    await gateway.start()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, bridge.leave)
    print("ready", flush=True)
    await stopping.wait()
    await gateway.stop(1)
    await server.stop(0)


if __name__ == "__main__":
    # Nobody reads stdout after "ready". A full pipe would block this process.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(serve(*sys.argv[1:6]))
