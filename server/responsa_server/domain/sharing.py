"""What calls of different users share, and the scheduler of the parts that have no order of their own.

Questions come before everything else, which gets a tenth. Tenants have equal shares by measured cost, and so have the
users of a tenant. Whoever returns after a pause has saved nothing up (start-time fair queueing, Goyal et al. 1996,
doi:10.1145/248157.248171).
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic
from typing import Final, NamedTuple, TypeVar

from responsa_server.domain.errors import Exhausted, Reason

Result = TypeVar("Result")

SLICE_SECONDS: Final = 0.005
_STEPS_BETWEEN: Final = 4
"""The steps of the event loop between two slices: a new call needs several until its first event."""
_ANY: Final = 1_000_000
_TENTH: Final = 9
"""While questions wait, they get this many times as much as everything else."""
_LATEST: Final = 0.1
"""How much the latest turn counts in the mean cost of a turn."""
_MOST_KNOWN: Final = 1_000
PATIENCE_SECONDS: Final = 10.0
"""How long a search may wait until it begins."""
_LOOK_SECONDS: Final = 1.0
"""How often a call that waits looks whether its turn still comes in time."""


class Shared(NamedTuple):
    """A part that calls of different users share. unit: a unit of work, and what it costs at most. modules: what gives
    it out. user: how much of it one user may have. order: who comes next; by default, turns are taken (`Scheduler`).
    waiting: how many calls of a user may wait for a turn. search: whether a search "begins" here, or only "waits" to."""

    unit: str
    modules: Collection[str]
    user: str = "an equal share"
    order: str = "turns"
    waiting: int = _ANY
    search: str = ""


_FIRST: Final = "whoever came first"
_OWN: Final = "all but the connections for credentials, turns and deletions"
_JOBS: Final = "all that nobody else wants, but for those kept for small documents"
SHARED: Final[Mapping[str, Shared]] = {
    "embedding": Shared("512 tokens: .1 s of a processor", ["providers.minilm"], search="begins"),
    "reranking": Shared("the texts of a search: 1 s", ["providers.onnx_reranker"], waiting=8),
    "loop": Shared("a slice of a search: 5 ms, or a passage: .02 s", ["search.retrieve"]),
    "database searches": Shared("a search: retrieval.search_seconds", ["search.retrieve"], search="begins"),
    "drawings": Shared("a page, with its original: seconds", ["library.pages"], waiting=16),
    "model keys": Shared("an answer: the agent's time_limit_seconds", ["providers.chain"]),
    "searches": Shared("a call", ["identity.limits"], "limits.*.searches", waiting=32, search="waits"),
    "embeddings": Shared("a call", ["identity.limits"], "1, a service 16", waiting=16),
    "sandboxes": Shared(
        "a document: ten minutes for each MiB",
        ["responsa_formats.sandbox.pool"],
        _JOBS,
        "rotation (jobs.sql)",
    ),
    "PostgreSQL": Shared(
        "a statement: 30 s", ["stores.postgres.database", "stores.postgres.jobs"], _OWN, _FIRST
    ),
    "Redis": Shared("a command: milliseconds", ["stores.rates"], "limits.*.calls_per_minute", _FIRST),
    "uploads": Shared("a document's bytes", ["library.library"], "limits.*.uploads", _FIRST),
    "turns": Shared("a question without a model: seconds", ["turns.admission"]),
    "passwords": Shared("a hash: .1 s", ["identity.passwords"], "passwords.attempts_per_address", _FIRST),
    "HTML": Shared("an answer: milliseconds", ["transports.ws.html"], "limits.*.sockets", _FIRST),
    "sources": Shared(
        "a query: its own limit", ["responsa_etl.databases.reading"], "administrators alone", _FIRST
    ),
    "runs of sources": Shared(
        "20 s of reading, or a document", ["responsa_etl.sources.syncing"], "administrators alone"
    ),
    "checks of folders": Shared(
        "a listing: 300 s", ["responsa_etl.sources.folders"], "administrators alone", waiting=8
    ),
}
"""All such parts: each module that makes a pool, a semaphore or a thread is here."""


@dataclass(slots=True)
class Patience:
    """until: when a search must have begun (`time.monotonic`); infinite once it has."""

    until: float = inf


class Party(NamedTuple):
    """For whom work is done. user: a user's id; for a widget's visitor, with the network of the address. background:
    whether it is no question. deadline: when the caller stops waiting (`time.monotonic`); None: never. patience: of a
    search; None for other work."""

    tenant: str = ""
    user: str = ""
    background: bool = True
    deadline: float | None = None
    patience: Patience | None = None


PARTY: Final[ContextVar[Party]] = ContextVar("responsa_party", default=Party())  # noqa: B039 -- it is a tuple
"""For whom the running task, and those that it starts, work."""
_PAUSE: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar("responsa_pause", default=None)
_LIMIT: ContextVar[asyncio.Timeout | None] = ContextVar("responsa_work_limit", default=None)


def be_patient() -> None:
    """Let the running task, and those that it starts, wait so long until their search begins, but no longer."""
    PARTY.set(PARTY.get()._replace(patience=Patience(monotonic() + PATIENCE_SECONDS)))


async def pause() -> None:
    """Called often in long work on the event loop: gives the loop to others once the slice is used up (`Scheduler.slice_up`)."""
    if (own := _PAUSE.get()) is not None:
        await own()


@asynccontextmanager
async def work_within(seconds: float | None) -> AsyncGenerator[None]:
    """Limit the time for a block. The time during which it waits for a turn does not count. Raises TimeoutError."""
    async with asyncio.timeout(seconds) as limit:
        token = _LIMIT.set(limit)
        try:
            yield
        finally:
            _LIMIT.reset(token)


_Part = tuple[object, ...]
"""Whether work is background; the same and its tenant; the same and its user."""
_User = tuple[_Part, _Part, _Part]


class Scheduler:
    """Gives out the turns at a shared part. A turn is that of the party for which the running task works."""

    def __init__(self, part: str, slots: int = _ANY) -> None:
        """part: its name in `SHARED`. slots: how many turns there are at a time."""
        self._waiting_a_user, self._search = SHARED[part].waiting, SHARED[part].search
        self._slots = self._free = slots
        self._mean = 0.0
        # By key: what work has cost, how many calls wait or run, and what had been spent by whoever of them came last.
        self._spent: defaultdict[_Part, float] = defaultdict(float)
        self._calls = Counter[_Part]()
        self._clock: defaultdict[_Part, float] = defaultdict(float)
        # By user: the beginnings of the turns that run, and what a turn has cost.
        self._begun: defaultdict[_User, deque[float]] = defaultdict(deque)
        self._means: dict[_User, float] = {}
        self._waiting: dict[_User, deque[asyncio.Future[None]]] = {}
        self._most: dict[_User, int] = {}

    @asynccontextmanager
    async def turn(self, limit: int = _ANY) -> AsyncGenerator[None]:
        """A block that is a turn. See `take`."""
        release = await self.take(limit)
        try:
            yield
        finally:
            release()

    async def run(self, executor: Executor, work: Callable[..., Result], *args: object) -> Result:
        """Blocking work on a thread, as a turn that ends with the work, whether or not the caller is still there. See `take`."""
        release = await self.take()
        future = asyncio.get_running_loop().run_in_executor(executor, work, *args)
        future.add_done_callback(lambda _: release())
        return await asyncio.shield(future)

    def slice_up(self) -> None:
        """Let `pause` give turns of `SLICE_SECONDS` to what the running task, and those that it starts, compute on the event loop."""
        until = 0.0

        async def pause() -> None:
            nonlocal until
            if monotonic() >= until:
                release = await self.take()
                try:
                    for _ in range(_STEPS_BETWEEN):
                        await asyncio.sleep(0)
                finally:
                    # A turn ends when the work next waits for anything.
                    asyncio.get_running_loop().call_soon(release)
                until = monotonic() + SLICE_SECONDS

        _PAUSE.set(pause)

    async def take(self, limit: int = _ANY) -> Callable[[], None]:
        """Wait for a turn. Returns the function that ends it. limit: how many turns the party may have at a time. Raises
        Exhausted (OVERLOADED): too many of its calls wait, or the turn would come after its deadline or its patience,
        also if that shows later."""
        party = PARTY.get()
        user = (party[2:3], (party.background, party.tenant), (party.background, party.tenant, party.user))
        free = self._free and len(self._begun.get(user, ())) < limit
        patience = party.patience if self._search else None
        self._most[user] = limit
        self._enter(user)
        try:
            if free:
                self._begin(user)
            else:
                latest = inf if party.deadline is None else party.deadline
                await self._wait(user, latest if patience is None else min(latest, patience.until))
        except BaseException:
            self._leave(user)
            raise
        if patience is not None and self._search == "begins":
            patience.until = inf
        return partial(self._release, user, monotonic(), self._mean)

    async def _wait(self, user: _User, latest: float) -> None:
        self._check(user, len(self._line(user)), latest)
        loop, limit, left = asyncio.get_running_loop(), _LIMIT.get(), 0.0
        if limit is not None and (when := limit.when()) is not None:
            left = when - loop.time()
            limit.reschedule(None)
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(user, deque()).append(waiter)
        try:
            while not (await asyncio.wait((waiter,), timeout=_LOOK_SECONDS))[0]:
                self._check(user, self._line(user).index(waiter), latest)
        except BaseException:
            if not waiter.cancel():  # its turn had come
                self._end(user)
            raise
        if limit is not None and left:
            limit.reschedule(loop.time() + left)

    def _release(self, user: _User, begun: float, charged: float) -> None:
        cost = monotonic() - begun
        self._mean += _LATEST * (cost - self._mean)
        known = self._means.get(user, cost)
        self._means[user] = known + _LATEST * (cost - known)
        self._charge(user, cost - charged)
        self._end(user)
        self._leave(user)

    def _end(self, user: _User) -> None:
        self._begun[user].popleft()
        self._free += 1
        while self._free:
            ready = [other for other in self._waiting if len(self._begun[other]) < self._most[other]]
            if not ready:
                return
            user = min(ready, key=lambda user: [(self._spent[part], part == (True,)) for part in user])
            waiter = self._waiting[user].popleft()
            if not self._waiting[user]:
                del self._waiting[user]
            if not waiter.done():
                waiter.set_result(None)
                self._begin(user)

    @property
    def is_wanted(self) -> bool:
        """Whether calls wait for a turn."""
        return any(map(self._line, self._waiting))

    def _line(self, user: _User) -> Sequence[asyncio.Future[None]]:
        """The calls of a user that wait and whose callers are still there."""
        return [waiter for waiter in self._waiting.get(user, ()) if not waiter.done()]

    def _begin(self, user: _User) -> None:
        for part in user:
            self._clock[part[:-1]] = max(self._clock[part[:-1]], self._spent[part])
        self._begun[user].append(monotonic())
        self._free -= 1
        self._charge(user, self._mean)

    def _charge(self, user: _User, cost: float) -> None:
        for part in user:
            self._spent[part] += cost * (_TENTH if part == (True,) else 1)

    def _enter(self, user: _User) -> None:
        for part in user:
            if not self._calls[part]:
                self._spent[part] = max(self._spent[part], self._clock[part[:-1]])
            self._calls[part] += 1

    def _leave(self, user: _User) -> None:
        self._calls.subtract(user)
        if not self._calls[user[-1]]:
            for of_user in (self._begun, self._means, self._most, self._waiting):
                of_user.pop(user, None)
        if len(self._spent) > _MOST_KNOWN:
            for part in [part for part in self._spent if len(part) > 1 and not self._calls[part]]:
                for table in (self._spent, self._calls, self._clock):
                    table.pop(part, None)

    def _check(self, user: _User, before: int, latest: float) -> None:
        """Raise Exhausted unless a call of this user, with so many before it, may wait. latest: when its turn must come."""
        wait = self._estimate_wait(user, before + 1)
        if before >= self._waiting_a_user or monotonic() + wait > latest:
            raise Exhausted(
                Reason.OVERLOADED,
                "The server has more work than it can do in time; try again soon.",
                {"limit": str(self._waiting_a_user)},
                retry_after=max(wait, 0.1),
            )

    def _estimate_wait(self, user: _User, own: int) -> float:
        """About how many seconds a call of a user waits. own: how many calls of the user come up to it, itself
        included. Measured: what the user's turns have cost, also those that run, and those of all."""
        now, running = monotonic(), self._begun[user]
        known = max(self._means.get(user, 0.0), now - sum(running) / len(running) if running else 0.0)
        everything = sum(map(len, self._waiting.values())) + 1
        shared = min(own * len({*self._waiting, user}), everything) / self._slots
        return max(known * own / min(self._slots, self._most[user]), self._mean * shared)
