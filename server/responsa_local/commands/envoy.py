"""The command `responsa envoy`, which runs only Envoy, in front of servers that run elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from responsa_formats.sandbox.confinement import UnixUser, become_before_exec
from responsa_local.commands.failures import reporting
from responsa_local.embedded import EmbeddedError
from responsa_local.embedded.envoy import envoy_binary
from responsa_local.embedded.layout import UnixAccount
from responsa_local.embedded.spawn import PLAIN_ENVIRONMENT, cannot_run, in_memory
from responsa_local.envoy.envoy_config import EnvoyConfig, EnvoyConfigError, NamedServers, render
from responsa_local.envoy.tracing import EnvoyTracing
from responsa_server.app.settings import (
    Settings,
    environment,
    load,
    otlp,
)
from responsa_server.domain.addresses import LOOPBACK_HOSTS
from responsa_server.system.machine import visible

_PORT = typer.Option(min=1, max=65_535)


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""

    @app.command(name)
    def envoy(  # pyright: ignore[reportUnusedFunction]  # typer keeps it
        host: Annotated[
            str, typer.Argument(help="The servers' name in DNS. Envoy calls every address of that name.")
        ],
        grpc_port: Annotated[int, _PORT] = 9001,
        http_port: Annotated[int, _PORT] = 9101,
    ) -> None:
        """Run only Envoy, in front of servers of `responsa serve` on other machines or in other containers.

        The servers listen on the same two ports (`--listen HOST:9001 --http-listen HOST:9101`). The command becomes Envoy's process.
        """
        with reporting():
            _become_envoy(load(), NamedServers(host, grpc_port, http_port))


def envoy_config(
    settings: Settings, endpoints: Path | NamedServers, admin_socket: Path | None = None
) -> EnvoyConfig:
    """Return the values for Envoy's configuration. Raises EmbeddedError, which names the wrong setting."""
    try:
        return EnvoyConfig(
            port=settings.port,
            listen_address=settings.listen,
            endpoints=endpoints,
            admin_socket=admin_socket,
            allowed_hosts=(*LOOPBACK_HOSTS, *settings.allowed_hosts),
            allowed_origins=settings.origins,
            standard_services=settings.serves_reflection,
            connections_per_address=settings.limits.address.connections,
            trusted_proxies=settings.trusted_proxies,
            tracing=_tracing(settings),
        )
    except EnvoyConfigError as error:
        raise EmbeddedError(str(error), "correct the setting; see docs/settings.md") from error


def _tracing(settings: Settings) -> EnvoyTracing | None:
    sent = otlp(settings)
    endpoint = sent.endpoint("traces")
    if not endpoint:
        return None
    return EnvoyTracing(
        endpoint,
        sent.protocol("traces") == "grpc",
        sent.traced_share,
        f"{environment().get('OTEL_SERVICE_NAME') or 'responsa'}-envoy",
        sent.follows_callers_sampling,
        sent.traces_headers,
    )


def _become_envoy(settings: Settings, servers: NamedServers) -> None:
    try:
        text = render(envoy_config(settings, servers))
    except EnvoyConfigError as error:
        raise EmbeddedError(str(error), "see docs/deployment.md") from error
    program = str(envoy_binary())
    # As `EmbeddedEnvoy` does: under root, Envoy has a user of its own.
    os.dup2(in_memory(text.encode()), 0)
    if (account := UnixAccount.of(UnixUser.ENVOY)) is not None:
        become_before_exec(account.uid, account.gid)
    options = ("--disable-hot-restart", "--log-level", "warn", "--concurrency", str(min(visible().cpus, 4)))
    try:
        os.execve(  # noqa: S606  # the process becomes Envoy, so that it gets the signals
            program, [program, "--config-path", "/dev/fd/0", *options], dict(PLAIN_ENVIRONMENT)
        )
    except OSError as error:
        raise cannot_run(program, error) from error
