"""Rates (events per window) and holds (what exists at one time). `RedisRates` and `RedisHolds` share their counts with
all processes; `LocalRates` counts in one process while Redis is away.

The windows of a minute come from the library `limits`; longer ones are counted in parts. One hit costs about 90 µs of
CPU time, and a call has three of them (its user, its tenant, its address). `Reserved` therefore takes several events at
once from the shared count, and hands them out in this process. It never hands out more than it has taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from limits.aio.storage import MemoryStorage, RedisStorage
from redis.exceptions import RedisError

from responsa_server.domain.background import Background
from responsa_server.domain.limits import MINUTE, CountsAway, Rates, RecentMessage, Room
from responsa_server.domain.people import Principal
from responsa_server.stores.redis import PAUSE, REDIS, redis_client
from responsa_server.telemetry.stages import exchange

Result = TypeVar("Result")

PATIENCE_SECONDS: Final = 1.0
"""The maximum time that a caller waits for Redis. After it, Redis counts as away, and each process applies stricter
limits of its own. It is therefore longer than `PATIENCE`, the time of the cache: a short pause of a busy process must
not make the limits stricter."""
HOLD_SECONDS: Final = 60
"""How long a member of a hold counts without a renewal."""
_PREFIX: Final = "responsa:limits:"
_MESSAGES_KEPT_SECONDS: Final = 3600
"""How long Redis keeps a user's messages after the last one: longer than the minute that is counted, so that a user who
returns within an hour needs no read of the database."""
_MOST_KEYS: Final = 20_000
_MOST_RESERVED: Final = 1000
_RESERVED_SHARE: Final = 100
"""A reservation takes this fraction of a limit."""
_REFUSAL_SECONDS: Final = 0.25
_AT_ONCE: Final = 32
"""The maximum number of commands at a time. Further ones wait, because a connection for each call of a burst would look
like a Redis that is away."""
_PARTS: Final = 96
"""The number of parts of a window that is longer than a minute: a part of a day is 15 minutes."""
_LEAST_WAIT_SECONDS: Final = 0.05
"""The shortest wait after a refusal. Room may have come between the refusal and the look at the windows, but a wait of 0
would say that the events were counted."""
_RESERVED_SECONDS: Final = 5.0
"""How long the events of a reservation can be used."""


class RedisAvailability:
    """Whether Redis can be reached, for all counts of a process. After one command has failed, no call waits for Redis
    until Redis has answered a probe.

    lost: the latest time at which Redis was away, on the clock `time.monotonic()`. away: whether calls go on without Redis.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._background = Background()
        self.lost = float("-inf")
        self.away = False

    async def run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Run one command. Raises CountsAway."""
        if self.away:
            raise CountsAway
        try:
            async with self._places, asyncio.timeout(PATIENCE_SECONDS):
                if self.away:  # since this command began to wait for its place
                    raise CountsAway
                with exchange("limits", **REDIS):
                    return await work()
        except (RedisError, OSError, TimeoutError) as error:
            self.lost = time.monotonic()
            if not self.away:
                self.away = True
                self._background.start(self._probe(), name="probes of Redis")
            raise CountsAway from error

    async def close(self) -> None:
        """Stop the probes."""
        await self._background.cancel()

    async def _probe(self) -> None:
        client = redis_client(self._url, PATIENCE_SECONDS, PATIENCE_SECONDS)
        try:
            while self.away:
                await asyncio.sleep(PAUSE)
                with contextlib.suppress(RedisError, OSError, TimeoutError):
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await client.ping()  # pyright: ignore[reportUnknownMemberType]  # its extra arguments
                    self.away = False
                self.lost = time.monotonic()
        finally:
            await client.aclose()


class RedisRates:
    """Implements `Rates` in Redis."""

    def __init__(self, url: str, availability: RedisAvailability | None = None) -> None:
        """availability: shared with the other counts of the process; a separate one by default."""
        self._client = redis_client(url, PATIENCE_SECONDS, PATIENCE_SECONDS)
        self._storage = RedisStorage(
            "async+redis://localhost:6379",  # not used: the connections are those of the client
            implementation="redispy",
            # The library passes it on to redis, but its types do not say so.
            connection_pool=self._client.connection_pool,  # pyright: ignore[reportArgumentType]
            key_prefix=_PREFIX.rstrip(":"),
        )
        self._parts: Any = self._client.register_script(_TAKE_IN_PARTS)
        self._availability = availability or RedisAvailability(url)

    async def take(self, room: Room, seconds: int, count: int) -> float:
        if seconds > MINUTE:
            return await self.take_in_parts(room, seconds, count)
        return await self._availability.run(lambda: _count_hit(self._storage, room, seconds, count))

    async def take_in_parts(self, room: Room, seconds: int, count: int) -> float:
        """Do the same as `take`, with a window of 96 parts. Events count until their part is as old as the window, so
        the wait is never longer than the window."""
        keys, arguments = [_PREFIX + room.key], [seconds, _PARTS, room.limit, count]
        wait = cast("int", await self._availability.run(lambda: self._parts(keys=keys, args=arguments)))
        return wait / 1000

    async def close(self) -> None:
        """Close the connections."""
        await self._availability.close()
        await self._client.aclose()


class LocalRates:
    """Implements `Rates` in the memory of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: for windows that are longer than a minute."""
        self._storage = MemoryStorage()
        self._clock = clock
        self._parts: dict[str, dict[int, int]] = {}

    async def take(self, room: Room, seconds: int, count: int) -> float:
        if seconds > MINUTE:
            return self.take_in_parts(room, seconds, count)
        return await _count_hit(self._storage, room, seconds, count)

    def take_in_parts(self, room: Room, seconds: int, count: int) -> float:
        now, length = self._clock(), seconds / _PARTS
        part = int(now / length)
        counts = {at: n for at, n in self._parts.get(room.key, {}).items() if at > part - _PARTS}
        excess = sum(counts.values()) + count - room.limit
        if excess <= 0:
            counts[part] = counts.get(part, 0) + count
            # The count that has gained nothing for the longest time is forgotten first.
            if room.key not in self._parts and len(self._parts) >= _MOST_KEYS:
                del self._parts[next(iter(self._parts))]
            self._parts.pop(room.key, None)
            self._parts[room.key] = counts
            return 0.0
        for at, n in sorted(counts.items()):
            excess -= n
            if excess <= 0:
                return (at + _PARTS) * length - now
        return seconds  # more than the whole limit was asked for


# KEYS: the count, with the events of each part of its window. ARGV: the window in seconds, the number of its parts, the
# maximum, the events to count. Returns 0, or the milliseconds until there is room.
_TAKE_IN_PARTS: Final = """
local now = redis.call('TIME')
local time = now[1] + now[2] / 1000000
local parts, count = tonumber(ARGV[2]), tonumber(ARGV[4])
local length = ARGV[1] / parts
local part = math.floor(time / length)
local excess, places, counts = count - ARGV[3], {}, {}
local found = redis.call('HGETALL', KEYS[1])
for index = 1, #found, 2 do
    local place = tonumber(found[index])
    if place <= part - parts then
        redis.call('HDEL', KEYS[1], found[index])
    else
        places[#places + 1] = place
        counts[place] = tonumber(found[index + 1])
        excess = excess + counts[place]
    end
end
if excess <= 0 then
    redis.call('HINCRBY', KEYS[1], string.format('%d', part), ARGV[4])
    redis.call('EXPIRE', KEYS[1], ARGV[1])
    return 0
end
table.sort(places)
for _, place in ipairs(places) do
    excess = excess - counts[place]
    if excess <= 0 then return math.ceil(((place + parts) * length - time) * 1000) end
end
return ARGV[1] * 1000 -- more than the whole limit was asked for
"""


async def _count_hit(storage: RedisStorage | MemoryStorage, room: Room, seconds: int, count: int) -> float:
    # The key names the window but not the limit, so that a changed limit finds what has been used.
    key = f"{room.key}/{seconds}"
    if await storage.acquire_sliding_window_entry(key, room.limit, seconds, count):
        return 0.0
    windows = await storage.get_sliding_window(key, seconds)
    return max(_wait(room.limit, seconds, count, *windows), _LEAST_WAIT_SECONDS)


def _wait(
    cap: int, window: float, count: int, earlier: int, earlier_left: float, present: int, present_left: float
) -> float:
    """The seconds until `count` events fit into a window. Windows follow each other, and two of them count: the present
    one fully, the earlier one by the share that the sliding window still covers. So `earlier * earlier_left / window +
    present + count` may be at most `cap`.

    earlier, present: the events of the two windows. earlier_left: the seconds for which the earlier window counts, from
    0 to `window`. present_left: the same for the present window, from `window` to twice as much, because it then becomes
    the earlier one; Redis gives 0 if it has no events.
    """
    if count > cap:
        return window
    # There is room before the earlier window has lost its whole weight.
    excess = earlier * earlier_left / window + present + count - cap
    if earlier and (wait := excess * window / earlier) <= earlier_left:
        return wait
    # There is room only after the present window has become the earlier one, and then has lost enough of its weight.
    until_next = max(present_left - window, 0.0)
    return until_next + (window * (1 - (cap - count) / present) if present > cap - count else 0.0)


class Reserved:
    """Implements `Rates`. Events of a minute are reserved in the shared counts: a hundredth of the limit, or as many as
    wait at the moment, and they can be used for five seconds. Reserved events that are not used count all the same, so
    a caller may be refused a little early, but never late.
    """

    def __init__(self, shared: Rates) -> None:
        self._shared = shared
        self._left: dict[str, tuple[float, int]] = {}
        self._refused: dict[str, tuple[float, float]] = {}
        self._asking: dict[str, asyncio.Future[None]] = {}
        self._waiting: Counter[str] = Counter()

    async def take(self, room: Room, seconds: int, count: int) -> float:
        if count > 1 or seconds != MINUTE:
            return await self._shared.take(room, seconds, count)
        key = room.key
        while True:
            left = self._left.get(key)
            if left is not None and left[1] > 0 and time.monotonic() < left[0]:
                self._left[key] = left[0], left[1] - 1
                return 0.0
            refused = self._refused.get(key)
            if refused is not None and time.monotonic() < refused[0]:
                return refused[1]
            asking = self._asking.get(key)
            if asking is None:
                return await self._reserve(room, seconds)
            # Of several calls at the same time, one asks for all.
            self._waiting[key] += 1
            try:
                await asyncio.wait((asking,))
            finally:
                self._waiting[key] -= 1
                if not self._waiting[key]:
                    del self._waiting[key]

    async def _reserve(self, room: Room, seconds: int) -> float:
        asking = self._asking[room.key] = asyncio.get_running_loop().create_future()
        try:
            until = time.monotonic() + _RESERVED_SECONDS
            # Calls that the last reservation woke are still in `_waiting`, because they have not run again yet.
            wanted = max(room.limit // _RESERVED_SHARE, self._waiting[room.key] + 1, 1)
            wanted = min(wanted, room.limit, _MOST_RESERVED)
            # If so many do not fit, try half, down to one.
            while wait := await self._shared.take(room, seconds, wanted):
                if wanted == 1:
                    # A refused caller that keeps calling is refused from memory for a moment, without asking Redis.
                    _make_room(self._refused)
                    self._refused[room.key] = time.monotonic() + min(wait, _REFUSAL_SECONDS), wait
                    return wait
                wanted //= 2
            _make_room(self._left)
            self._left[room.key] = until, wanted - 1
            return 0.0
        finally:
            del self._asking[room.key]
            asking.set_result(None)


def _make_room(entries: dict[str, tuple[float, Any]]) -> None:
    """Forget all entries if there are too many. They are only a shortcut to the counts."""
    if len(entries) >= _MOST_KEYS:
        entries.clear()


# KEYS: the counts. ARGV: the member, the seconds for which it counts, then the maximum of each count. Returns 0, or the
# number of the first full count.
_TAKE: Final = """
local now = redis.call('TIME')
local time = now[1] + now[2] / 1000000
for place, key in ipairs(KEYS) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', time)
    if redis.call('ZCARD', key) >= tonumber(ARGV[place + 2]) and not redis.call('ZSCORE', key, ARGV[1]) then return place end
end
for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, time + ARGV[2], ARGV[1])
    redis.call('EXPIRE', key, ARGV[2])
