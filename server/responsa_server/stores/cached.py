"""Values in the cache that all processes share (ADR 0076).

PostgreSQL decides whether an entry is still good, in a statement that sees what the reader may read. An entry that was
altered, that was stored under another key, or that cannot be decoded is a miss.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Generic, TypeVar

import ormsgpack
from pydantic import TypeAdapter

from responsa_server.domain.cache import Cache, LruCache
from responsa_server.domain.people import Reader, Server, with_files
from responsa_server.telemetry import instruments

MOST_BYTES: Final = 256 * 1024
"""A value that is encoded as more bytes is not cached."""
_CODE_BYTES: Final = 16
_ASKED_BYTES: Final = 1024 * 1024

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Entry(Generic[Value]):
    """A cached value. stamp: at most 255 bytes that differ whenever the value may differ; b"" for values that never change."""

    stamp: bytes
    value: Value


@dataclass(frozen=True, slots=True)
class Codec(Generic[Value]):
    """How a value becomes bytes. decode: raises ValueError for bytes that are no value."""

    encode: Callable[[Value], bytes]
    decode: Callable[[bytes], Value]


RAW: Final[Codec[bytes]] = Codec(bytes, bytes)


def plain(kind: type[Value]) -> Codec[Value]:
    """The codec of a dataclass that consists of plain values and such dataclasses."""
    adapter = TypeAdapter(kind)

    def encode(value: Value) -> bytes:
        return ormsgpack.packb(value, default=list, option=ormsgpack.OPT_NON_STR_KEYS)

    return Codec(encode, lambda data: adapter.validate_python(ormsgpack.unpackb(data)))


class SharedCache(Generic[Value]):
    """The entries of one kind. If the cache is away or slow, no method raises, and every lookup is a miss."""

    def __init__(
        self, cache: Cache | None, kind: str, seconds: int, codec: Codec[Value], secret: bytes = b""
    ) -> None:
        """kind: the kind's name, also in metrics. seconds: how long an entry is kept; 0 to keep none. secret:
        authenticates the entries, at most 64 bytes."""
        self._cache = cache if seconds else None
        self._kind = kind
        self._seconds = seconds
        self._codec = codec
        self._secret = secret
        # The keys that `through` was asked for lately.
        self._asked = LruCache[str, bool](_ASKED_BYTES)

    @property
    def on(self) -> bool:
        """Whether entries are kept."""
        return self._cache is not None

    async def get(self, tenant_id: str, keys: Collection[str]) -> Mapping[str, Entry[Value]]:
        """The entries of these keys. The caller compares their stamps and then calls `count`."""
        if self._cache is None or not keys:
            return {}
        names = {self._name(tenant_id, key): key for key in keys}
        stored = await self._cache.get(list(names))
        read = {names[name]: self._read(name, data) for name, data in stored.items()}
        return {key: entry for key, entry in read.items() if entry is not None}

    def count(self, hits: int, misses: int) -> None:
        """Count lookups, once it is clear which entries were good."""
        if self._cache is not None:
            instruments.CACHE_LOOKUPS.add(hits, self._kind, "hit")
            instruments.CACHE_LOOKUPS.add(misses, self._kind, "miss")

    async def put(self, tenant_id: str, entries: Mapping[str, Entry[Value]]) -> None:
        """Keep entries, in place of earlier ones with the same keys."""
        if self._cache is None:
            return
        encoded: dict[str, bytes] = {}
        for key, entry in entries.items():
            data = self._codec.encode(entry.value)
            if len(data) <= MOST_BYTES:
                name, stamp = self._name(tenant_id, key), bytes((len(entry.stamp),)) + entry.stamp
                encoded[name] = self._code(name, stamp, data) + stamp + data
        await self._cache.put(encoded, self._seconds)

    async def through(
        self,
        tenant_id: str,
        key: str,
        stamp: Callable[[], Awaitable[bytes]],
        make: Callable[[], Awaitable[Value]],
        worth: Callable[[Value], bool],
    ) -> Value:
        """The cached value if it has the present stamp, otherwise the result of `make`. The cache is asked only for what
        this process was asked for before, and keeps only that: most values are asked for once, and to look for those
        and to cache them would cost more than to make some twice. stamp: returns a stamp that never comes again after a
        change; so it does no harm that a result may be newer than the stamp that was read before it was made. worth:
        whether to cache this result. Raises the errors of `stamp` and `make`.
        """
        if self._cache is None:
            return await make()
        name = self._name(tenant_id, key)
        if self._asked.get(name) is None:
            self._asked.put(name, True, len(name))
            self.count(0, 1)
            return await make()
        entry = (await self.get(tenant_id, [key])).get(key)
        present = await stamp()
        if entry is not None and entry.stamp == present:
            self.count(1, 0)
            return entry.value
        self.count(0, 1)
        new = await make()
        if worth(new):
            await self.put(tenant_id, {key: Entry(present, new)})
        return new

    def _name(self, tenant_id: str, key: str) -> str:
        return f"{entries_of(tenant_id)}{self._kind}:{key}"

    def _code(self, name: str, stamp: bytes, data: bytes) -> bytes:
        code = blake2b(name.encode(), key=self._secret, digest_size=_CODE_BYTES)
        code.update(stamp)
        code.update(data)
        return code.digest()

    def _read(self, name: str, entry: bytes) -> Entry[Value] | None:
        code, rest = entry[:_CODE_BYTES], entry[_CODE_BYTES:]
        end = 1 + rest[0] if rest else 0
        if not hmac.compare_digest(code, self._code(name, rest[:end], rest[end:])):
            return None
        try:
            return Entry(rest[1:end], self._codec.decode(rest[end:]))
        except ValueError:  # another release wrote it
            return None


NOT_CACHED: Final[SharedCache[Any]] = SharedCache(None, "", 0, RAW)
"""Keeps nothing."""


def entries_of(tenant_id: str) -> str:
    """The beginning of the cache's keys of a tenant's entries."""
    return f"cache:{tenant_id}:"


def reader_key(reader: Reader) -> str:
    """The part of a key that keeps readers apart: the user, the role with which the user reads, and the files of the conversation."""
    if isinstance(reader, Server):
        return "server"
    return ":".join((reader.user_id.hex, reader.acting_role, *with_files(reader, ())))
