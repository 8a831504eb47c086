"""A whole gRPC server on real parts, for tests that call it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID

import grpc
import grpc.aio
import pytest
from google.longrunning import operations_pb2_grpc
from google.protobuf import message_factory
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from uuid_utils.compat import uuid7

from responsa.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from responsa.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from responsa.chat.v1.chat_service_pb2_grpc import ChatServiceStub
from responsa.knowledge.v1.knowledge_service_pb2_grpc import KnowledgeServiceStub
from responsa_etl.extension import build_folders, source_administration
from responsa_etl.services.sources import ProfileService, SourceService
from responsa_etl.sources.crawling import Crawler
from responsa_etl.sources.sandbox import SourceSandboxes
from responsa_etl.sources.service import SubjectProfiles
from responsa_etl.stores.profiles import PostgresProfiles
from responsa_server.app.default_model import DefaultModels
from responsa_server.app.models import model_table
from responsa_server.app.settings import load
from responsa_server.app.tools import tools_of
from responsa_server.calls.chain import Calls
from responsa_server.calls.contract import calls_of
from responsa_server.calls.frames import AskFrames
from responsa_server.calls.health import PartReports
from responsa_server.calls.interceptors.lasting import CredentialWatch
from responsa_server.calls.methods import SERVICES as SERVED
from responsa_server.calls.services.administration.experiments import ExperimentService
from responsa_server.calls.services.parts import Services
from responsa_server.domain import names
from responsa_server.domain.agents import (
    AgentCard,
    AgentEvent,
    AnswerTask,
    Barrier,
    Emit,
    Reloaded,
)
from responsa_server.domain.counters import Counters
from responsa_server.domain.errors import NotFound
from responsa_server.domain.events import (
    Answered,
    AnswerOutcome,
    ByteRange,
    Citation,
    Cited,
    Delta,
    JudgeVerdict,
    QuoteOrigin,
    RefusalReason,
    Refused,
    Status,
    Step,
    Terminal,
    ToolCalled,
    ToolCitation,
    ToolOrigin,
    ToolOutcome,
    ToolReturned,
    ToolSource,
    Usage,
)
from responsa_server.domain.parts import Health, Installation, PartReport, ReportedPart
from responsa_server.domain.people import AuditEvent, Principal, Role, User
from responsa_server.domain.problems import FileProblem
from responsa_server.domain.quotas import Demand, QuotaRules
from responsa_server.domain.turns import Question
from responsa_server.identity.accounts import Accounts
from responsa_server.identity.limits import LimitBook, Limiter, QuotaAdministration
from responsa_server.identity.openid_provider import LinkedIdentities
from responsa_server.identity.service import Identity
from responsa_server.identity.settings import LimitSettings, Registration
from responsa_server.identity.tenants import TenantAdministration
from responsa_server.identity.tokens import Secret
from responsa_server.identity.users import Erasing, UserAdministration
from responsa_server.insight.reports import Insight
from responsa_server.outbound.connector import Connector
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import PostgresPart
from responsa_server.stores.postgres.erasing import PostgresErasing
from responsa_server.stores.postgres.experiments import PostgresExperiments
from responsa_server.stores.postgres.insight import PostgresInsight
from responsa_server.stores.postgres.limits import PostgresLimits
from responsa_server.stores.postgres.openid import PostgresOpenIdStore
from responsa_server.stores.postgres.patterns import PATTERN, PostgresPatterns
from responsa_server.stores.postgres.quotas import PostgresQuotas
from responsa_server.stores.postgres.resources import ResourceTable
from responsa_server.stores.postgres.tenants import PostgresTenants
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.stores.postgres.users import PostgresUsers
from responsa_server.stores.redis_relay import RedisRelay
from responsa_server.tools.kinds import ToolContext
from responsa_server.transports.a2a import service as a2a
from responsa_server.transports.grpc.server import RpcServer
from responsa_server.turns.conversations import Conversations
from responsa_server.turns.runtime import Runtime
from responsa_server.turns.service import Turns
from responsa_server.turns.settings import TurnOptions
from tests.agent_streams import play
from tests.contract.library_harness import Harness
from tests.contract.turn_harness import NO_REDIS, RELAY_KEY, Cast
from tests.default_models import build_default_models
from tests.people import GOOD, people_of
from tests.transports import SERVICES

MODELS = load(models={"scripted": True, "allow_private": ["127.0.0.1"]})
"""The settings of the servers, as far as models go."""
PIECES = ("The river ", "is seven ", "kilometres ", "long.")
ANSWER = "".join(PIECES)
PAGE = ToolSource(
    "https://example.org/river",
    "A river",
    datetime(2026, 11, 22, 23, 40, tzinfo=UTC),
    f"Ü. {ANSWER} It is wide.",
)
"""What the tool of the scripted agent returns."""
Metadata = tuple[tuple[str, str], ...]
OWN: Metadata = (("sec-fetch-site", "same-origin"),)
"""What a browser sends with a cookie, for the server's own page."""
SECRET_CAUSE = "password=hunter2 host=10.1.2.3"  # the text of a driver's error
SOON = 8.0
"""The most seconds until every server knows that a credential has ended. Responsa promises one second, but a loaded
machine may take longer. A server that neither hears of it nor checks again would never know. The contract tests check
the second for calls, with clocks that they set; for streams, it follows from the time between two checks.
"""


