"""The work of a warm call: function calls of the server's thread, statements, bytes of the database's log and rows.

No clock is read. `work.json` has the numbers, those of function calls for each minor version of Python. A change that
needs more raises a number by hand, and says why in its commit; a change that needs less lowers it.
"""

from __future__ import annotations

import asyncio
import cProfile
import itertools
import json
import logging
import os
import platform
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
import psycopg
import pytest
import structlog

from bench.documentation import pages
from bench.peers.model import NAME, answer
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_lab.testing.loopback import LoopbackServer
from responsa_local.embedded import LocalLayout
from responsa_server.app import assemble
from responsa_server.app.process import configure_logs
from responsa_server.app.serve import running
from responsa_server.app.settings import load
from responsa_server.calls.frames import AskFrames
from responsa_server.calls.interceptors.lasting import CredentialWatch
from responsa_server.domain import sharing
from responsa_server.domain.events import Delta, RefusalReason, Refused, Started, Usage
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.turns import Append, Claim, Conclusion, TurnState
from responsa_server.identity.service import Identity
from responsa_server.insight.periodic import PeriodicTask
from responsa_server.stores import redis
from responsa_server.stores.postgres import database, pause, pool
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.telemetry import unexpected
from responsa_server.turns import claiming, following, writer
from responsa_server.turns.pack import PendingEvent, ending, number, pack
from responsa_server.turns.settings import TurnOptions
from tests import seeds
from tests.conftest import DatabaseUrls
from tests.contract.library_harness import Harness
from tests.contract.turn_steps import cancelled, new_turn
from tests.instance import LIFTED
from tests.people import people_of
from tests.transports import stub_of

NUMBERS: Final = Path(__file__).with_name("work.json")
MOST: Final = 1.03
"""How much more than its number a measure may be."""
VERSION: Final = ".".join(platform.python_version_tuple()[:2])
COLLECTION: Final = "collections/default"
PAGES: Final = ("durability.md", "streams.md")
PAGE_BYTES: Final = 7000
QUESTION: Final = "How does a server find out that another replica has changed what a user may read"
EVENTS: Final = 100
WARM, ROUNDS = 13, 7
"""How often each call is made before it is measured, and while. Of each function the least of the rounds counts:
a timer of the server may run in one of them, and the first to read of a connection waits more often on a busy machine."""
_QUERIES: Final = ("\tQuery\t", "\tExecute\t")
_TABLES: Final = """SELECT string_agg(format(
    'SELECT 1 FROM responsa.%I WHERE xmin::text::bigint >= ', relname), '{since} UNION ALL ') || '{since}'
    FROM pg_class WHERE relnamespace = 'responsa'::regnamespace AND relkind = 'r'"""


@dataclass(frozen=True, slots=True)
class Work:
    """What a call costs. statements: as the driver sends them. wal_bytes, rows: what it writes; rows that it removes
    again do not count."""

    function_calls: int
    statements: int
    wal_bytes: int
    rows: int


class Meter:
    """Measures the calls of one server, whose event loop is the test's."""

    def __init__(self, urls: DatabaseUrls, trace: Path) -> None:
        self._urls = urls
        self._trace = trace
        self._numbers = itertools.count(1000)
        self._written = f"SELECT count(*) FROM ({urls.value(_TABLES)}) AS written"

    async def measure(self, call: Callable[[int], Awaitable[object]]) -> Work:
        """The work of a call that is warm. call: gets a number that it has not had."""
        for _ in range(WARM):
            await self._finish(call, next(self._numbers))
        rounds = [await self._measure(call, next(self._numbers)) for _ in range(ROUNDS)]
        functions = [functions for functions, _ in rounds]
        least = {code: min(counts[code] for counts in functions) for code in functions[0]}
        rest = [min(values) for values in zip(*(others for _, others in rounds), strict=True)]
        return Work(sum(least.values()), *rest)

    async def _measure(
        self, call: Callable[[int], Awaitable[object]], turn: int
    ) -> tuple[Counter[Any], tuple[int, int, int]]:
        """How often each function was called, and the statements, bytes and rows."""
        since = self._urls.value("SELECT pg_current_xact_id()::text::bigint")
        wal, sent = self._read_wal(), self._trace.stat().st_size
        profile = cProfile.Profile(builtins=False)
        profile.enable()
        await self._finish(call, turn)
        profile.disable()
        calls = Counter[Any]()
        for entry in profile.getstats():
            if not _is_of_loop(entry.code):
                calls[entry.code] += entry.callcount
        with self._trace.open() as lines:
            lines.seek(sent)
            statements = sum(
                line.startswith("F") and any(kind in line for kind in _QUERIES) for line in lines
            )
        rows = self._urls.value(self._written.format(since=since))
        return calls, (statements, self._read_wal() - wal, rows)

    def _read_wal(self) -> int:
        return self._urls.value("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")

    async def _finish(self, call: Callable[[int], Awaitable[object]], turn: int) -> None:
        """A call, and the tasks that it leaves behind."""
        before = asyncio.all_tasks()
        await call(turn)
        while left := [task for task in asyncio.all_tasks() - before if not _stays(task)]:
            _, late = await asyncio.wait(left, timeout=20)
            assert not late, late


