"""Conversations, messages and summaries, and their stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from responsa_contract import MAX_BYTES, Speaker
from responsa_server.domain.events import AnyCitation, RefusalReason, ToolSource, VersionRead
from responsa_server.domain.limits import NO_LIMIT
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal
from responsa_server.domain.rows import Row

MAX_TITLE_BYTES = MAX_BYTES["Conversation.title"]


class ConversationOrigin(StrEnum):
    """What began a conversation: a browser's session, or a program's key or token."""

    UNSPECIFIED = ""
    PAGE = "page"
    PROGRAM = "program"

    @classmethod
    def of(cls, caller: Principal) -> ConversationOrigin:
        return cls.PAGE if caller.credential == "session" else cls.PROGRAM


@dataclass(frozen=True, slots=True)
class Conversation:
    """An exchange between one user and Responsa.

    title: at most 200 bytes. active_turn: the id of the running turn, or None. etag: a value that changes with every
    update. files: the id, as the user calls it, of the collection with the conversation's files; "" if there is none.
    """

    id: UUID
    tenant_id: str
    user_id: UUID
    title: str
    labels: Mapping[str, str]
    pinned: bool
    archived: bool
    origin: ConversationOrigin
    active_turn: UUID | None
    create_time: datetime
    update_time: datetime
    etag: str
    files: str = ""


class Rating(StrEnum):
    """A user's opinion of an answer."""

    UP = "up"
    DOWN = "down"

    @classmethod
    def of_score(cls, score: int) -> Rating | None:
        """The rating that a score from 1 to 5 gives; None for 3."""
        return None if score == 3 else cls.UP if score > 3 else cls.DOWN


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation. read: what the message's turn has read; `history` alone sets it."""

    id: UUID
    conversation_id: UUID
    turn_id: UUID
    speaker: Speaker
    text: str
    citations: Sequence[AnyCitation]
    refusal: RefusalReason | None
    create_time: datetime
    read: Sequence[VersionRead] = ()
    feedback: Row | None = None


@dataclass(frozen=True, slots=True)
class ConversationFiles:
    """The files that were given to a conversation. collection_id: the id of their collection, as its owner calls it.
    is_reading: whether one of them is being read."""

    collection_id: str
    is_reading: bool


class ConversationStore(Protocol):
    """Conversations and messages. All methods raise Unavailable if the store cannot be reached or the outcome is
    unknown.

    Where the reader may no longer read a document that a turn has read, the turn's answer is a refusal (NOT_PERMITTED)
    in every message that these methods return. The stored message stays as it is.
    """

    async def create(
        self,
        caller: Principal,
        identity: UUID,
        title: str,
        labels: Mapping[str, str],
        request_id: UUID | None,
        *,
        limit: int = NO_LIMIT,
    ) -> Conversation:
        """Create a conversation, or return the conversation that this request_id created. limit: the maximum number of
        the caller's conversations. Raises AlreadyExists (REQUEST_ID_REUSED), Exhausted (LIMIT_REACHED).
        """
        ...

    async def get(self, caller: Principal, identity: UUID) -> Conversation:
        """Return one of the caller's conversations. Raises NotFound."""
        ...

    async def list(self, caller: Principal, query: ListQuery) -> Page[Conversation]: ...

    async def search(self, caller: Principal, words: Sequence[str], query: ListQuery) -> Page[Row]:
        """Return a page of the caller's conversations whose title or one of whose messages contains all words, in any
        case: rows with the conversation and the newest messages that match, newest first."""
        ...

    async def update(
        self,
        caller: Principal,
        identity: UUID,
        *,
        title: str | None,
        labels: Mapping[str, str] | None,
        etag: str,
        pinned: bool | None = None,
        archived: bool | None = None,
    ) -> Conversation:
        """Update the fields that are not None; title "" removes the title. Raises NotFound, Conflict (ETAG_MISMATCH)."""
        ...

    async def delete(self, caller: Principal, identity: UUID, etag: str) -> None:
        """Delete a conversation with its messages, turns and logs. Raises NotFound, Conflict (ETAG_MISMATCH, CONVERSATION_BUSY)."""
        ...

    async def files(self, caller: Principal, identity: UUID) -> ConversationFiles | None:
        """Return the files of one of the caller's conversations; None if it has none."""
        ...

    async def messages(self, caller: Principal, identity: UUID, query: ListQuery) -> Page[Message]:
        """Return a page of a conversation's messages. Raises NotFound."""
        ...

    async def message(self, caller: Principal, identity: UUID) -> Message:
        """Return one message. Raises NotFound."""
        ...

    async def give_feedback(
        self,
        caller: Principal,
        opinion: Mapping[str, object],
        *,
        turn_id: UUID | None = None,
        message_id: UUID | None = None,
    ) -> Row:
        """Store what the caller thinks of the answer of a turn, or of an answer, in place of earlier feedback. opinion:
        the values of columns. Raises NotFound, InvalidRequest for a question."""
        ...

    async def answer_of(self, caller: Principal, turn_id: UUID) -> Message | None:
        """Return the assistant's message of a turn, or None if there is no such message yet. Raises NotFound for an
        unknown turn.
        """
        ...

    async def citations(
        self, caller: Principal, *, turn_id: UUID | None = None, message_id: UUID | None = None
    ) -> Sequence[AnyCitation]:
        """Return the recorded citations of a turn's answer or of a message, whether the caller may still read their
        documents or not. Raises NotFound."""
        ...

    async def tool_sources(
        self, caller: Principal, *, turn_id: UUID | None = None, message_id: UUID | None = None
    ) -> Mapping[str, Sequence[ToolSource]]:
        """Return the sources that the tools returned to a turn, or to the turn of a message, by the ids of the calls.
        The calls of old turns are deleted with their events."""
        ...

    async def history(self, caller: Principal, identity: UUID, limit: int) -> Sequence[Message]:
        """Return at most `limit` of the last messages of a conversation, oldest first. An unknown conversation has no
        messages."""
        ...


MAX_SUMMARY_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Summary:
    """A summary of a conversation. text: at most MAX_SUMMARY_BYTES of UTF-8. through: the last message that the text
    covers. read: what the turns of these messages have read.
    """

    text: str
    through: UUID
    read: Sequence[VersionRead] = ()


class Summaries(Protocol):
    """Stores one summary per conversation. Summaries are derived data: a lost summary costs one model call and nothing
    else.
    """

    async def find(self, caller: Principal, conversation_id: UUID) -> Summary | None:
        """Return the stored summary; None if there is no summary, or if the user may no longer read all that it was
        drawn from. Raises Unavailable."""
        ...

    async def keep(self, caller: Principal, conversation_id: UUID, summary: Summary) -> None:
        """Store a summary in place of the previous one. Does nothing if the conversation was deleted. Raises
        Unavailable.
        """
        ...
