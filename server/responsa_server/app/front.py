"""The interfaces that a process serves: either RPCs and the gateway's HTTP, or only health checks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

import structlog
from starlette.applications import Starlette

from responsa_server import __version__
from responsa_server.agents.engine.tool_circuits import KIND as TOOL
from responsa_server.agents.engine.tool_circuits import KIND_OF_USERS as TOOL_OF_USERS
from responsa_server.agents.engine.tool_circuits import tool_of, tool_of_user
from responsa_server.app.accounts import AccountServices
from responsa_server.app.assemble import AgentServices, Knowledge, build_erasing
from responsa_server.app.default_model import ModelsPart
from responsa_server.app.envoy_hosts import SERVER, HostState, host_states
from responsa_server.app.extension import Extension
from responsa_server.app.gateway import GatewayServer
from responsa_server.app.layout import Layout
from responsa_server.app.listening import AddressTaken, Front, admit_group
from responsa_server.app.metrics import Targets, of_all_servers
from responsa_server.app.process import LOG
from responsa_server.app.resources import Addresses, Disks, new_id, redis_url, targets_folder
from responsa_server.app.settings import Settings
from responsa_server.calls.call import caller
from responsa_server.calls.contract import calls_of, health_calls
from responsa_server.calls.frames import AskFrames
from responsa_server.calls.health import PartReports, ServerHealth
from responsa_server.calls.interceptors.access import HOST_PREFIX, SESSION_COOKIE, SessionCookie
from responsa_server.calls.interceptors.lasting import CredentialWatch
from responsa_server.calls.methods import SERVICES
from responsa_server.calls.services.parts import Services
from responsa_server.domain import names
from responsa_server.domain.addresses import LOOPBACK_HOSTS, Address, UnixAddress, hosts_of, origins_of
from responsa_server.domain.breakers import CircuitsPart
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.parts import Health, Installation, PartReport, Pause
from responsa_server.domain.people import Principal
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.limits import Limiter, QuotaAdministration
from responsa_server.identity.tenants import TenantAdministration
from responsa_server.identity.users import UserAdministration
from responsa_server.insight.reports import Insight
from responsa_server.providers.table import ProviderTable
from responsa_server.search.embedder import EmbeddingPart
from responsa_server.search.reranking import RerankerPart
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database, PostgresPart
from responsa_server.stores.postgres.identity import PostgresIdentityStore
from responsa_server.stores.postgres.insight import PostgresInsight
from responsa_server.stores.postgres.jobs import OtherJobWorkers
from responsa_server.stores.postgres.patterns import PATTERN, PostgresPatterns
from responsa_server.stores.postgres.pause import PauseWatch
from responsa_server.stores.postgres.quotas import PostgresQuotas
from responsa_server.stores.postgres.resources import ResourceTable
from responsa_server.stores.postgres.tenants import PostgresTenants
from responsa_server.stores.postgres.users import PostgresUsers
from responsa_server.stores.redis import RedisPart
from responsa_server.telemetry.stages import Traces
from responsa_server.transports.doors import Bridge, GatewaySettings, OAuthGateway, add_a2a, build_app
from responsa_server.transports.grpc.server import RpcServer
from responsa_server.transports.http.guard import AllowedCallers
from responsa_server.transports.http.health import health_routes
from responsa_server.transports.http.openid import OpenIdGateway
from responsa_server.turns.conversations import Conversations
from responsa_server.turns.service import Turns


class ServersPart:
    """The servers as Envoy sees them. Implements `ReportedPart`."""

    name = "servers"

    def __init__(self, admin: Path) -> None:
        """admin: the socket of Envoy's admin interface. Without an Envoy, nothing is known of other servers, so the part is well."""
        self._admin = admin

    async def check(self) -> PartReport:
        """Ask Envoy for the health of its endpoints."""
        hosts = [host for host in await asyncio.to_thread(host_states, self._admin) if host.cluster == SERVER]
        failing = [host for host in hosts if host.state is not HostState.SERVING]
        if not failing:
            return PartReport(Health.OK)
        detail = f"{len(failing)} of {len(hosts)} servers take no calls; `responsa replicas list` names them."
        return PartReport(Health.DEGRADED, detail=detail)


