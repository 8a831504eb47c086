"""A whole instance for the tests: real PostgreSQL, Redis and Envoy, and a stand-in for the server.

Run as a program: `embedded_instance.py HOME PORT [--broken-server] [--slow-hook] [--llama] [--alone] [--errand]`.
Prints one JSON object when all parts are ready.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg

from responsa_local.embedded import (
    Child,
    EmbeddedEnvoy,
    EmbeddedPostgres,
    EmbeddedRedis,
    LocalLayout,
    ManagedProcess,
    RestartPolicy,
    ServerProcess,
    Supervisor,
)
from responsa_local.embedded.part import StartupTask
from responsa_local.embedded.spawn import die_with_parent, spawn
from responsa_server.system.fixable import Fixable

STAND_IN = Path(__file__).with_name("embedded_stand_in.py")


class Caller:
    """Says which processes get calls, instead of sending any."""

    def send_to(self, parts: Sequence[ManagedProcess]) -> None:
        print(json.dumps({"calls": [part.pid for part in parts]}), flush=True)

    def reaches(self, part: ManagedProcess) -> bool:
        return part.alive()


class Waiting(StartupTask):
    """A program that ends when the file `go` appears in the home."""

    name = "The errand"
    log_name = "errand.log"

    def spawn(self) -> None:
        code = 'until [ -e "$0" ]; do sleep 0.05; done'
        self.process = spawn(["/bin/sh", "-c", code, str(self.layout.home / "go")], os.environ, self.log)
        print(json.dumps({"errand": "begun"}), flush=True)

    def on_end(self, code: int) -> None:
        print(json.dumps({"errand": code}), flush=True)


def envoy_config(layout: LocalLayout, port: int) -> str:
    def pipe(path: Path) -> dict[str, object]:
        return {"pipe": {"path": str(path)}}

    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "server"}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    server = {
        "cluster_name": "server",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": pipe(layout.server_socket)}}]}],
    }
    config = {
        "admin": {"address": pipe(layout.envoy_admin_socket)},
        "static_resources": {
            "listeners": [
                {
                    "name": "http",
                    "enable_reuse_port": False,
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                    "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
                }
            ],
            "clusters": [{"name": "server", "type": "STATIC", "load_assignment": server}],
        },
    }
    return json.dumps(config)


def main(home: Path, port: int, flags: set[str]) -> int:
    layout = LocalLayout.of(home).prepare()
    layout.envoy_config.write_text(envoy_config(layout, port))
    postgres = EmbeddedPostgres(layout)
    redis = EmbeddedRedis(layout)

    code = "raise SystemExit('no such setting')"
    argv = [sys.executable, "-c", code] if "--broken-server" in flags else [sys.executable, str(STAND_IN)]
    # The server alone starts more slowly than the silence after which it is killed.
    alone = "--alone" in flags
    environment = {**os.environ, "START": "1.5" if alone else "0"}

    def server_on(path: Path) -> ServerProcess:
        return ServerProcess(layout, argv, {**environment, "SOCKET": str(path)}, path, drain_seconds=5.0)

    server, twin = server_on(layout.server_socket), server_on(layout.gateway_socket)
    envoy = EmbeddedEnvoy(layout, layout.envoy_config, listen=("127.0.0.1", port), concurrency=1)

    def migrate() -> None:
        with psycopg.connect(postgres.dsn("owner"), autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (line text)")
        if "--slow-hook" in flags:
            print(json.dumps({"hook": True}), flush=True)
            time.sleep(600)

    parts: list[ManagedProcess] = [postgres, redis, server, envoy]

    children = [Child(postgres, migrate), Child(redis), Child(server), Child(envoy)]
    if "--llama" in flags:
        # The import is here, because the module needs packages that a run as a plain user does not have.
        from responsa_local.embedded.llama import EmbeddedLlama

        parts.append(EmbeddedLlama(layout, os.environ, 4096, 2))
        children.insert(0, Child(parts[-1]))

    if alone:
        parts[:], children = [server], [Child(server, twin=twin)]

    def tell() -> None:
        pids = {part.name: part.pid for part in parts}
        print(json.dumps({"supervisor": os.getpid(), "pids": pids}), flush=True)

    # Only the start with an errand says what it waits for, even on a slow machine.
    policy = RestartPolicy(
        longest_delay=0.2,
        most_failures=3,
        silence=1.0 if alone else 10.0,
        telling=0.1 if "--errand" in flags else 3600.0,
    )
    errand = Waiting(layout) if "--errand" in flags else None
    return Supervisor(layout, children, on_ready=tell, errand=errand, routing=Caller(), policy=policy).run()


if __name__ == "__main__":
    die_with_parent(signal.SIGTERM)  # a killed test process cannot stop the instance
    try:
        sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), set(sys.argv[3:])))
    except Fixable as trouble:
        print(f"responsa: {trouble}", file=sys.stderr)
        sys.exit(1)
