"""The reports of a process about its followers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast
from uuid import UUID

from uuid_utils.compat import uuid7

from responsa_server.domain.people import Principal, Role
from responsa_server.domain.relay import Hint
from responsa_server.domain.turns import TurnStore
from responsa_server.turns.following import Following
from responsa_server.turns.hub import Hub
from responsa_server.turns.runtime import Runtime
from tests.plain_codec import PlainCodec

ANN = Principal("acme", UUID(int=1), Role.USER, "api_key")


class Silent:
    """A relay that sends nothing."""

    away = False

    async def start(self, process: UUID, heard: Callable[[Hint], None]) -> None:
        del process, heard

    def tell(self, process: UUID, hint: Hint) -> None:
        del process, hint

    def tell_all(self, hint: Hint) -> None:
        del hint

    async def close(self) -> None:
        pass


class Slow:
    """A store that takes long to record the followers."""

    def __init__(self) -> None:
        self.begun: list[list[UUID]] = []
        self.written: list[list[UUID]] = []
        self.entered = asyncio.Event()
        self.first = asyncio.Event()

    async def follows(self, process: UUID, turn_ids: Sequence[UUID], seconds: float) -> None:
        del process, seconds
        self.begun.append(list(turn_ids))
        self.entered.set()
        if len(self.begun) == 1:
            await self.first.wait()
        self.written.append(list(turn_ids))


async def test_an_older_list_of_followers_is_not_written_after_a_newer_one() -> None:
    store, loop = Slow(), asyncio.get_running_loop()
    hub = Hub(UUID(int=8), Silent(), 0.5, loop.time)
    following = Following(
        cast("TurnStore", store),
        hub,
        Runtime(uuid7, PlainCodec()),
        running=lambda: (),
        abort_forbidden=lambda _readers: None,
    )
    hub.watch(hub.subscribe(UUID(int=1), ANN, 0))
    older = asyncio.create_task(following.register())
    await store.entered.wait()
    hub.watch(hub.subscribe(UUID(int=2), ANN, 0))
    newer = asyncio.create_task(following.register())
    for _ in range(5):
        await asyncio.sleep(0)
    store.first.set()
    await asyncio.gather(older, newer)
    assert store.written == [[UUID(int=1)], [UUID(int=1), UUID(int=2)]]