def _is_of_loop(code: Any) -> bool:
    """Whether a function is one of the event loop, which takes more rounds on a machine that is busy."""
    path = Path(code.co_filename)
    # Weak references hold the tasks of the loop, which this test asks for.
    return path.parent.name == "asyncio" or path.name in ("selectors.py", "_weakrefset.py")


def _stays(task: asyncio.Task[Any]) -> bool:
    """Whether a task is no part of a call: it waits for the next call, or repeats something."""
    return task.get_name() == "renewals of limits" or "_request_call" in repr(task)


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file to which all connections to the database write what they send."""
    path = tmp_path / "sent"
    target = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    connect = psycopg.AsyncConnection.connect

    async def connected(*arguments: Any, **named: Any) -> psycopg.AsyncConnection[Any]:
        connection = await connect(*arguments, **named)
        connection.pgconn.trace(target)
        connection.pgconn.set_trace_flags(psycopg.pq.Trace.SUPPRESS_TIMESTAMPS)
        return connection

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", connected)
    yield path
    os.close(target)


@pytest.fixture
def model() -> Iterator[str]:
    """The URL of a language model that answers at once with a hundred tokens, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = LoopbackServer(answer)
    asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    yield f"{server.url}/v1"
    asyncio.run_coroutine_threadsafe(server.close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def leave_out(task: PeriodicTask) -> None:
    """Do not start a task."""
    del task


async def leave_out_check(checking: object) -> None:
    """Check nothing."""
    del checking


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools set no alarms again and again, which look like the work of a call."""
    monkeypatch.setattr(pool, "_IDLE_SECONDS", 3600.0)


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Background work is paused, and events are gathered by what follows them, not by time."""
    monkeypatch.setattr(PeriodicTask, "start", leave_out)
    monkeypatch.setattr(assemble, "TurnOptions", partial(TurnOptions, sweep_seconds=60.0))
    monkeypatch.setattr(writer, "_COMPANY_SECONDS", 3600.0)
    monkeypatch.setattr(writer, "_GATHERING_SECONDS", 3600.0)
    for setting, value in LIFTED.items():
        monkeypatch.setenv(setting, value)
    for name in ("_PLANS_LAST_SECONDS", "_CREDENTIAL_PLANS_LAST_SECONDS"):
        monkeypatch.setattr(database, name, 3600.0)
    repeat: Any = unexpected.keep_going

    def repeat_rarely(work: object, _: float, *rest: object) -> object:
        return repeat(work, 3600.0, *rest)

    for module in (unexpected, claiming):
        monkeypatch.setattr(module, "keep_going", repeat_rarely)
    # Otherwise the server may leave a slow Redis out in some rounds, which then take less.
    monkeypatch.setattr(redis, "PATIENCE", 30.0)
    monkeypatch.setattr(following, "_ACCESS_SECONDS", 3600.0)
    monkeypatch.setattr(pause, "LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(sharing, "SLICE_SECONDS", 3600.0)
    monkeypatch.setattr(CredentialWatch, "_check", leave_out_check)
    monkeypatch.setattr(Identity, "_confirm_often", leave_out_check)
    before, root = structlog.get_config(), logging.getLogger()
    loggers = [root, *map(logging.getLogger, ("psycopg.pool", "calls", "turns", "server", "responsa_server"))]
    handlers, levels = root.handlers, [logger.level for logger in loggers]
    configure_logs("warning")
    yield
    structlog.configure(**before)
    root.handlers = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@dataclass(frozen=True, slots=True)
class Asker:
    """A caller of the server over gRPC, whose own work is in another thread."""

    channel: grpc.Channel
    secret: str

    async def calls(self, service: str, method: str, request: Any) -> Sequence[Any]:
        """The messages that answer a call."""
        metadata = (("authorization", f"Bearer {self.secret}"),)

        def read() -> Sequence[Any]:
            called = getattr(stub_of(self.channel, service), method)
            replied = called(request, metadata=metadata, timeout=60)
            return [*replied] if hasattr(replied, "__next__") else [replied]

        return await asyncio.to_thread(read)

    async def ask(self, turn: int) -> None:
        request = chat.AskRequest(text=f"{QUESTION}, as in {turn}?", include_deltas=True)
        request.options.scope.collections.append(COLLECTION)
        (end,) = [
            event.WhichOneof("event")
            for message in await self.calls("ChatService", "Ask", request)
            for event in message.events
            if event.WhichOneof("event") in ("answer", "refused", "failed")
        ]
        assert end == "answer", end

    async def search(self, turn: int) -> None:
        request = knowledge.SearchRequest(terms=[f"{QUESTION}, as in {turn}?"], top_k=10)
        request.scope.collections.append(COLLECTION)
        (works,) = await self.calls("KnowledgeService", "Search", request)
        assert works.hits, works


async def test_a_call_takes_no_more_work_than_its_number(
    pools: None,
    harness: Harness,
    database_urls: DatabaseUrls,
    redis_url: str,
    folder: Path,
    trace: Path,
    model: str,
    paused: None,
) -> None:
    identity = people_of(harness.database).identity
    await identity.create_tenant("acme", "acme")
    user = await identity.create_user("acme", "Ann", "", Role.ADMIN)
    _, secret = await identity.create_key("acme", user.id, "test")
    ann = Principal("acme", user.id, Role.ADMIN, "api_key")
    for name in PAGES:
        text = pages()[name].encode()[:PAGE_BYTES].decode(errors="ignore")
        await harness.take_in(ann, text, name)
    turn_id = await store_turn(harness, ann)

    layout = LocalLayout.of(folder / "home").prepare()
    seeds.plant_model(layout)
    works: dict[str, Work] = {}

    @asynccontextmanager
    async def serving(**models: Any) -> AsyncGenerator[Asker]:
        settings = load(
            home=layout.home,
            role="answers",
            DATABASE_URL=database_urls.owner,
            DATABASE_APP_URL=database_urls.app,
            DATABASE_LOG_URL=database_urls.log,
            REDIS_URL=redis_url,
            turns={"lease_seconds": 300},
            drain_seconds=1,
            models=models,
        )
        settings.cache.credentials_seconds = 3600.0
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(running(settings, layout))
            channel = stack.enter_context(grpc.insecure_channel(str(server.listens.grpc)))
            yield Asker(channel, secret)

    meter = Meter(database_urls, trace)
    async with serving() as asker:
        works["turn"] = await meter.measure(asker.ask)
        works["search"] = await meter.measure(asker.search)

        async def resume(_: int) -> None:
            request = chat.ResumeTurnRequest(turn=f"turns/{turn_id}", include_deltas=True)
            read = await asker.calls("ChatService", "ResumeTurn", request)
            assert sum(len(message.events) for message in read) == EVENTS

        works["resume"] = await meter.measure(resume)
    async with serving(
        servers={NAME: {"url": model}}, default=[f"{NAME}:{NAME}"], allow_private=["127.0.0.1"]
    ) as asker:
        works["turn with a model"] = await meter.measure(asker.ask)

    said = "\n".join(f"{name}: {work}" for name, work in works.items())
    print(said)
    numbers: Mapping[str, Any] = json.loads(NUMBERS.read_text(encoding="utf-8"))
    assert VERSION in numbers["function_calls"], f"work.json has no numbers of Python {VERSION}: {said}"
    numbers = {**numbers, "function_calls": numbers["function_calls"][VERSION]}
    over = [
        f"{name}: {value} {measure}, and work.json allows {numbers[measure][name]}"
        for name, work in works.items()
        for measure, value in asdict(work).items()
        if value > MOST * numbers[measure][name]
    ]
    assert not over, over


async def store_turn(harness: Harness, caller: Principal) -> Any:
    """An ended turn of a hundred events, seven in a row of the log."""
    codec = AskFrames()
    store = PostgresTurnStore(harness.database, codec)
    new = new_turn()
    now = datetime(2026, 11, 22, tzinfo=UTC)
    (started,) = number(1, 1, [PendingEvent(now, Started(new.conversation_id, new.agent_version, True))])
    (first,) = pack(codec, new.id, [started])
    await store.accept(caller, replace(new, frame=first.frame), interrupt=cancelled)
    claim = Claim(new.id, caller.tenant_id, 1, new.lease_seconds)
    for start in range(2, EVENTS, 7):
        deltas = [PendingEvent(None, Delta("words ", 6 * (seq - 2))) for seq in range(start, start + 7)]
        rows = pack(codec, new.id, number(start, 1, deltas))
        assert not await store.append([Append(claim, rows, None, (), (), 0, True)])
    refused = PendingEvent(now, Refused(RefusalReason.NO_SUPPORT, "Nothing supports an answer.", Usage()))
    end = ending(codec, new.id, *number(EVENTS, 1, [refused]))
    await store.finish(claim, [end.row], Conclusion(TurnState.REFUSED, end.terminal, Usage()))
    return new.id