end
return 0
"""
# KEYS: one count. ARGV: the seconds, then the members.
_RENEW: Final = """
local now = redis.call('TIME')
local time = now[1] + now[2] / 1000000
for place = 2, #ARGV do redis.call('ZADD', KEYS[1], time + ARGV[1], ARGV[place]) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 0
"""


class RedisHolds:
    """Counts of what exists at one time. A member that is not renewed for some time no longer counts, so that a process
    that was killed holds nothing."""

    def __init__(
        self, url: str, seconds: int = HOLD_SECONDS, availability: RedisAvailability | None = None
    ) -> None:
        """seconds: how long a member counts without a renewal. availability: as for `RedisRates`."""
        self._client = redis_client(url, PATIENCE_SECONDS, PATIENCE_SECONDS)
        self._seconds = seconds
        self._take: Any = self._client.register_script(_TAKE)
        self._renew: Any = self._client.register_script(_RENEW)
        self._availability = availability or RedisAvailability(url)

    async def take(self, rooms: Sequence[Room], member: str) -> Room | None:
        """Add a member to all counts, or to none. Returns None, or the first limit that is reached. Raises CountsAway."""
        if not rooms:
            return None
        keys = [_PREFIX + room.key for room in rooms]
        arguments = [member, self._seconds, *(room.limit for room in rooms)]
        full = cast("int", await self._availability.run(lambda: self._take(keys=keys, args=arguments)))
        return rooms[full - 1] if full else None

    async def renew(self, members: Mapping[str, Sequence[str]]) -> None:
        """Renew members, or add them again after Redis has lost its data. members: the members by the count's key. Raises CountsAway."""
        for key, ids in members.items():
            arguments = [self._seconds, *ids]
            await self._availability.run(
                lambda key=key, arguments=arguments: self._renew(keys=[_PREFIX + key], args=arguments)
            )

    async def release(self, members: Mapping[str, Sequence[str]]) -> None:
        """Remove members. members: by the count's key. Raises CountsAway."""

        async def work() -> None:
            async with self._client.pipeline(transaction=False) as pipeline:
                for key, ids in members.items():
                    pipeline.zrem(_PREFIX + key, *ids)
                await pipeline.execute()

        await self._availability.run(work)

    async def close(self) -> None:
        """Close the connections."""
        await self._availability.close()
        await self._client.aclose()


