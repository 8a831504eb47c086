"""Redis as a cache. The server works without Redis: an error or an unavailable Redis counts as a miss."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from responsa_server.domain.background import Background
from responsa_server.domain.parts import Health, PartReport
from responsa_server.telemetry.stages import exchange

PATIENCE = 0.25
"""The maximum number of seconds that a caller waits for Redis or for a connection to Redis."""
PAUSE = 2.0
"""The number of seconds between two probes of a Redis that has failed. Meanwhile no call waits for it."""


REDIS: Final = {"db.system.name": "redis"}
"""The attributes of the spans of exchanges with Redis. redis-py's instrumentation would also trace the relay, which
sends hints all the time and belongs to no call."""


class RedisCache:
    """Implements `domain.cache.Cache`. Keys get a prefix, because other programs may share the Redis server."""

    def __init__(self, url: str, prefix: str = "responsa:") -> None:
        self._client = redis_client(url, PATIENCE)
        self._prefix = prefix
        self._background = Background()
        self.away = False
        """Whether the last command failed, so that no call asks Redis before it has answered a probe."""

    async def get(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        if not keys or self.away:
            return {}
        try:
            with exchange("MGET", **REDIS):
                async with asyncio.timeout(PATIENCE):
                    values = await self._client.mget([self._prefix + key for key in keys])
        except (RedisError, OSError, TimeoutError):
            self._on_lost()
            return {}
        return {key: value for key, value in zip(keys, values, strict=True) if isinstance(value, bytes)}

    async def put(self, entries: Mapping[str, bytes], seconds: int) -> None:
        if not entries or self.away:
            return
        try:
            with exchange("SET", **REDIS):
                async with asyncio.timeout(PATIENCE), self._client.pipeline(transaction=False) as pipeline:
                    for key, value in entries.items():
                        pipeline.set(self._prefix + key, value, ex=seconds)
                    await pipeline.execute()
        except (RedisError, OSError, TimeoutError):
            self._on_lost()

    async def forget(self, prefix: str) -> int:
        """Remove all entries whose keys begin with this text. Returns their number; 0 also if Redis cannot be reached,
        where entries end by themselves."""
        number = 0
        try:
            async for keys in _batches(self._client, f"{_literal(self._prefix + prefix)}*"):
                number += await self._client.delete(*keys)
        except (RedisError, OSError, TimeoutError):
            self._on_lost()
        return number

    @property
    def connections(self) -> tuple[int, int]:
        """The numbers of idle and used connections."""
        pool: Any = self._client.connection_pool  # its lists have no public names
        return len(pool._available_connections), len(pool._in_use_connections)  # noqa: SLF001

    async def close(self) -> None:
        """Close the connections."""
        await self._background.cancel()
        await self._client.aclose()

    def _on_lost(self) -> None:
        if not self.away:
            self.away = True
            self._background.start(self._probe(), name="probes of the cache")

    async def _probe(self) -> None:
        while self.away:
            await asyncio.sleep(PAUSE)
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._client.ping()  # pyright: ignore[reportUnknownMemberType]  # its extra arguments
                self.away = False


async def _batches(client: Redis, pattern: str) -> AsyncGenerator[Sequence[bytes | str], None]:
    """The keys that match a pattern, in batches. SCAN does not block Redis."""
    cursor = 0
    while True:
        # Its extra arguments have no types.
        cursor, keys = await client.scan(cursor, match=pattern, count=500)  # pyright: ignore[reportUnknownMemberType]
        if keys:
            yield keys
        if cursor == 0:
            return


def _literal(text: str) -> str:
    """A text in a pattern of Redis, in which no character has a meaning."""
    return "".join(f"\\{char}" if char in "*?[]^\\-" else char for char in text)


class RedisPart:
    """Reports Redis's health. Responsa works without Redis, so the part is at worst degraded."""

    name = "redis"

    def __init__(self, url: str) -> None:
        self._url = url

    async def check(self) -> PartReport:
        """Ask Redis for its version."""
        client = redis_client(self._url, 1.0, 1.0)
        try:
            info: Mapping[str, object] = await client.info("server")  # pyright: ignore[reportUnknownMemberType]  # its extra arguments
        except (RedisError, OSError) as error:
            told = refusal_of(error)
            problem = f"Redis refuses this server ({told})" if told else "Redis cannot be reached"
            remedy = (
                "Correct the user and the password in REDIS_URL." if told else "Check that Redis is running."
            )
            return PartReport(
                Health.DEGRADED,
                detail=f"{problem}; Responsa works without it, but more slowly. {remedy}",
            )
        finally:
            await client.aclose()
        return PartReport(Health.OK, version=str(info.get("redis_version", "")))


def refusal_of(error: Exception) -> str:
    """Return the reason that Redis gave, such as a wrong password; empty if Redis gave no answer."""
    cause: BaseException | None = error
    # Over a Unix socket, redis-py raises a plain ConnectionError from the refusal.
    while cause is not None and not isinstance(cause, (AuthenticationError, ResponseError)):
        cause = cause.__cause__ or cause.__context__
    return str(cause).rstrip(".") if cause is not None else ""


def redis_client(url: str, reply_seconds: float | None, connect_seconds: float = PATIENCE) -> Redis:
    """A client that tries each command only once. reply_seconds: the time limit of a reply; None for no limit."""
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  # its extra arguments are those of a connection
        url,
        socket_timeout=reply_seconds,
        socket_connect_timeout=connect_seconds,
        retry=Retry(NoBackoff(), 0),
    )
