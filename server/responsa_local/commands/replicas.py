"""The command `responsa replicas`, which shows and changes the server processes to which a running Envoy sends calls."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Annotated

import typer

from responsa_local.commands.failures import FAILED, USAGE, reporting
from responsa_local.embedded import EmbeddedError, LocalLayout
from responsa_local.envoy.replicas import Replica, ReplicaError, Replicas, is_own
from responsa_server.app.envoy_hosts import SERVER, HostState, host_states
from responsa_server.app.settings import load
from responsa_server.cli.output import CommandFailed
from responsa_server.domain.addresses import AddressError, parse

_STATES: Mapping[HostState | None, str] = {
    HostState.SERVING: "serving",
    HostState.FAILING: "not serving",
    HostState.ASIDE: "set aside",
    None: "unknown",
}


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Show and change the server processes behind Envoy. Changes take effect within two seconds, without a restart.",
    )
    group.command("list")(show)
    group.command("add")(add)
    group.command("remove")(remove)
    app.add_typer(group, name=name)


def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Show all replicas with their states, as Envoy sees them.

    The states are: `serving`; `not serving` (the health checks fail); `set aside` (recent calls failed); `unknown` (Envoy
    is not running).
    """
    with _replicas() as (replicas, layout):
        states = {
            host_state.address: host_state.state
            for host_state in host_states(layout.envoy_admin_socket)
            if host_state.cluster == SERVER
        }
        for replica in replicas.all():
            state = _STATES[states.get(str(replica.grpc))]
            http = "" if replica.http is None else str(replica.http)
            if as_json:
                typer.echo(
                    json.dumps(
                        {"name": replica.name, "grpc": str(replica.grpc), "http": http, "state": state}
                    )
                )
            else:
                typer.echo(f"{replica.name:<16} {state:<12} {replica.grpc}{' ' + http if http else ''}")


def add(
    name: str,
    address: str,
    http: Annotated[str, typer.Option(metavar="ADDRESS")] = "",
) -> None:
    """Add a replica. Envoy sends calls to the replica as soon as its health checks pass.

    Args:
        name: The replica's name, 1 to 63 characters of a-z, 0-9 and hyphen.
        address: The replica's --listen address: unix:PATH, or HOST:PORT with an IP address as HOST.
        http: The replica's --http-listen address, if it is set.
    """
    with _replicas() as (replicas, _):
        if is_own(name):
            raise CommandFailed(
                f"The name {name} is reserved for the servers of `responsa up`.",
                "Choose another name.",
                USAGE,
            )
        replicas.add(Replica(name, parse(address), parse(http) if http else None))


def remove(name: Annotated[str, typer.Argument(help="The replica's name, as `list` shows it.")]) -> None:
    """Remove a replica. Envoy sends no new calls to the replica. Open streams continue until they end or the replica
    stops.
    """
    with _replicas() as (replicas, _):
        replicas.remove(name)


@contextmanager
def _replicas() -> Generator[tuple[Replicas, LocalLayout]]:
    with reporting():
        layout = LocalLayout.of(load().home)
        if not layout.is_home():
            raise EmbeddedError(
                f"{layout.home} is not a Responsa data folder",
                "start `responsa up` first, or set RESPONSA_HOME to its data folder",
            )
        try:
            yield Replicas(layout.replicas), layout
        except AddressError as error:
            raise CommandFailed(f"{error}.", "", USAGE) from error
        except ReplicaError as error:
            raise CommandFailed(f"{error}.", "", FAILED) from error
