"""Starts, supervises and purges real PostgreSQL, Redis and Envoy from the package registry, without a
container engine."""

from __future__ import annotations

from responsa_local.embedded.envoy import EmbeddedEnvoy, check_port
from responsa_local.embedded.errors import EmbeddedError
from responsa_local.embedded.layout import LocalLayout
from responsa_local.embedded.part import ManagedProcess, ServerProcess, StartupTask
from responsa_local.embedded.postgres import EmbeddedPostgres
from responsa_local.embedded.purge import purge, throwaway_layout, throwaway_postgres
from responsa_local.embedded.redis import EmbeddedRedis
from responsa_local.embedded.supervise import Child, RestartPolicy, Supervisor

__all__ = [
    "Child",
    "EmbeddedEnvoy",
    "EmbeddedError",
    "EmbeddedPostgres",
    "EmbeddedRedis",
    "LocalLayout",
    "ManagedProcess",
    "RestartPolicy",
    "ServerProcess",
    "StartupTask",
    "Supervisor",
    "check_port",
    "purge",
    "throwaway_layout",
    "throwaway_postgres",
]
