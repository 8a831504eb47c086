"""The replicas behind Envoy: a list that commands edit, and the endpoint files that Envoy watches.

The list is `replicas.json`. Two files are made from the list, each an Envoy DiscoveryResponse for one cluster:
`server.json` (gRPC) and `gateway.json` (the gateway's HTTP). Each file is put in place by a rename. Envoy watches the
folder for renames, so it never reads a partial file.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from responsa_local.envoy.templates import Tree
from responsa_server.app.envoy_hosts import SERVER
from responsa_server.domain.addresses import Address, AddressError, TcpAddress, UnixAddress, parse

GATEWAY = "gateway"
_OWN = re.compile(r"up(-[0-9]+b?)?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LIST = "replicas.json"


class ReplicaError(Exception):
    """A replica cannot be added, removed or read. The message is for users."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A process that serves calls. name: its name, 1 to 63 of a-z, 0-9 and hyphen. grpc: the address of its RPCs. http:
    the address of its gateway; None if it has no gateway."""

    name: str
    grpc: Address
    http: Address | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ReplicaError(
                f"{self.name!r} is not a name for a replica; use 1 to 63 of a-z, 0-9 and hyphen, such as rpc-2"
            )
        if self.grpc == self.http:
            raise ReplicaError(f"{self.grpc} cannot be both the gRPC and the HTTP address")


def own_name(number: int, *, twin: bool) -> str:
    """The name of a server that `responsa up` runs. number: from 1 on. twin: whether it is the second of the two that
    replace each other at restarts."""
    return f"up-{number}{'b' if twin else ''}"


def is_own(name: str) -> bool:
    """Whether a name is one that `responsa up` gives."""
    return _OWN.fullmatch(name) is not None


class Replicas:
    """The replicas in `folder`. The folder is created when the first replica is added. Several processes may edit the
    list at the same time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> Sequence[Replica]:
        """All replicas in the order in which they were added; those of `responsa up` come first.

        Raises:
            ReplicaError: the list cannot be read.
        """
        try:
            text = (self.folder / _LIST).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise self._unreadable() from error
        try:
            return tuple(_of_json(cast("dict[str, Any]", row)) for row in json.loads(text)["replicas"])
        except (ValueError, KeyError, TypeError, ReplicaError) as error:
            raise self._unreadable() from error

    def add(self, replica: Replica) -> None:
        """Add a replica.

        Raises:
            ReplicaError: the name or one of the addresses is taken.
        """
        with self._edit() as replicas:
            for other in replicas:
                if other.name == replica.name:
                    raise ReplicaError(f"there is already a replica {replica.name}; remove it first")
                if taken := _addresses(other) & _addresses(replica):
                    raise ReplicaError(
                        f"{min(map(str, taken))} is already an address of the replica {other.name}"
                    )
            replicas.append(replica)

    def put_own(self, own: Sequence[Replica]) -> None:
        """Put the replicas of `responsa up` first in the list, in place of its earlier ones."""
        with self._edit() as replicas:
            replicas[:] = [*own, *(other for other in replicas if not is_own(other.name))]

    def remove(self, name: str) -> None:
        """Remove a replica from the rotation. Its running calls continue.

        Raises:
            ReplicaError: no replica has this name.
        """
        with self._edit() as replicas:
            others = [other for other in replicas if other.name != name]
            if len(others) == len(replicas):
                raise ReplicaError(f"there is no replica {name}; `responsa replicas list` shows all")
            replicas[:] = others

    @contextmanager
    def _edit(self) -> Generator[list[Replica]]:
        """The list, which no other process can change during the block. The list is written if the block raises no error."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ReplicaError(f"{self.folder} cannot be written ({error.strerror})") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            replicas = [*self.all()]
            yield replicas
            try:
                self._write(replicas)
            except OSError as error:
                raise ReplicaError(f"{self.folder} cannot be written ({error.strerror})") from error
        finally:
            os.close(lock)

    def _write(self, replicas: Sequence[Replica]) -> None:
        grpc = [replica.grpc for replica in replicas]
        http = [replica.http for replica in replicas if replica.http is not None]
        self._put_in_place(
            _LIST, json.dumps({"replicas": [_to_json(replica) for replica in replicas]}, indent=1)
        )
        self._put_in_place(f"{SERVER}.json", json.dumps(_endpoints(SERVER, grpc), indent=1))
        self._put_in_place(f"{GATEWAY}.json", json.dumps(_endpoints(GATEWAY, http), indent=1))

    def _put_in_place(self, name: str, text: str) -> None:
        fresh = self.folder / f".{name}.new"
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.folder / name)

    def _unreadable(self) -> ReplicaError:
        return ReplicaError(
            f"{self.folder / _LIST} cannot be read; remove it, and add the replicas again after the next start"
        )


def _endpoints(cluster: str, addresses: Sequence[Address]) -> Tree:
    """The DiscoveryResponse that Envoy reads, with the cluster's ClusterLoadAssignment."""
    assignment: Tree = {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster,
        "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": _socket(address)}} for address in addresses]}
        ],
    }
    version = hashlib.sha256(json.dumps(assignment).encode()).hexdigest()[:16]
    return {"version_info": version, "resources": [assignment]}


def _socket(address: Address) -> Tree:
    """Envoy's `core.v3.Address`."""
    match address:
        case UnixAddress():
            return {"pipe": {"path": str(address.path)}}
        case TcpAddress():
            return {"socket_address": {"address": address.host, "port_value": address.port}}


def _addresses(replica: Replica) -> set[Address]:
    return {replica.grpc} if replica.http is None else {replica.grpc, replica.http}


def _to_json(replica: Replica) -> Tree:
    http = None if replica.http is None else str(replica.http)
    return {"name": replica.name, "grpc": str(replica.grpc), "http": http}


def _of_json(entry: dict[str, Any]) -> Replica:
    try:
        return Replica(
            entry["name"], parse(entry["grpc"]), None if entry["http"] is None else parse(entry["http"])
        )
    except AddressError as error:
        raise ReplicaError(str(error)) from error
