"""What tests put in the place of the real thing. Production passes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from responsa_server.domain.ports.relay import Relay
from responsa_server.domain.ports.turns import TurnStore
from responsa_server.stores.postgres.turn_rows import NamedQueries


@dataclass(frozen=True, slots=True)
class Replaced:
    """turn_queries: the turn store's statements. turn_store, relay: what is put round the real one."""

    turn_queries: NamedQueries | None = None
    turn_store: Callable[[TurnStore], TurnStore] | None = None
    relay: Callable[[Relay], Relay] | None = None