class CallFront:
    """A `Front` that serves the RPCs and, if an HTTP address is set, the gateway's HTTP."""

    def __init__(
        self,
        settings: Settings,
        layout: Layout,
        listens: Addresses,
        database: Database,
        disks: Disks,
        knowledge: Knowledge,
        models: ProviderTable,
        extensions: Sequence[Extension],
        turns: Turns,
        agents: AgentServices,
        limiter: Limiter,
        traces: Traces,
        pause: PauseWatch,
    ) -> None:
        assert listens.grpc is not None, "a process that takes calls has an address"
        self._serving = False
        self._grpc = listens.grpc
        cache = CredentialCache(seconds=settings.cache.credentials_seconds)
        self._people = AccountServices(settings, layout, database, knowledge.queue, cache)
        self._widgets = settings.widgets
        identity = self._people.identity
        watch = CredentialWatch(identity)
        self._database, self._disks, self._cluster = database, disks, layout.cluster.parent
        self._parts = PartReports(
            [
                PostgresPart(database),
                RedisPart(redis_url(settings, layout)),
                *([] if knowledge.vectors is None else [knowledge.vectors]),
                EmbeddingPart(knowledge.embedders, knowledge.retriever.missed),
                *(
                    []
                    if knowledge.reranking is None
                    else [RerankerPart(knowledge.reranking, agents.breakers)]
                ),
                knowledge.jobs or OtherJobWorkers(database),
                agents.agents,
                ModelsPart(agents.default_model, models, agents.breakers),
                CircuitsPart(
                    "tools",
                    agents.breakers,
                    {
                        TOOL: lambda name: tool_of(name, _asking(), agents.tools.names),
                        TOOL_OF_USERS: lambda name: tool_of_user(name, _asking(), agents.tools.names),
                    },
                ),
                ServersPart(layout.envoy_admin_socket),
                self._people.tokens,
                disks,
                LOG,
                *([pause] if pause.paused() else []),
                *(part for extension in extensions for part in extension.parts(_asking)),
            ]
        )
        health = ServerHealth(lambda: self._serving, self._lacking, self._parts.all, pause)
        # Browsers send a host's cookies to all ports of the host, so instances on one host need different cookie names.
        prefix = HOST_PREFIX if settings.sessions.secure_cookie else ""
        hosts = hosts_of(settings.port, (*LOOPBACK_HOSTS, *settings.allowed_hosts))
        own = origins_of(hosts)
        cookie = SessionCookie(f"{prefix}{SESSION_COOKIE}_{settings.port}", frozenset(own))
        calls = calls_of(
            Services(
                database=database,
                new_id=new_id,
                identity=identity,
                watch=watch,
                accounts=self._people.accounts,
                identities=self._people.identities,
                turns=turns,
                conversations=Conversations(
                    PostgresConversationStore(database, knowledge.collections), knowledge.documents, new_id
                ),
                library=knowledge.library,
                catalogue=agents.agents,
                agents=agents.agents,
                tools=agents.tools,
                users=UserAdministration(PostgresUsers(database), new_id, cache),
                tenants=TenantAdministration(
                    PostgresTenants(database), new_id, cache, settings.accounts.registration
                ),
                cache=cache,
                quotas=QuotaAdministration(PostgresQuotas(database, settings.quotas.rules), limiter.book),
                erasing=build_erasing(settings, database, knowledge, turns, cache),
                counters=agents.counters,
                limits=limiter.book,
                limiter=limiter,
                reports=self._parts,
                models=agents.default_model,
                insight=Insight(
                    PostgresInsight(database),
                    PostgresPatterns(database, AskFrames()),
                    ResourceTable(database, PATTERN, new_id),
                    PostgresUsers(database),
                ),
                extensions=[service for extension in extensions for service in extension.services()],
                installation=Installation(__version__, knowledge.embedders.configured),
            ),
            cookie=cookie,
            widgets=settings.widgets,
            logger=structlog.get_logger("calls"),
            traces=traces,
        )
        add_a2a(calls, settings.oidc.public_url, secure=settings.sessions.secure_cookie)
        self._calls = calls
        self._server = RpcServer(
            calls,
            SERVICES,
            str(self._grpc),
            reflects=settings.serves_reflection,
            health=health,
            traces=traces,
        )
        self._gateway: GatewayServer | None = None
        self._bridge = Bridge(
            calls,
            settings.sockets,
            limits=limiter,
            watch=watch,
            cookie=cookie,
        )
        if listens.http is not None:
            gateway_settings = GatewaySettings(
                web_root=settings.page,
                allowed=AllowedCallers(frozenset(hosts), frozenset((*own, *settings.origins))),
                cookie=cookie,
                secure_cookie=settings.sessions.secure_cookie,
                name=settings.page_name,
                mark=settings.page_mark,
                openai=settings.openai,
                page_url=settings.mail.page_url.rstrip("/"),
            )
            app = build_app(
                gateway_settings,
                calls,
                identity,
                accounts=self._people.accounts,
                openid=OpenIdGateway(self._people.openid, identity, settings.oidc.public_url),
                oauth=OAuthGateway(self._people.programs, identity, settings.oidc.public_url),
                health=health,
                metrics=partial(of_all_servers, Targets(targets_folder(settings, layout)))
                if settings.telemetry.metrics
                else None,
                bridge=self._bridge,
            )
            self._gateway = GatewayServer(app, listens.http)

    @property
    def calls_running(self) -> int:
        return self._calls.running

    @property
    def sockets(self) -> int:
        return self._bridge.sockets

    async def reports(self) -> Mapping[str, PartReport]:
        return await self._parts.all()

    async def _lacking(self) -> Collection[str]:
        away = () if await self._database.answers() else (PostgresPart.name,)
        return (*away, *((Disks.name,) if self._disks.holds_full(self._cluster) else ()))

    async def start(self) -> None:
        await _bind(self._grpc, self._server.start)
        await self._server.ready()
        self._serving = True
        if self._gateway is not None:
            await self._gateway.start()
        with contextlib.suppress(Unavailable):
            await report_widgets(self._people.identity.store, self._widgets)

    async def retire(self) -> None:
        self._serving = False
        await self._server.retire()

    async def drain(self, grace_seconds: float) -> None:
        self._serving = False
        self._bridge.leave()
        await self._server.drain(grace_seconds)

    async def close(self) -> None:
        if self._gateway is not None:
            await self._gateway.stop()
        await self._server.drain(0.0)
        await self._parts.close()
        await self._people.close()