# KEYS: the user's log. ARGV: the window and the time to keep the log, in seconds; the maximum; the message; whether the
# accepted messages follow (1 or 0);
# then each with its age in seconds. The member "-" says that the log is complete: it is missing after a loss of Redis'
# data. Returns whether the message
# counts (1), or does not (0), or that the accepted messages are needed (2); and the milliseconds until there is room.
_COUNT: Final = """
local now = redis.call('TIME')
local time = now[1] + now[2] / 1000000
local most = tonumber(ARGV[3])
if ARGV[5] == '1' then
    redis.call('ZADD', KEYS[1], '+inf', '-')
    for place = 6, #ARGV, 2 do redis.call('ZADD', KEYS[1], 'NX', time - ARGV[place + 1], ARGV[place]) end
elseif not redis.call('ZSCORE', KEYS[1], '-') then
    return {2, 0}
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time - ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
if redis.call('ZSCORE', KEYS[1], ARGV[4]) then return {1, 0} end
local count = redis.call('ZCARD', KEYS[1]) - 1
if count >= most then
    local first = redis.call('ZRANGE', KEYS[1], count - most, count - most, 'WITHSCORES')
    return {0, math.ceil((first[2] + ARGV[1] - time) * 1000)}
end
redis.call('ZADD', KEYS[1], time, ARGV[4])
return {1, 0}
"""


