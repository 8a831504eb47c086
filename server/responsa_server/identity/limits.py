"""Decides whether callers are within their limits; usage and quotas as people see them. All servers share one count in
Redis; while Redis is away, the counts are stricter."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import replace
from functools import partial
from typing import Final, Self
from uuid import UUID

from responsa_server.domain.addresses import network_of
from responsa_server.domain.background import Background
from responsa_server.domain.errors import Exhausted, Unavailable
from responsa_server.domain.limits import (
    DAY,
    MINUTE,
    MOST,
    NO_LIMIT,
    AcceptLimits,
    CountsAway,
    Limits,
    Rates,
    Room,
    Scope,
    UserLimits,
    too_fast,
    too_many,
)
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.quotas import UserUsage
from responsa_server.domain.sharing import Scheduler, be_patient
from responsa_server.identity.settings import LimitSettings
from responsa_server.stores.postgres.limits import PostgresLimits
from responsa_server.stores.postgres.quotas import PostgresQuotas
from responsa_server.stores.postgres.users import PostgresUsers
from responsa_server.stores.rates import RedisHolds, RedisMessages

KNOWN_SECONDS: Final = 2.0
"""How long this process uses the exceptions of a user before it asks the database again."""
RENEW_SECONDS: Final = 15.0
_USER: Final = Limits(
    sockets=32,
    uploads=16,
    upload_bytes_per_day=4 * 1024**3,
    api_keys=50,
    conversations=10_000,
    collections=200,
    embedded_tokens_per_minute=300_000,
)
_ADMINISTRATOR: Final = replace(
    _USER,
    upload_bytes_per_day=64 * 1024**3,
    conversations=NO_LIMIT,
    collections=1_000,
    embedded_tokens_per_minute=3_000_000,
)
FIXED: Final[Mapping[str, Limits]] = {
    Role.USER.value: _USER,
    Role.ADMIN.value: _ADMINISTRATOR,
    Role.SERVICE.value: _ADMINISTRATOR,
    "tenant": Limits(sockets=1_000, uploads=64, upload_bytes_per_day=256 * 1024**3),
}
"""The limits that are no settings, by the group of the other ones."""
_ANSWER_SECONDS: Final = 1.0
"""How long a call waits for the exceptions of its user; then the last known ones apply."""
_NO_EXCEPTIONS: Final[Mapping[str, int]] = {}
_CAPACITY: Final = 4096
_STORED_SECONDS: Final = 10.0
_STORED_SHARE: Final = 100
"""For questions, the bytes of a user with very many conversations are read so rarely that the readings take a hundredth of the time."""
_NEAR_BYTES: Final = 64 * 1024 * 1024
"""A question of a user whose stored bytes are this near the limit waits until they have been read again. Questions and
answers need minutes to add as much."""
_RELEASE_SECONDS: Final = 0.02
_HOLD_RETRY_SECONDS: Final = 1.0


class Hold:
    """Something that counts as long as it exists, such as a stream. Call `release` once at its end."""

    __slots__ = ("_release", "keys", "member")

    def __init__(self, keys: Sequence[str], member: str, release: Callable[[Hold], None]) -> None:
        self.keys = keys
        self.member = member
        self._release = release

    def release(self) -> None:
        self._release(self)


class _Stored:
    """The stored bytes of a user or a tenant, as this process knows them.

    size: the bytes in the database, and those of uploads that have ended here since they were read. begun, seconds:
    when the last reading began, and how long it took. pending: the bytes of uploads that have begun here. ended: the
    bytes of all uploads that have ended here. read: reads the bytes in the database. lock: held by questions that read.
    """

    __slots__ = ("begun", "ended", "lock", "pending", "read", "seconds", "size")

    def __init__(self, read: Callable[[Principal], Awaitable[int]]) -> None:
        self.size = self.pending = self.ended = 0
        self.begun = float("-inf")
        self.seconds = 0.0
        self.read = read
        self.lock = asyncio.Lock()


class Storing:
    """An upload that may add to the stored bytes. Used as a context manager, whose end is the end of the upload: until
    then, its bytes count although the database does not have them."""

    def __init__(self, take: Callable[[int], Awaitable[Sequence[_Stored]]]) -> None:
        self._take = take
        self._added: list[tuple[Sequence[_Stored], int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The bytes of an upload that failed count until the size is read again, which happens before any refusal.
        for counts, size in self._added:
            for count in counts:
                count.pending -= size
                count.ended += size
                count.size += size

    async def add(self, size: int) -> None:
        """Check whether these bytes fit, and count them. Uploads to other servers count when their bytes are read from
        the database, at the latest after ten seconds, so uploads to several servers may exceed the limit for that time.
        Raises Exhausted (LIMIT_REACHED).
        """
        self._added.append((await self._take(size), size))


class LimitBook:
    """The limits of users: the defaults of their roles, and the exceptions that administrators set."""

    def __init__(
        self,
        settings: LimitSettings,
        store: PostgresLimits,
        users: PostgresUsers,
        fixed: Mapping[str, Limits] = FIXED,
    ) -> None:
        groups = {
            name: replace(limits, **getattr(settings, name).model_dump()) for name, limits in fixed.items()
        }
        self._roles = {role: groups[role.value] for role in Role}
        self.tenant = groups["tenant"]
        """The limits of each tenant."""
        self._store = store
        self._users = users
        self._known: dict[UUID, tuple[float, Mapping[str, int]]] = {}

    async def of(self, caller: Principal) -> Limits:
        """Return the limits of a caller. While the database is unavailable, the last known exceptions apply. If no
        exceptions are known, the defaults apply."""
        known = self._known.get(caller.user_id)
        if known is None or time.monotonic() >= known[0]:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    exceptions = await self._store.exceptions(caller.tenant_id, caller.user_id)
            except (Unavailable, TimeoutError):
                exceptions = _NO_EXCEPTIONS if known is None else known[1]
            if len(self._known) >= _CAPACITY:
                self._known.clear()
            self._known[caller.user_id] = known = (begun + KNOWN_SECONDS, exceptions)
        limits = self._roles[caller.limit_role]
        return limits.with_exceptions(known[1]) if known[1] else limits

    async def read(self, caller: Principal, user_id: UUID) -> UserLimits:
        """Return the limits of any user of the caller's tenant, for administrators. Raises NotFound."""
        user = await self._users.get(caller.tenant_id, user_id)
        exceptions = await self._store.exceptions(caller.tenant_id, user_id)
        return UserLimits(user_id, self._roles[user.role].with_exceptions(exceptions), exceptions)

    async def change(self, caller: Principal, user_id: UUID, changes: Mapping[str, int | None]) -> UserLimits:
        """Set exceptions of a user, or remove those with the value None. This process applies them at once, others
        within two seconds. Raises the errors of `PostgresLimits.change_exceptions`."""
        user = await self._users.get(caller.tenant_id, user_id)
        try:
            exceptions = await self._store.change_exceptions(caller, user_id, changes)
        finally:
            self._known.pop(user_id, None)
        return UserLimits(user_id, self._roles[user.role].with_exceptions(exceptions), exceptions)


