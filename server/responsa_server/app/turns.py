"""Turns, and the agents that answer them, put together."""

from __future__ import annotations

from contextlib import AsyncExitStack

import structlog

from responsa_server.app.agents import AgentParts, agents_of
from responsa_server.app.documents import Knowledge
from responsa_server.app.places import new_id, redis_url
from responsa_server.app.replaced import Replaced
from responsa_server.app.settings import ServeRole, Settings
from responsa_server.calls.frames import AskFrames
from responsa_server.domain.ports.faults import Faults
from responsa_server.domain.ports.relay import Relay, Reload
from responsa_server.domain.ports.turns import TurnStore
from responsa_server.embedded import Layout
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.stores.redis_relay import RedisRelay
from responsa_server.turns.service import TurnOptions, Turns


async def turns_of(
    settings: Settings,
    layout: Layout,
    database: Database,
    known: Knowledge,
    faults: Faults,
    replaced: Replaced,
    stack: AsyncExitStack,
) -> tuple[Turns, AgentParts]:
    """Build them; what must be closed is closed by the stack, the turns themselves aside. Raises as `agents_of` does."""
    codec = AskFrames()
    store: TurnStore = PostgresTurnStore(database, codec, queries=replaced.turn_queries)
    if replaced.turn_store is not None:
        store = replaced.turn_store(store)
    relay: Relay = RedisRelay(redis_url(settings, layout))
    if replaced.relay is not None:
        relay = replaced.relay(relay)
    parts = await agents_of(
        settings, layout, database, known, faults, lambda: relay.tell_all(Reload()), stack
    )
    turns = Turns(
        store,
        PostgresConversationStore(database),
        parts.agents,
        codec,
        relay,
        new_id,
        options(settings),
        faults=faults,
        logger=structlog.get_logger("turns"),
        reload=parts.agents.want_reload,
    )
    return turns, parts


def options(settings: Settings) -> TurnOptions:
    """What the settings say of turns, for a process in the role that they say."""
    given = settings.turns
    return TurnOptions(
        works=settings.role is not ServeRole.RPC,
        lease_seconds=given.lease_seconds,
        sweep_seconds=given.sweep_seconds,
        heartbeat_seconds=given.heartbeat_seconds,
        max_running=given.max_running,
        max_pending=given.max_pending,
        max_queued=given.max_queued,
        max_losses=given.max_losses,
        disconnect_seconds=given.disconnect_seconds,
        partition_days_ahead=given.partition_days_ahead,
        retention_days=given.retention_days,
        checkpoint_hours=given.checkpoint_hours,
        prune_seconds=given.prune_seconds,
    )
