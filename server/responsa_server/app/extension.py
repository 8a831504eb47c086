"""How an optional part joins a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from responsa_server.app.assemble import AgentServices, Knowledge
from responsa_server.app.caches import Caches
from responsa_server.app.settings import Settings
from responsa_server.domain.knowledge import GiveUp, JobKind, Work
from responsa_server.domain.models import Models
from responsa_server.domain.parts import Pause, ReportedPart
from responsa_server.domain.people import Principal
from responsa_server.identity.tokens import Secret
from responsa_server.ingest.jobs import Announce
from responsa_server.outbound.connector import Connector
from responsa_server.stores.postgres.database import Database
from responsa_server.turns.service import Turns


@dataclass(frozen=True, slots=True)
class Parts:
    """What a server has for its extensions, each of which has a section of `settings`."""

    settings: Settings
    database: Database
    knowledge: Knowledge
    models: Models
    caches: Caches
    connector: Connector
    turns: Turns
    agents: AgentServices
    pause: Pause
    secret: Secret


@dataclass(frozen=True, slots=True)
class Jobs:
    """The work of kinds of jobs. give_up: see `JobQueue.run`. announce: called when an operation may have ended with an error."""

    work: Mapping[JobKind, Work] = field(default_factory=dict[JobKind, Work])
    give_up: Mapping[JobKind, GiveUp] = field(default_factory=dict[JobKind, GiveUp])
    announce: Announce | None = None


class Periodic(Protocol):
    """What a process repeats. Call `start` once, then `close`."""

    def start(self) -> None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Extension:
    """An optional part. services: objects with methods of the contract, for a process that takes calls. parts: parts of
    the health, which such a process reports, made with the function that returns who asks; None for nobody. jobs: for
    one that runs jobs. periodic: for one that runs turns."""

    services: Callable[[], Sequence[object]] = tuple
    jobs: Callable[[], Jobs] = Jobs
    periodic: Callable[[], Sequence[Periodic]] = tuple
    parts: Callable[[Callable[[], Principal | None]], Sequence[ReportedPart]] = lambda _: ()