class Limiter:
    """Checks limits. It implements `MessageGate`. Call `close` at the end."""

    def __init__(
        self,
        settings: LimitSettings,
        book: LimitBook,
        store: PostgresLimits,
        rates: Rates,
        local: Rates,
        holds: RedisHolds,
        messages: RedisMessages,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        """rates: the shared counts. local: the counts of this process, for the time without the shared counts."""
        self.book = book
        self._settings = settings
        self._store = store
        self._rates = rates
        self._local = local
        self._holds = holds
        self._messages = messages
        self._renew_seconds = renew_seconds
        self._turns = {name: Scheduler(name) for name in ("searches", "embeddings")}
        self._stored: dict[UUID | str, _Stored] = {}
        self._held: dict[str, set[str]] = {}
        self._released: dict[str, list[str]] = defaultdict(list)
        self._sent: Mapping[str, list[str]] = {}
        self._sending = asyncio.Lock()
        self._background = Background()
        self._renewing: asyncio.Task[None] | None = None
        self._releasing: asyncio.Task[None] | None = None

    async def address_calls(self, address: str) -> None:
        """Count a call from a network address; "" is not limited. The addresses of an IPv6 network (/64) count as one.
        Raises Exhausted (RATE_LIMIT)."""
        limit = self._settings.address.calls_per_minute
        if address and limit:
            key = f"calls:address:{network_of(address)}"
            await self._rate([Room(key, "calls_per_minute", Scope.ADDRESS, limit)])

    async def calls(self, caller: Principal) -> None:
        """Count a call of a user. Raises Exhausted (RATE_LIMIT)."""
        await self._rate(await self._rooms(caller, "calls_per_minute"))

    async def count_text(self, caller: Principal) -> None:
        """Count a text that a model writes without a question. Raises Exhausted (RATE_LIMIT)."""
        if limit := self._settings.generations_per_minute:
            key = f"generations:user:{caller.tenant_id}/{caller.user_id}"
            await self._rate([Room(key, "generations_per_minute", Scope.USER, limit)])

    @asynccontextmanager
    async def at_a_time(self, caller: Principal, name: str) -> AsyncGenerator[None]:
        """A block that is one of the "searches" or "embeddings" of a user. Waits while as many run as the user may have.
        Raises Exhausted (LIMIT_REACHED)."""
        limits, service = await self.book.of(caller), caller.limit_role is Role.SERVICE
        # A service is a whole back end.
        limit = limits.searches or MOST if name == "searches" else 16 if service else 1
        if name == "searches":
            be_patient()
        try:
            release = await self._turns[name].take(limit)
        except Exhausted as error:
            raise too_many(name, Scope.USER, limit, retry_after=error.retry_after) from error
        try:
            yield
        finally:
            release()

    async def count_embedded(self, caller: Principal, tokens: int) -> None:
        """Count the tokens of texts before they are embedded. Raises Exhausted: RATE_LIMIT; LIMIT_REACHED if the texts
        alone have more tokens than the limit."""
        await self._rate(await self._rooms(caller, "embedded_tokens_per_minute"), MINUTE, tokens)

    async def stream(self, caller: Principal, address: str, member: str) -> Hold:
        """Count a call that lasts. member: a name that no other call has. Raises Exhausted (LIMIT_REACHED)."""
        rooms = await self._rooms(caller, "streams")
        limit = self._settings.address.streams
        if address and limit:
            rooms.append(Room(f"streams:address:{network_of(address)}", "streams", Scope.ADDRESS, limit))
        return await self._hold(rooms, member)

    async def socket(self, caller: Principal, member: str) -> Hold:
        """Count a signed-in WebSocket. Raises Exhausted (LIMIT_REACHED)."""
        return await self._hold(await self._rooms(caller, "sockets"), member)

    async def upload(self, caller: Principal, member: str) -> Hold:
        """Count an upload that has begun. Raises Exhausted (LIMIT_REACHED)."""
        return await self._hold(await self._rooms(caller, "uploads"), member)

    async def count_upload(self, caller: Principal, size: int) -> None:
        """Count the bytes of an upload, before they are stored. Raises Exhausted: RATE_LIMIT; LIMIT_REACHED if the
        upload alone has more bytes than the limit."""
        if size:
            await self._rate(await self._rooms(caller, "upload_bytes_per_day"), DAY, size)

    def storing(self, caller: Principal) -> Storing:
        """An upload whose original will be stored for a user."""
        return Storing(partial(self._store_bytes, caller))

    async def _store_bytes(self, caller: Principal, size: int) -> Sequence[_Stored]:
        limits = await self.book.of(caller)
        caps = (limits.storage_bytes, self.book.tenant.storage_bytes)
        if not any(caps):
            return ()
        counts = (
            self._count_of(caller.user_id, self._store.bytes_of_user),
            self._count_of(caller.tenant_id, self._store.bytes_of_tenant),
        )
        fresh = False
        while True:
            for count, limit in zip(counts, caps, strict=True):
                if limit and time.monotonic() - count.begun >= _STORED_SECONDS:
                    await self._read_stored(caller, count)
                    fresh = True
            # No other upload runs between this check and the count.
            over = next(
                (
                    index
                    for index, count in enumerate(counts)
                    if 0 < caps[index] < count.size + count.pending + size
                ),
                None,
            )
            if over is None:
                for count in counts:
                    count.pending += size
                return counts
            if fresh:
                raise too_many("storage_bytes", (Scope.USER, Scope.TENANT)[over], caps[over])
            # Another look, so that a caller who has deleted documents need not wait.
            for count in counts:
                count.begun = float("-inf")

    def _count_of(self, key: UUID | str, read: Callable[[Principal], Awaitable[int]]) -> _Stored:
        count = self._stored.get(key)
        if count is None:
            if len(self._stored) >= _CAPACITY:
                self._stored = {name: count for name, count in self._stored.items() if count.pending}
            count = self._stored[key] = _Stored(read)
        return count

    async def _read_stored(self, caller: Principal, count: _Stored) -> None:
        begun, ended = time.monotonic(), count.ended
        size = await count.read(caller)
        # What ended during the read may be missing in its result.
        count.size, count.begun, count.seconds = size + count.ended - ended, begun, time.monotonic() - begun

    async def check_storage(self, caller: Principal) -> Limits:
        """Check whether a caller may store anything more, and return the caller's limits. Unless the caller is near the
        limit, the check uses the stored bytes as they were last known, and reads them again in the background. While
        the database is unavailable, it uses them in any case. Raises Exhausted (LIMIT_REACHED).
        """
        limits = await self.book.of(caller)
        limit = limits.storage_bytes
        if not limit:
            return limits
        stored = self._count_of(caller.user_id, self._store.bytes_of_user)
        now = time.monotonic()
        if stored.size + stored.pending + _NEAR_BYTES > limit:
            await self._reread(caller, stored, now)
        elif (
            now - stored.begun >= max(_STORED_SECONDS, _STORED_SHARE * stored.seconds)
            and not stored.lock.locked()
        ):
            self._background.start(self._reread(caller, stored, now))
        if stored.size + stored.pending >= limit:
            raise too_many("storage_bytes", Scope.USER, limit)
        return limits

    async def _reread(self, caller: Principal, stored: _Stored, since: float) -> None:
        """Read stored bytes, unless they were read after this time."""
        async with stored.lock:
            if stored.begun < since:
                with contextlib.suppress(Unavailable):
                    await self._read_stored(caller, stored)

    async def admit(self, caller: Principal, turn_id: UUID) -> AcceptLimits:
        limits = await self.check_storage(caller)
        if caller.widget:
            await self._count_visitor(caller)
        accepting = AcceptLimits(limits.pending_turns, self.book.tenant.pending_turns, limits.conversations)
        limit = limits.messages_per_minute
        if not limit:
            return accepting
        try:
            wait = await self._messages.count(caller, turn_id, limit, None)
            if wait is None:
                # Redis has lost its data, or this process could not reach Redis in the last minute.
                known = await self._store.messages(caller)
                wait = await self._messages.count(caller, turn_id, limit, known)
            wait = wait or 0.0
        except CountsAway:
            # Half, because processes that still reach Redis count apart and allow the whole limit in addition.
            wait = await self._store.count_message(caller, turn_id, max(limit // 2, 1))
        if wait:
            raise too_fast("messages_per_minute", Scope.USER, limit, wait)
        return accepting

    async def _count_visitor(self, caller: Principal) -> None:
        """Count a question of a widget's visitor, for the visitor's network address and for the key. A question that is
        refused later stays counted."""
        limits, key = self._settings.widget, f"messages:key:{caller.key_id}"
        if caller.address and limits.messages_per_minute:
            room = f"{key}:{network_of(caller.address)}"
            await self._rate([Room(room, "messages_per_minute", Scope.ADDRESS, limits.messages_per_minute)])
        if limits.messages_per_day:
            await self._rate([Room(key, "messages_per_day", Scope.KEY, limits.messages_per_day)], DAY)

    async def give_back(self, caller: Principal, turn_id: UUID) -> None:
        with contextlib.suppress(Unavailable):
            try:
                await self._messages.give_back(caller, turn_id)
            except CountsAway:
                await self._store.give_back_message(caller, turn_id)

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        for key, members in self._held.items():
            self._released[key].extend(members)
        self._held.clear()
        await self._release_all()
        await self._background.cancel()

    async def _rooms(self, caller: Principal, name: str) -> list[Room]:
        rooms: list[Room] = []
        kind = name.partition("_per_")[0]
        if caller.acting is not None:
            # What a service does for its users counts for the service, too, or its limits would grow with the number of users.
            service = replace(caller, user_id=caller.acting, role=Role.SERVICE, acting=None)
            if limit := int(getattr(await self.book.of(service), name)):
                key = f"{kind}:user:{caller.tenant_id}/{service.user_id}"
                rooms.append(Room(key, name, Scope.SERVICE, limit))
        if limit := int(getattr(await self.book.of(caller), name)):
            rooms.append(Room(f"{kind}:user:{caller.tenant_id}/{caller.user_id}", name, Scope.USER, limit))
        if limit := int(getattr(self.book.tenant, name)):
            rooms.append(Room(f"{kind}:tenant:{caller.tenant_id}", name, Scope.TENANT, limit))
        return rooms

    async def _rate(self, rooms: Sequence[Room], seconds: int = MINUTE, count: int = 1) -> None:
        """Count in one room after the other. If one refuses, those before it have counted all the same."""
        for room in rooms:
            if count > room.limit:
                # No wait makes room for it.
                raise too_many(room.name, room.scope, room.limit)
            try:
                wait = await self._rates.take(room, seconds, count)
            except CountsAway:
                wait = await self._local.take(self._stricter(room), seconds, count)
            if wait:
                raise too_fast(room.name, room.scope, room.limit, wait)

    async def _hold(self, rooms: Sequence[Room], member: str) -> Hold:
        # The place in this process is taken before the first wait, so that calls at the same moment do not pass
        # together while Redis is away.
        for room in rooms:
            self._held.setdefault(room.key, set()).add(member)
        hold = Hold([room.key for room in rooms], member, self._release)
        try:
            try:
                full = await self._holds.take(rooms, member)
                if full is not None and any(key in self._released or key in self._sent for key in hold.keys):
                    # What has ended here in the last milliseconds may still count, also while its release is on the way.
                    await self._release_all()
                    full = await self._holds.take(rooms, member)
            except CountsAway:
                strict = [self._stricter(room) for room in rooms]
                full = next((room for room in strict if len(self._held[room.key]) > room.limit), None)
        except BaseException:
            hold.release()
            raise
        if full is not None:
            hold.release()
            limit = next(room.limit for room in rooms if room.key == full.key)
            raise too_many(full.name, full.scope, limit, retry_after=_HOLD_RETRY_SECONDS)
        if rooms and self._renewing is None:
            # It serves everybody, so its lines name nothing of the call that happens to begin it.
            self._renewing = asyncio.create_task(self._renew(), name="renewals of limits", context=Context())
        return hold

    def _release(self, hold: Hold) -> None:
        for key in hold.keys:
            members = self._held.get(key, set())
            if hold.member in members:
                members.discard(hold.member)
                self._released[key].append(hold.member)
            if not members:
                self._held.pop(key, None)
        if self._released and self._releasing is None:
            self._releasing = self._background.start(self._release_soon())

    async def _release_soon(self) -> None:
        # The ends of many calls are sent together.
        await asyncio.sleep(_RELEASE_SECONDS)
        self._releasing = None
        await self._release_all()

    async def _release_all(self) -> None:
        async with self._sending:
            self._sent, self._released = self._released, defaultdict(list)
            try:
                if self._sent:
                    # What cannot be released stops counting when it is no longer renewed.
                    with contextlib.suppress(CountsAway):
                        await self._holds.release(self._sent)
            finally:
                self._sent = {}

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._renew_seconds)
            renewed = {key: [*members] for key, members in self._held.items()}
            with contextlib.suppress(CountsAway):
                await self._holds.renew(renewed)
            # A renewal can arrive after the release of the same member, and would add it again.
            for key, members in renewed.items():
                if gone := [member for member in members if member not in self._held.get(key, ())]:
                    self._released[key].extend(gone)
            await self._release_all()

    def _stricter(self, room: Room) -> Room:
        """The room of a process that counts alone: a share of the limit, because other processes allow as much."""
        return Room(room.key, room.name, room.scope, max(room.limit // self._settings.without_redis, 1))


class QuotaAdministration:
    """The usage and the quotas of the users of the caller's tenant. The authorisation table checks that only
    administrators see and change those of others."""

    def __init__(self, store: PostgresQuotas, limits: LimitBook) -> None:
        """limits: has the limits of what users keep."""
        self.store = store
        """The stored usage, to charge what belongs to no turn."""
        self._limits = limits

    async def mine(self, caller: Principal) -> UserUsage:
        """Return the caller's usage. Raises NotFound if the user was deleted."""
        usage = await self.store.usage(caller.tenant_id, caller.user_id)
        return replace(usage, limits=await self._limits.of(caller))

    async def of_user(self, caller: Principal, user_id: UUID) -> UserUsage:
        """Return the usage of a user of the tenant. Raises NotFound."""
        return await self._with_limits(caller, await self.store.usage(caller.tenant_id, user_id))

    async def update(
        self,
        caller: Principal,
        user_id: UUID,
        change: Mapping[str, int | None],
        dropped: frozenset[str],
        etag: str,
    ) -> UserUsage:
        """Change the limits of a user. Raises the errors of `PostgresQuotas.update`."""
        return await self._with_limits(
            caller, await self.store.update(caller, user_id, change, dropped, etag)
        )

    async def _with_limits(self, caller: Principal, usage: UserUsage) -> UserUsage:
        limits = await self._limits.read(caller, usage.user_id)
        return replace(usage, limits=limits.limits)