class Lines:
    """A logger that keeps its records."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str, dict[str, Any]]] = []
        self._more = asyncio.Event()

    def debug(self, event: str, **fields: object) -> None:
        self._keep("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._keep("info", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._keep("error", event, fields)

    def _keep(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.kept.append((level, event, fields))
        self._more.set()

    async def calls(self, code: str, number: int) -> None:
        """Wait until this many calls have ended with this code."""
        while sum(one["code"] == code for one in self.of("call")) < number:
            self._more.clear()
            await self._more.wait()

    async def call(self, code: str = "") -> dict[str, Any]:
        """Wait until a call has ended (with this code). Returns the call's log line."""
        while True:
            self._more.clear()
            for one in self.of("call"):
                if code in ("", one["code"]):
                    return one
            await self._more.wait()

    def of(self, event: str) -> list[dict[str, Any]]:
        return [fields for _, name, fields in self.kept if name == event]


class ScriptedAgent:
    """An agent that follows a script, so that the frames of a stream are known. It answers with the river's
    length, refuses, fails, waits until the gate opens, or writes until then.
    """

    time_limit_seconds = 60.0
    history_messages = 10
    older_messages = 0
    titles = True
    asks_models = True

    def __init__(self, version: str = "agents/scripted/versions/1") -> None:
        self.version = version
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def admit(self, caller: Principal, question: Question) -> None:
        pass

    def demand(self, question: Question) -> Demand | None:
        return None

    async def answer(self, task: AnswerTask, emit: Emit) -> Terminal:
        try:
            return await play(self._answer(task.question.text), emit)
        finally:
            self.ended.set()

    async def _answer(self, text: str) -> AsyncGenerator[AgentEvent, None]:
        yield Status(Step.RETRIEVING, "Searching knowledge base...")
        self.begun.set()
        if "wait" in text:
            await self.gate.wait()
        if "write" in text:
            offset = 0
            while not self.gate.is_set():
                committed = Barrier()
                yield Delta("on and ", offset)
                yield committed
                await committed.passed.wait()
                offset += 7
            yield Refused(RefusalReason.NO_SUPPORT, "Nothing in the documents supports an answer.", Usage(3))
            return
        if "explode" in text:
            raise RuntimeError(SECRET_CAUSE)
        if "refuse" in text:
            yield Refused(RefusalReason.NO_SUPPORT, "Nothing in the documents supports an answer.", Usage(3))
            return
        if "fetch" in text:
            yield ToolCalled("tool-1", "web_search", {"query": "river"})
            yield ToolReturned("tool-1", ToolOutcome.OK, "1 page", sources=[PAGE])
        yield Status(Step.GENERATING, "Generating response...")
        offset = 0
        for piece in PIECES:
            yield Delta(piece, offset)
            offset += len(piece)
        sha256, whole = hashlib.sha256(ANSWER.encode()).digest(), ByteRange(0, offset)
        cited = Citation(
            uuid7(),
            uuid7(),
            1,
            "Rivers",
            "rivers.md",
            whole,
            ANSWER,
            sha256,
            whole,
            0.9,
            quote_origin=QuoteOrigin.COPIED,
            verdict=JudgeVerdict.NONE,
        )
        if "fetch" in text:
            start = PAGE.text.encode().index(ANSWER.encode())
            origin = ToolOrigin("tool-1", "web_search", 0, PAGE.fetch_time)
            cited = ToolCitation(
                origin,
                PAGE.title,
                PAGE.uri,
                ByteRange(start, start + offset),
                ANSWER,
                sha256,
                whole,
                0.9,
                QuoteOrigin.COPIED,
                JudgeVerdict.NONE,
            )
        yield Cited(cited)
        yield Answered(ANSWER, sha256, [cited], AnswerOutcome.COMPLETE, 3, Usage(5))


