"""What the metrics read of a running server, apart from what its parts measure themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

from responsa_server.agents.engine.tool_circuits import KIND as TOOL
from responsa_server.agents.engine.tool_circuits import KIND_OF_USERS as TOOL_OF_USERS
from responsa_server.app.layout import Layout
from responsa_server.app.listening import Front
from responsa_server.app.process import LOG
from responsa_server.domain.breakers import Breakers
from responsa_server.domain.parts import Health, PartReport
from responsa_server.stores.postgres.backlog import BacklogReader, Waiting
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.rates import RedisAvailability
from responsa_server.stores.redis import RedisCache
from responsa_server.telemetry import instruments
from responsa_server.telemetry.instruments import Reading, Readings
from responsa_server.turns.service import Turns

_CIRCUITS: Final[Mapping[str, tuple[str, ...]]] = {
    "model": ("model:",),
    "provider": ("key:",),
    "tool": (TOOL, TOOL_OF_USERS),
}
_HEALTH: Final[Mapping[Health, float]] = {Health.OK: 1.0, Health.DEGRADED: 0.5, Health.DOWN: 0.0}


class Measured:
    """The values of gauges, which are read when somebody asks for the metrics. `sample` reads those that need a query;
    call it from time to time."""

    def __init__(
        self,
        database: Database,
        cache: RedisCache,
        availability: RedisAvailability,
        breakers: Breakers,
        turns: Turns,
        front: Front,
        layout: Layout,
    ) -> None:
        self._database = database
        self._cache = cache
        self._availability = availability
        self._breakers = breakers
        self._turns = turns
        self._front = front
        self._layout = layout
        self._backlog = BacklogReader(database)
        self._waiting = Waiting()
        self._reports: Mapping[str, PartReport] = {}

    async def sample(self) -> None:
        """Read what needs a query. Raises Unavailable."""
        self._reports = await self._front.reports()
        self._waiting = await self._backlog.read()

    def readings(self) -> Readings:
        """How each value is read."""

        def without_labels(read: Callable[[], float]) -> Callable[[], Iterable[Reading]]:
            return lambda: [(read(), ())]

        return {
            instruments.CALLS_RUNNING: without_labels(lambda: self._front.calls_running),
            instruments.SOCKETS: without_labels(lambda: self._front.sockets),
            instruments.STREAMS: without_labels(lambda: self._turns.followers),
            instruments.TURNS_RUNNING: without_labels(lambda: self._turns.running),
            instruments.TURNS_RATE: without_labels(lambda: self._turns.rate),
            instruments.TURNS_WAITING: without_labels(lambda: self._waiting.turns),
            instruments.TURNS_WAITING_AGE: without_labels(lambda: self._waiting.turns_age),
            instruments.JOBS_WAITING: without_labels(lambda: self._waiting.jobs),
            instruments.JOBS_WAITING_AGE: without_labels(lambda: self._waiting.jobs_age),
            instruments.LOG_LINES_DROPPED: without_labels(lambda: LOG.dropped),
            instruments.POOL_CONNECTIONS: self._connections,
            instruments.POOL_WAITING: self._pool_waiting,
            instruments.CIRCUITS: self._circuits,
            instruments.PARTS: self._parts,
            instruments.DISK_FREE: lambda: self._disks("free"),
            instruments.DISK_SIZE: lambda: self._disks("total"),
            # Before the first sample, it is not known.
            instruments.BACKUP_AGE: lambda: [(age, ())] if (age := self._waiting.backup_age) else [],
            instruments.USERS_ACTIVE: without_labels(lambda: self._waiting.users),
        }

    def _connections(self) -> Iterable[Reading]:
        for name, pool in self._database.pools().items():
            idle, size = pool.get("pool_available", 0), pool.get("pool_size", 0)
            yield idle, (name, "idle")
            yield max(0, size - idle), (name, "used")
            yield pool.get("pool_max", 0), (name, "most")
        idle, used = self._cache.connections
        yield idle, ("redis", "idle")
        yield used, ("redis", "used")

    def _pool_waiting(self) -> Iterable[Reading]:
        for name, pool in self._database.pools().items():
            yield pool.get("requests_waiting", 0), (name,)

    def _circuits(self) -> Iterable[Reading]:
        for part, kinds in _CIRCUITS.items():
            yield sum(len(self._breakers.list_open(kind)) for kind in kinds), (part,)
        yield len(self._database.away), ("postgresql",)
        yield sum((self._cache.away, self._availability.away, self._turns.hints_away)), ("redis",)

    def _parts(self) -> Iterable[Reading]:
        for name, report in self._reports.items():
            yield _HEALTH[report.health], (name,)

    def _disks(self, value: str) -> Iterable[Reading]:
        for name, folder in (("home", self._layout.home), ("database", self._layout.cluster.parent)):
            with suppress(OSError):
                yield getattr(shutil.disk_usage(folder), value), (name,)
