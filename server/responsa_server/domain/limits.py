"""The limits per user, tenant and network address: their values, their counts, and the errors of callers that exceed them.

Three kinds of counts exist. A rate counts events in a sliding window (calls, messages, uploaded bytes). A hold counts
what exists at one time (streams, uploads, sockets). A stored limit is checked by the statement that writes the rows
(turns, keys, documents).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from math import ceil
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain.errors import Exhausted, Reason
from responsa_server.domain.formatting import counted, in_seconds
from responsa_server.domain.people import Principal

NO_LIMIT: Final = 0
"""The value of a limit that does not apply."""
MINUTE: Final = 60
DAY: Final = 86_400
MOST: Final = 1_000_000_000_000
"""The largest value of a limit."""


class Scope(StrEnum):
    """The holder of a count. SERVICE: a user with the role SERVICE that acts on behalf of another user. KEY: the key of a widget."""

    USER = "user"
    SERVICE = "service"
    TENANT = "tenant"
    ADDRESS = "address"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one user, or of one tenant for all its users together. `NO_LIMIT` (0): the limit does not apply.

    messages_per_minute: accepted questions. calls_per_minute: calls over any transport. streams: long calls at a time.
    sockets: signed-in WebSockets, at a time. pending_turns: turns that have not ended. uploads: uploads at a time.
    upload_bytes_per_day: the bytes of uploads in 24 hours. storage_bytes: the bytes that `PostgresLimits` counts.
    api_keys: API keys that are neither revoked nor expired. conversations, collections: those that exist. searches:
    calls of Search and BatchSearch at a time, of one process. embedded_tokens_per_minute: tokens of EmbedTexts.
    """

    messages_per_minute: int = NO_LIMIT
    calls_per_minute: int = NO_LIMIT
    streams: int = NO_LIMIT
    sockets: int = NO_LIMIT
    pending_turns: int = NO_LIMIT
    uploads: int = NO_LIMIT
    upload_bytes_per_day: int = NO_LIMIT
    storage_bytes: int = NO_LIMIT
    api_keys: int = NO_LIMIT
    conversations: int = NO_LIMIT
    collections: int = NO_LIMIT
    searches: int = NO_LIMIT
    embedded_tokens_per_minute: int = NO_LIMIT

    def with_exceptions(self, exceptions: Mapping[str, int]) -> Limits:
        """Replace the limits that have an exception. exceptions: the values by name."""
        return replace(self, **exceptions)


LIMIT_NAMES: Final = tuple(asdict(Limits()))
"""The names of all limits of a user."""


@dataclass(frozen=True, slots=True)
class UserLimits:
    """The limits of a user as administrators see them. limits: the limits in effect. exceptions: the values that an
    administrator set for this user, by name; all other limits are the defaults of the user's role.
    """

    user_id: UUID
    limits: Limits
    exceptions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Room:
    """A limit to check: a count, and the most for which it has room. key: names the count, e.g.
    `calls:user:acme/0192…`. name: the limit's name. limit: the value, at least 1."""

    key: str
    name: str
    scope: Scope
    limit: int


# The words for one, and for any other number.
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "messages_per_minute": ("message a minute", "messages a minute"),
    "generations_per_minute": ("text of a model a minute", "texts of models a minute"),
    "messages_per_day": ("message in 24 hours", "messages in 24 hours"),
    "calls_per_minute": ("call a minute", "calls a minute"),
    "streams": ("stream at a time", "streams at a time"),
    "sockets": ("WebSocket at a time", "WebSockets at a time"),
    "pending_turns": ("question that is not answered yet", "questions that are not answered yet"),
    "uploads": ("upload at a time", "uploads at a time"),
    "upload_bytes_per_day": ("byte of uploads in 24 hours", "bytes of uploads in 24 hours"),
    "storage_bytes": ("stored byte", "stored bytes"),
    "api_keys": ("API key", "API keys"),
    "conversations": ("conversation", "conversations"),
    "collections": ("collection", "collections"),
    "searches": ("search at a time", "searches at a time"),
    "embeddings": ("call of EmbedTexts at a time", "calls of EmbedTexts at a time"),
    "embedded_tokens_per_minute": ("embedded token a minute", "embedded tokens a minute"),
}
_REMEDIES: Final[Mapping[str, str]] = {
    "streams": "Close one",
    "sockets": "Close one",
    "pending_turns": "Wait for an answer",
    "uploads": "Wait until one has ended",
    "upload_bytes_per_day": "Send a smaller file",
    "storage_bytes": "Delete documents or conversations, or ask an administrator for a higher limit",
    "api_keys": "Revoke one",
    "conversations": "Delete conversations, or ask an administrator for a higher limit",
    "collections": "Delete collections, or ask an administrator for a higher limit",
    "searches": "Wait until one has ended",
    "embeddings": "Wait until it has ended",
    "embedded_tokens_per_minute": "Send fewer texts",
}
_REMEDIES_OF_TENANTS: Final[Mapping[str, str]] = {"storage_bytes": "Delete documents"}
_HOLDERS: Final[Mapping[Scope, str]] = {
    Scope.USER: "You have",
    Scope.SERVICE: "The service that makes this call has",
    Scope.TENANT: "Your tenant has",
    Scope.ADDRESS: "Your network address has",
    Scope.KEY: "The widget has",
}


