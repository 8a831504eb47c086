"""The server processes of `responsa up`, and how Envoy learns which of them take calls."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from responsa_local.embedded import (
    Child,
    EmbeddedError,
    LocalLayout,
    ManagedProcess,
    RestartPolicy,
    ServerProcess,
)
from responsa_local.envoy.replicas import Replica, ReplicaError, Replicas, own_name
from responsa_server.app.envoy_hosts import HostState, host_states
from responsa_server.app.processes import Processes
from responsa_server.app.settings import ServeRole, Settings, environment
from responsa_server.domain.addresses import UnixAddress

# By default, the C library has a heap for each of many threads, and raises its thresholds after each large block, so
# what a large document leaves is scattered. A block
# of 16 MiB or more now goes back as soon as it is freed; most blocks of the embedding model are smaller, because that costs time.
_HEAP: Final[Mapping[str, str]] = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}

_SHARE_OF_SILENCE: Final = 2 / 3


class Servers:
    """The processes, each with a twin that replaces it at a restart (a `Routing` of `embedded/supervise.py`).
    `children` starts the first server alone: at its first start, it makes files that all of them read.
    """

    def __init__(
        self,
        settings: Settings,
        layout: LocalLayout,
        plan: Processes,
        on_ready: Callable[[], None],
    ) -> None:
        """on_ready: called when the first server is ready."""
        self._settings = settings
        self._layout = layout
        self._plan = plan
        self._addresses: dict[ManagedProcess, Replica] = {}
        pairs = [
            (self._server(number, twin=False), self._server(number, twin=True))
            for number in range(1, plan.servers + 1)
        ]
        children = [Child(part, twin=twin, alongside=number > 1) for number, (part, twin) in enumerate(pairs)]
        children[0] = replace(children[0], on_ready=on_ready)
        if plan.ingests:
            child = Child(self._ingesting(""), twin=self._ingesting("b"), alongside=plan.servers > 1)
            children.append(child)
        self.children: Sequence[Child] = children

    def send_to(self, parts: Sequence[ManagedProcess]) -> None:
        try:
            Replicas(self._layout.replicas).put_own(
                [self._addresses[part] for part in parts if part in self._addresses]
            )
        except ReplicaError as error:
            raise EmbeddedError(str(error), "see docs/deployment.md") from error

    def reaches(self, part: ManagedProcess) -> bool:
        if (wanted := self._addresses.get(part)) is None:
            return True
        serving = {
            host.address
            for host in host_states(self._layout.envoy_admin_socket)
            if host.state is HostState.SERVING
        }
        return {str(wanted.grpc), str(wanted.http)} <= serving

    def _server(self, number: int, *, twin: bool) -> ServerProcess:
        name = own_name(number, twin=twin)
        # `serve` without --listen has the same sockets as the first server.
        suffix = "" if name == "up-1" else name.removeprefix("up")
        run, alone = self._layout.run, self._plan.servers == 1
        grpc, http = UnixAddress(run / f"server{suffix}.sock"), UnixAddress(run / f"gateway{suffix}.sock")
        part = self._process(
            ServeRole.ANSWERS if self._plan.ingests else ServeRole.ALL,
            http,
            ("--listen", str(grpc)),
            self._plan.embedding_threads,
            "The server" if alone else f"Server {number}",
            "server.log" if number == 1 else f"server-{number}.log",
            name,
        )
        self._addresses[part] = Replica(name, grpc, http)
        return part

    def _ingesting(self, suffix: str) -> ServerProcess:
        return self._process(
            ServeRole.JOBS,
            UnixAddress(self._layout.run / f"jobs{suffix}.sock"),
            ("--listen", ""),
            self._plan.ingesting_threads,
            "The process that ingests documents",
            "jobs.log",
            f"up-jobs{suffix}",
        )

    def _process(
        self,
        role: ServeRole,
        http: UnixAddress,
        listen: Sequence[str],
        threads: int,
        name: str,
        log_name: str,
        label: str,
    ) -> ServerProcess:
        """label: its name in metrics and traces."""
        # The arguments take precedence over other values of the same settings, which may be meant for other processes.
        argv = (sys.executable, "-m", "responsa_server", "serve", "--held", "--role", role.value)
        settings = self._settings
        shares: Mapping[str, object] = {
            "RESPONSA_RETRIEVAL__EMBEDDING_THREADS": threads,
            "RESPONSA_RETRIEVAL__MEMORY_MIB": self._plan.memory_mib,
            "RESPONSA_TELEMETRY__SERVER": label,
            # So a server whose event loop stands still says where, before the supervisor kills it.
            "RESPONSA_WATCHDOG_SECONDS": min(
                settings.watchdog_seconds, _SHARE_OF_SILENCE * RestartPolicy().silence
            ),
            "RESPONSA_LIMITS__WITHOUT_REDIS": max(settings.limits.without_redis, self._plan.servers),
        }
        return ServerProcess(
            self._layout,
            (*argv, *listen, "--http-listen", str(http)),
            {**_HEAP, **environment(), **{key: str(value) for key, value in shares.items()}},
            http.path,
            drain_seconds=settings.drain_seconds,
            notice_seconds=settings.notice_seconds,
            name=name,
            log_name=log_name,
        )