class HealthFront(Front):
    """A `Front` that serves only health checks, and only if an address is set."""

    def __init__(self, listens: Addresses, pause: Pause) -> None:
        self._grpc = listens.grpc
        self._server: RpcServer | None = None
        self._serving = True
        self._gateway: GatewayServer | None = None
        if listens.http is not None:
            app = Starlette(routes=[*health_routes(ServerHealth(lambda: self._serving, pause=pause))])
            self._gateway = GatewayServer(app, listens.http)
        if listens.grpc is not None:
            calls = health_calls(structlog.get_logger("calls"))
            self._server = RpcServer(calls, (), str(listens.grpc), reflects=False)

    async def start(self) -> None:
        if self._server is not None and self._grpc is not None:
            await _bind(self._grpc, self._server.start)
            await self._server.ready()
        if self._gateway is not None:
            await self._gateway.start()

    async def retire(self) -> None:
        self._serving = False
        if self._server is not None:
            await self._server.retire()

    async def drain(self, grace_seconds: float) -> None:
        del grace_seconds
        await self.retire()

    async def close(self) -> None:
        if self._gateway is not None:
            await self._gateway.stop()
        if self._server is not None:
            await self._server.drain(0.0)


def _asking() -> Principal | None:
    """Who asks for the status; None for a health check and for the metrics, which are not calls."""
    try:
        return caller()
    except LookupError:
        return None


async def report_widgets(store: PostgresIdentityStore, keys: Collection[UUID]) -> None:
    """Say in the log which of these keys of widgets read less than their users do. Raises Unavailable."""
    if not keys:
        return
    for key, collections in (await store.unread_by_widgets(keys)).items():
        if collections:
            structlog.get_logger("server").warning(
                "widget_reads_less",
                key=names.api_key(key),
                collections=collections,
                remedy="share what the widget may read with the key's user by name",
            )


async def _bind(address: Address, start: Callable[[], Awaitable[object]]) -> None:
    """Start a server that binds this address. gRPC gives no reason for a failed start. The reason is nearly always a
    taken address, so this function raises AddressTaken.
    """
    try:
        await start()
    except OSError as error:
        raise AddressTaken(address) from error
    if isinstance(address, UnixAddress):
        admit_group(address.path)