def too_fast(name: str, scope: Scope, limit: int, wait_seconds: float) -> Exhausted:
    """The error for a rate that is used up. wait_seconds: the time until the call can succeed."""
    wait = max(wait_seconds, 0.001)
    return Exhausted(
        Reason.RATE_LIMIT,
        f"{_HOLDERS[scope]} used up the limit of {counted(limit, *_WORDS[name])}; try again in {_to_words(wait)}.",
        {"limit": name, "scope": scope.value, "value": str(limit)},
        retry_after=wait,
    )


def too_many(name: str, scope: Scope, limit: int, *, retry_after: float | None = None) -> Exhausted:
    """The error for the maximum number of things at one time. retry_after: the seconds after which to try again; None
    if only the caller can make room."""
    remedy = (scope is Scope.TENANT and _REMEDIES_OF_TENANTS.get(name)) or _REMEDIES[name]
    return Exhausted(
        Reason.LIMIT_REACHED,
        f"{_HOLDERS[scope]} reached the limit of {counted(limit, *_WORDS[name])}. {remedy}, then try again.",
        {"limit": name, "scope": scope.value, "value": str(limit)},
        retry_after=retry_after,
    )


def check_attempt(wait_seconds: float | None, message: str) -> None:
    """Raise Exhausted (TOO_MANY_ATTEMPTS) if somebody must wait before another attempt; None: they need not."""
    if wait_seconds is not None:
        raise Exhausted(Reason.TOO_MANY_ATTEMPTS, message, retry_after=max(1.0, wait_seconds))


def _to_words(seconds: float) -> str:
    whole = ceil(seconds)
    if whole < 120:
        return in_seconds(whole)
    return f"{ceil(seconds / 60)} minutes" if seconds < 7200 else f"{ceil(seconds / 3600)} hours"


class CountsAway(Exception):
    """The shared counts cannot be reached. The caller must count in another, stricter way."""


class Rates(Protocol):
    """Counts of events in sliding windows. A count belongs to the room's key and the window, so it survives a change of the maximum."""

    async def take(self, room: Room, seconds: int, count: int) -> float:
        """Count `count` events in a window of `seconds`, if there is room for all of them. Returns 0.0, or else the
        seconds until there may be room. Raises CountsAway."""
        ...


@dataclass(frozen=True, slots=True)
class RecentMessage:
    """An accepted question in the last minute. age_seconds: the time since it was accepted."""

    turn_id: UUID
    age_seconds: float


@dataclass(frozen=True, slots=True)
class AcceptLimits:
    """What the statement that accepts a question checks; `NO_LIMIT` (0) for no limit. user, tenant: the maximum numbers
    of turns that have not ended. conversations: the maximum number of the user's conversations, for a question that
    begins one.
    """

    user: int = NO_LIMIT
    tenant: int = NO_LIMIT
    conversations: int = NO_LIMIT


UNLIMITED: Final = AcceptLimits()


class MessageGate(Protocol):
    """Decides whether a user may ask another question now."""

    async def admit(self, caller: Principal, turn_id: UUID) -> AcceptLimits:
        """Count a message. turn_id: the id of the turn that the question would begin. No other call has this id, so
        that a call gives back only its own message. Returns the limits for the statement that accepts the question.
        Raises Exhausted (RATE_LIMIT, LIMIT_REACHED), Unavailable."""
        ...

    async def give_back(self, caller: Principal, turn_id: UUID) -> None:
        """Give a message back, because the question was refused or belongs to an earlier turn. Raises nothing: at
        worst, the message counts for a minute."""
        ...
