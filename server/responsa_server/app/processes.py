"""The processes that `responsa up` starts, and what each of them gets of the machine."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final

from responsa_server.app.settings import Settings
from responsa_server.system.fixable import Fixable
from responsa_server.system.instance import model_folder
from responsa_server.system.machine import Machine, visible

_MIB: Final = 1 << 20
_SERVERS_PER_CPU: Final = 0.55
"""PostgreSQL and Envoy need the rest of the processors."""
_INGESTING_CPUS: Final = 4
"""From this number of processors on, a process of its own ingests documents."""
_SERVER_BYTES: Final = 350 * _MIB
_BUFFER_BYTES: Final = 128 * _MIB
"""PostgreSQL's shared buffers for each server."""
_OTHER_BYTES: Final = 700 * _MIB
"""The rest of PostgreSQL, the other parts, and the process that a restart starts before it stops another one."""
_OTHER_CONNECTIONS: Final = 20
"""The connections of commands, and those that PostgreSQL keeps for superusers."""
_LEAST_CONNECTIONS: Final = 300
_RESIDENT_SHARE: Final = 10
"""The share of the machine's memory for collections in memory is one divided by this."""


@dataclass(frozen=True, slots=True)
class Processes:
    """servers: the number of processes that accept calls and run turns. ingests: whether a further process ingests
    documents; otherwise the servers do.
    embedding_threads: the threads of the embedding model in each server. ingesting_threads: the same in the process
    that ingests. memory_mib: what each server may use for collections in memory. envoy_threads: the threads of Envoy.
    connections: how many connections to PostgreSQL all processes can have at a time. buffers_mib: PostgreSQL's shared
    buffers.
    """

    servers: int
    ingests: bool
    embedding_threads: int
    ingesting_threads: int
    memory_mib: int
    envoy_threads: int
    connections: int
    buffers_mib: int

    def __str__(self) -> str:
        servers = "1 server" if self.servers == 1 else f"{self.servers} servers"
        return f"{servers} and a process that ingests documents" if self.ingests else servers


def processes(settings: Settings, machine: Machine, *, connections: int | None = None) -> Processes:
    """Divide the machine. connections: the maximum number of connections that somebody else's PostgreSQL allows; None
    for the embedded one, which allows what is needed."""
    cpus, memory = machine.cpus, machine.memory_bytes - _OTHER_BYTES
    ingests = settings.ingestion.own_process
    if ingests is None:
        ingests = cpus >= _INGESTING_CPUS and memory >= 2 * _SERVER_BYTES + _BUFFER_BYTES
    room = (memory - ingests * _SERVER_BYTES) // (_SERVER_BYTES + _BUFFER_BYTES)
    wanted = 1 if cpus <= 2 else max(2, round(cpus * _SERVERS_PER_CPU))

    def need(servers: int) -> int:
        calls, jobs = 2 * settings.database_pool + 11, 2 * settings.ingestion.concurrency + 10
        every = calls + (0 if ingests else jobs)
        return servers * every + (calls + jobs if ingests else 0) + (calls + jobs) + _OTHER_CONNECTIONS

    servers = settings.servers or max(1, min(wanted, room))
    while (
        settings.servers is None and connections is not None and servers > 1 and need(servers) > connections
    ):
        servers -= 1
    threads = settings.retrieval.embedding_threads
    ingesting = max(1, cpus // 2)
    return Processes(
        servers,
        ingests,
        threads or max(1, (cpus - ingests * ingesting) // servers),
        threads or ingesting,
        memory_mib(settings, machine) // (servers if settings.retrieval.memory_mib < 0 else 1),
        min(cpus, max(2, cpus // 4)),
        max(_LEAST_CONNECTIONS, need(servers)),
        _BUFFER_BYTES // _MIB * servers,
    )


def memory_mib(settings: Settings, machine: Machine) -> int:
    """How much memory all servers of the machine may use together for collections, in MiB; if the setting says it, each of them."""
    wanted = settings.retrieval.memory_mib
    return machine.memory_bytes // _RESIDENT_SHARE // _MIB if wanted < 0 else wanted


def check_model() -> None:
    """Raises Fixable if the weights of the embedding model are not installed, which every process that searches or ingests loads."""
    if model_folder() is None:
        raise Fixable(
            "The weights of the embedding model are not installed",
            "run `responsa setup`, which installs them",
        )


def processes_of(settings: Settings) -> Processes:
    """Return what `responsa up` starts on this machine. It asks the database of DATABASE_URL how many connections it allows."""
    connections: int | None = None
    if settings.database_url is not None:
        import psycopg  # late, because the embedded database is not asked

        url = settings.database_url.get_secret_value()
        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(url, connect_timeout=5) as connection,
        ):
            row = connection.execute("SELECT current_setting('max_connections')::int").fetchone()
            connections = None if row is None else int(row[0])
    return processes(settings, visible(), connections=connections)