class Cards:
    """A catalogue without files. It has the two agents of this server, and a test sets the results of a reload."""

    def __init__(self) -> None:
        self.known = {
            "default": AgentCard("default", "Rivers", "", "agents/scripted/versions/1", is_default=True),
            "other": AgentCard(
                "other",
                "Other rivers",
                "Longer ones.",
                "agents/other/versions/7",
                {"properties": {"level": {"enum": ["low", "high"]}}},
                ("How long is it?",),
                ("atlas",),
                ("scripted:strong",),
                4,
                tools=("time",),
            ),
        }
        self.problems_of: list[FileProblem] = []
        self.reloads = 0

    def cards(self) -> Sequence[AgentCard]:
        return list(self.known.values())

    def card(self, identity: str) -> AgentCard:
        found = self.known.get(identity or "default")
        if found is None:
            raise NotFound.of("agent", names.agent(identity))
        return found

    async def schema(self, caller: Principal, card: AgentCard) -> Mapping[str, object]:
        return {**card.schema, "title": caller.tenant_id} if card.schema else {}

    def problems(self) -> Sequence[Reloaded]:
        return []

    async def publish(self, identity: str, number: int, event: AuditEvent, etag: str = "") -> None:
        self.card(identity)

    roll_back = publish

    async def list_agent(self, identity: str, *, listed: bool, event: AuditEvent, etag: str = "") -> None:
        self.card(identity)

    async def reload(self) -> Sequence[Reloaded]:
        self.reloads += 1
        return [
            Reloaded(one.id, one.version, changed=one.is_default, problems=self.problems_of)
            for one in self.known.values()
        ]


class SwitchedPart:
    """A part that a test controls."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.error: Exception | None = None
        self.hangs = False
        self.gate = asyncio.Event()

    async def check(self) -> PartReport:
        if self.hangs:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return PartReport(Health.OK, "1.0")


@dataclass
class Sender:
    """Whoever sends this metadata. Each RPC is a method, and its fields are arguments: `await sender.GetUser(name=…)`.
    It also takes a whole request."""

    channel: grpc.aio.Channel
    metadata: Metadata

    def __getattr__(self, method: str) -> Callable[..., Any]:
        for service, stub in SERVICES.values():
            if method in service.methods_by_name:
                kind = message_factory.GetMessageClass(service.methods_by_name[method].input_type)
                call = getattr(stub(self.channel), method)
                return lambda *request, **fields: call(*request or (kind(**fields),), metadata=self.metadata)
        raise AttributeError(method)


class Caller(Sender):
    """A user with a key."""

    def __init__(self, caller: Principal, secret: str, channel: grpc.aio.Channel) -> None:
        super().__init__(channel, bearer(secret))
        self.who = caller
        self.secret = secret
        self.name = f"users/{caller.user_id}"


def bearer(secret: str) -> Metadata:
    return (("authorization", f"Bearer {secret}"),)


def by_cookie(cookies: str) -> Metadata:
    """What a browser sends with these cookies, for the server's own page."""
    return (*OWN, ("cookie", cookies))


