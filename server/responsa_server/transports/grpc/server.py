"""The gRPC server: its services, its chain, how it starts and how it goes away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc.aio
import structlog
from google.longrunning import operations_pb2_grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from responsa.admin.v1.admin_service_pb2_grpc import add_AdminServiceServicer_to_server
from responsa.auth.v1.auth_service_pb2_grpc import add_AuthServiceServicer_to_server
from responsa.chat.v1.chat_service_pb2_grpc import add_ChatServiceServicer_to_server
from responsa.knowledge.v1.knowledge_service_pb2_grpc import add_KnowledgeServiceServicer_to_server
from responsa_server.calls.authorisation import RULES
from responsa_server.calls.interceptors.admission import Admission
from responsa_server.calls.interceptors.chain import Chain, interceptors
from responsa_server.calls.interceptors.credential import SESSION_COOKIE
from responsa_server.calls.interceptors.log import Logger
from responsa_server.calls.interceptors.validation import Validation, request_types
from responsa_server.calls.services.admin import AdminService
from responsa_server.calls.services.auth import AuthService
from responsa_server.calls.services.chat import ChatService
from responsa_server.calls.services.knowledge import KnowledgeService
from responsa_server.calls.services.operations import OperationsService
from responsa_server.calls.work import Work
from responsa_server.domain.ports.catalogue import Catalogue
from responsa_server.domain.ports.counters import Counters
from responsa_server.domain.ports.parts import Installation, Migrations, Part
from responsa_server.domain.ports.teachers import Teachers
from responsa_server.identity.service import Identity
from responsa_server.library.library import Library
from responsa_server.transports.grpc.health import Health
from responsa_server.turns.conversations import Conversations
from responsa_server.turns.service import Turns

# The services whose health is told, by their full names.
SERVICES = (
    "responsa.chat.v1.ChatService",
    "responsa.knowledge.v1.KnowledgeService",
    "responsa.auth.v1.AuthService",
    "responsa.admin.v1.AdminService",
    "google.longrunning.Operations",
)
HEALTH = "grpc.health.v1.Health"
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# How long the last words of a call may take to reach its caller.
_FAREWELL_SECONDS = 0.5

_OPTIONS: Mapping[str, int] = {
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    # Two processes must not share an address by accident: the second one is to fail.
    "grpc.so_reuseport": 0,
    # Ours: is the peer still there? Theirs: a client may ask every 10 s, also without a call; by default the second ping within 300 s ends the connection.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.min_recv_ping_interval_without_data_ms": 10_000,
    "grpc.http2.max_ping_strikes": 2,
    # Envoy lets 16 KiB of headers through; what it lets through must not fail here.
    "grpc.max_metadata_size": 24 * 1024,
    "grpc.absolute_max_metadata_size": 32 * 1024,
}


@dataclass(frozen=True, slots=True)
class Services:
    """What the server serves."""

    identity: Identity
    turns: Turns
    conversations: Conversations
    library: Library
    catalogue: Catalogue
    teachers: Teachers
    counters: Counters
    installation: Installation
    migrations: Migrations
    parts: Sequence[Part] = ()


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """address: `unix:PATH` or `HOST:PORT`, port 0 for any. reflection: whether it is served. max_calls: at a time; more are OVERLOADED.
    session_cookie: the name under which the gateway keeps sessions.
    """

    address: str
    reflection: bool = True
    max_calls: int = 2000
    session_cookie: str = SESSION_COOKIE


class RpcServer:
    """One server. Started once, drained once."""

    def __init__(self, services: Services, options: ServerOptions, logger: Logger | None = None) -> None:
        """Build it; must be called in the running event loop. logger: where the line of each call goes, structlog's own by default."""
        log: Logger = structlog.get_logger("responsa.rpc") if logger is None else logger
        self._options = options
        self._admission = Admission(options.max_calls)
        self._work = Work()
        self._health = Health((*SERVICES, HEALTH))
        self._validation = Validation()
        chain = interceptors(
            services.identity, options.session_cookie, self._admission, self._validation, log
        )
        self._server = grpc.aio.server(
            interceptors=(Chain(chain, self._work, log),),
            options=tuple(_OPTIONS.items()),
            compression=grpc.Compression.NoCompression,
        )
        add_ChatServiceServicer_to_server(
            ChatService(services.turns, services.conversations, services.catalogue, self._work), self._server
        )
        add_KnowledgeServiceServicer_to_server(KnowledgeService(services.library), self._server)
        add_AuthServiceServicer_to_server(AuthService(services.identity), self._server)
        add_AdminServiceServicer_to_server(
            AdminService(
                services.installation,
                services.migrations,
                services.parts,
                services.counters,
                services.teachers,
                services.catalogue,
                self._work,
            ),
            self._server,
        )
        operations_pb2_grpc.add_OperationsServicer_to_server(  # pyright: ignore[reportUnknownMemberType]  # Google ships it without types
            OperationsService(services.library), self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if options.reflection:
            reflection.enable_server_reflection((*SERVICES, HEALTH, reflection.SERVICE_NAME), self._server)

    async def start(self) -> int:
        """Bind and serve; health tells NOT_SERVING until `ready`. Returns the port, 1 for a unix socket. Raises OSError when the address is taken."""
        self._validation.warm(request_types(tuple(RULES)))
        await self._health.not_serving()
        try:
            port = self._server.add_insecure_port(self._options.address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._options.address}") from error
        await self._server.start()
        return port

    async def ready(self) -> None:
        """Tell the world that all parts are there."""
        await self._health.serving()

    async def retire(self) -> None:
        """Tell by health that this server goes away, while calls are still taken: who balances sends new ones elsewhere."""
        await self._health.not_serving()

    async def drain(self, grace_seconds: float) -> None:
        """Go away: tell it by health, take no new calls (DRAINING), let running ones end, then stop; all within so many seconds, or one where it is less.

        Streams of turns end when `Turns.drain`, which runs beside this, sends their readers to another server. Work whose caller is gone is waited for
        as well. Returns once nothing is served any more.
        """
        await self._health.drain()
        self._admission.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(grace_seconds - 2 * _FAREWELL_SECONDS, 0.0)):
                await self._admission.idle()
                await self._work.finished()
        # What is left is told why it ends, which gRPC's own stop would not do. A turn goes on: its readers find it on another server, or here after the start.
        self._admission.cut()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._admission.idle()
        await self._server.stop(_FAREWELL_SECONDS)