class RedisMessages:
    """The messages of each user in the last minute. A member is the turn's id, so one message can be removed again
    (`give_back`), and adding it twice counts once, also when several processes add the accepted messages after Redis has
    lost its data. The windows of the library `limits` have no members."""

    def __init__(self, url: str, availability: RedisAvailability | None = None) -> None:
        """availability: as for `RedisRates`."""
        self._client = redis_client(url, PATIENCE_SECONDS, PATIENCE_SECONDS)
        self._count: Any = self._client.register_script(_COUNT)
        self._availability = availability or RedisAvailability(url)

    async def count(
        self, caller: Principal, turn_id: UUID, limit: int, known: Sequence[RecentMessage] | None
    ) -> float | None:
        """Count a message if there is room.

        known: the user's accepted messages of the last minute, to add to the counts first; None if they have not been
        read. Returns 0.0 if the message counts, else the seconds until there is room; None if the counts may be
        incomplete, so that `known` is needed. Raises CountsAway. In the minute after a failure of Redis, other
        processes may have accepted messages without it, so the accepted messages are needed.
        """
        if known is None and time.monotonic() < self._availability.lost + MINUTE:
            return None
        pairs = [text for row in known or () for text in (row.turn_id.hex, f"{row.age_seconds:.6f}")]
        arguments = [MINUTE, _MESSAGES_KEPT_SECONDS, limit, turn_id.hex, int(known is not None), *pairs]
        outcome, wait = cast(
            "tuple[int, int]",
            await self._availability.run(lambda: self._count(keys=[_log(caller)], args=arguments)),
        )
        if outcome == 2:
            return None
        return 0.0 if outcome else max(wait, 1) / 1000

    async def give_back(self, caller: Principal, turn_id: UUID) -> None:
        """Forget a message that was not accepted. Raises CountsAway."""
        await self._availability.run(lambda: self._client.zrem(_log(caller), turn_id.hex))

    async def close(self) -> None:
        """Close the connections."""
        await self._availability.close()
        await self._client.aclose()


def _log(caller: Principal) -> str:
    return f"{_PREFIX}messages:{caller.tenant_id}/{caller.user_id}"