@dataclass
class Served:
    """The server, its callers, and its parts."""

    address: str
    calls: Calls
    server: RpcServer
    channel: grpc.aio.Channel
    identity: Identity
    accounts: Accounts
    harness: Harness
    turns: Turns
    agent: ScriptedAgent
    cards: Cards
    counters: Counters
    lines: Lines
    part: SwitchedPart
    models: DefaultModels
    ann: Caller
    bob: Caller
    eve: Caller

    @property
    def chat(self) -> ChatServiceStub:
        return ChatServiceStub(self.channel)

    @property
    def knowledge(self) -> KnowledgeServiceStub:
        return KnowledgeServiceStub(self.channel)

    @property
    def auth(self) -> AuthServiceStub:
        return AuthServiceStub(self.channel)

    @property
    def admin(self) -> AdminServiceStub:
        return AdminServiceStub(self.channel)

    @property
    def operations(self) -> Any:
        return operations_pb2_grpc.OperationsStub(self.channel)

    def sending(self, metadata: Metadata) -> Sender:
        """Somebody who sends this metadata to this server."""
        return Sender(self.channel, metadata)

    @property
    def nobody(self) -> Sender:
        """Somebody without a credential."""
        return self.sending(())

    async def raw(
        self, method: str, data: bytes, caller: Caller | None = None, *, stream: bool = False
    ) -> Any:
        """Send raw bytes to a unary method or to a method that streams its response. Stubs cannot send raw bytes."""
        metadata = () if caller is None else caller.metadata
        if not stream:
            return await cast("Any", self.channel).unary_unary(method)(data, metadata=metadata)
        messages = cast("Any", self.channel).unary_stream(method)(data, metadata=metadata)
        return [message async for message in messages]


async def caller(identity: Identity, channel: grpc.aio.Channel, tenant: str, role: Role) -> Caller:
    user = await identity.create_user(tenant, "x", "", role)
    _, secret = await identity.create_key(tenant, user.id, "test")
    return Caller(Principal(tenant, user.id, role, "api_key"), secret, channel)


@asynccontextmanager
async def serving(
    harness: Harness,
    folder: Path,
    *,
    max_calls: int = 100,
    turn_options: TurnOptions | None = None,
    more_parts: Sequence[ReportedPart] = (),
    replica: str = "s",
    limiter: Limiter | None = None,
    widgets: Mapping[UUID, frozenset[str]] = MappingProxyType({}),
) -> AsyncGenerator[Served, None]:
    """A ready server. It is drained at the end of the block. replica: the server's name among the servers on one
    database. limiter: the limits of callers; None for no limits. widgets: the origins of each key of a widget."""
    database = harness.database
    people = people_of(database)
    identity, accounts = people.identity, people.accounts
    codec = AskFrames()
    conversations = PostgresConversationStore(database)
    agent = ScriptedAgent()
    agents = Cast({"": agent, "other": ScriptedAgent("agents/other/versions/7")})
    turns = Turns(
        PostgresTurnStore(database, codec),
        conversations,
        agents,
        RedisRelay(NO_REDIS, RELAY_KEY),
        Runtime(uuid7, codec, turn_options or TurnOptions()),
        gate=limiter,
    )
    cards, counters = Cards(), Counters()
    tools = tools_of(None, ToolContext())
    models = build_default_models(MODELS, model_table(MODELS.models), database)
    tools.reload()
    book = (
        LimitBook(LimitSettings(), PostgresLimits(database), PostgresUsers(database))
        if limiter is None
        else limiter.book
    )
    lines = Lines()
    part = SwitchedPart("switched")
    # Socket paths must be short, and a test's folder may have a long path.
    address = f"unix:{folder}/{replica}"
    watch = CredentialWatch(identity)
    calls = calls_of(
        Services(
            database=database,
            new_id=uuid7,
            identity=identity,
            watch=watch,
            accounts=accounts,
            identities=LinkedIdentities(PostgresOpenIdStore(database), identity),
            turns=turns,
            conversations=Conversations(conversations, harness.documents, uuid7),
            library=harness.library,
            catalogue=cast("Any", cards),
            agents=agents,
            tools=tools,
            users=UserAdministration(PostgresUsers(database), uuid7, people.cache),
            tenants=TenantAdministration(
                PostgresTenants(database), uuid7, people.cache, Registration.INVITED
            ),
            cache=people.cache,
            quotas=QuotaAdministration(PostgresQuotas(database, QuotaRules()), book),
            erasing=Erasing(
                PostgresErasing(database, harness.queue, codec, harness.collections, harness.documents),
                turns.cancel,
                people.cache,
            ),
            counters=counters,
            limits=book,
            limiter=limiter,
            installation=Installation("0.1.0", "test-embedding"),
            models=models,
            insight=Insight(
                PostgresInsight(database),
                PostgresPatterns(database, AskFrames()),
                ResourceTable(database, PATTERN, uuid7),
                PostgresUsers(database),
            ),
            extensions=(
                SourceService(
                    source_administration(
                        load(sources={"folder": folder}),
                        database,
                        harness.queue,
                        harness.library,
                        Crawler(Connector(), SourceSandboxes(harness.parser)),
                        build_folders(
                            load(sources={"folder": folder}),
                            Secret(bytes(32)),
                            Connector(),
                            SourceSandboxes(harness.parser),
                        ),
                    )
                ),
                ProfileService(SubjectProfiles(PostgresProfiles(database, harness.documents))),
                ExperimentService(PostgresExperiments(database), cast("Any", cards), uuid7),
            ),
            reports=PartReports((PostgresPart(database), part, *more_parts)),
        ),
        max_calls=max_calls,
        widgets=widgets,
        logger=lines,
    )
    calls.add(a2a.methods(calls, "", secure=False))
    server = RpcServer(calls, SERVED, address)
    await turns.start()
    await server.start()
    await server.ready()
    for tenant in ("acme", "rival"):
        if replica == "s":
            await identity.create_tenant(tenant, tenant)
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            ann = await caller(identity, channel, "acme", Role.ADMIN)
            bob = await caller(identity, channel, "acme", Role.USER)
            eve = await caller(identity, channel, "rival", Role.ADMIN)
            yield Served(
                address, calls, server, channel, identity, accounts, harness, turns, agent, cards, counters, lines, part,
                models, ann, bob, eve
            )  # fmt: skip
    finally:
        agent.gate.set()
        part.gate.set()
        await server.drain(5.0)
        await turns.close()


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@dataclass(frozen=True)
class Failure:
    """The complete error of a failed call."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    violations: dict[str, str]
    retry_after: float | None
    status: status_pb2.Status


def failure(error: grpc.aio.AioRpcError) -> Failure:
    encoded = cast("Any", rpc_status).from_call(error)
    assert encoded is not None, error
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    retry_after = None
    for detail in encoded.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    assert info.domain == "responsa"
    return Failure(
        error.code(),
        error.details() or "",
        info.reason,
        dict(info.metadata),
        {field_violation.field: field_violation.description for field_violation in bad.field_violations},
        retry_after,
        encoded,
    )


async def failed(work: Any) -> Failure:
    """The error of a call that must fail. work: a unary call or a stream."""
    try:
        if hasattr(work, "__aiter__"):
            async for _ in work:
                pass
        else:
            await work
    except grpc.aio.AioRpcError as error:
        return failure(error)
    raise AssertionError("the call succeeded")


def spied(served: Served, monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[str]:
    """Replace `Turns.leave`, and return the turns for which it is called."""
    left: asyncio.Queue[str] = asyncio.Queue()

    def leave(_: Principal, turn_id: UUID) -> None:
        left.put_nowait(f"turns/{turn_id}")

    monkeypatch.setattr(served.turns, "leave", leave)
    return left


async def zoe(served: Served, role: Role = Role.USER) -> User:
    """A user of the tenant acme with a password."""
    user = await served.identity.create_user("acme", "Zoe", "zoe@example.org", role)
    code, _ = await served.accounts.create_reset_code(served.ann.who, user.id)
    await served.accounts.reset_password(code, GOOD)
    return user
