"""How turns end: what of them enters the conversation, and the failures that the server itself declares. Pure."""

from __future__ import annotations

from typing import Final, assert_never
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.conversations import MAX_TITLE_BYTES, Speaker
from responsa_server.domain.errors import (
    DeadlinePassed,
    Exhausted,
    Reason,
    ResponsaError,
    Unavailable,
)
from responsa_server.domain.events import Answered, Cancelled, Failed, Refused, Terminal, Usage
from responsa_server.domain.turns import Conclusion, NewId, NewMessage, Question, TurnState

_TITLE_CHARACTERS: Final = 60


def conclude(
    terminal: Terminal, encoded: bytes, question: Question, new_id: NewId, *, titles: bool = True
) -> Conclusion:
    """An answer and a refusal leave question and reply in the conversation; what failed or was cancelled leaves nothing there.

    titles: whether the question becomes the title of a conversation without one; otherwise the conversation keeps its time as its title.
    """
    match terminal:
        case Answered():
            reply = NewMessage(new_id(), Speaker.ASSISTANT, terminal.text, terminal.citations)
            state, usage = TurnState.ANSWERED, terminal.usage
        case Refused():
            reply = NewMessage(new_id(), Speaker.ASSISTANT, terminal.message, refusal=terminal.reason)
            state, usage = TurnState.REFUSED, terminal.usage
        case Failed():
            return Conclusion(TurnState.FAILED, encoded, terminal.usage)
        case Cancelled():
            return Conclusion(TurnState.CANCELLED, encoded, Usage())
        case _:
            assert_never(terminal)
    # The question's id comes first, in the order of speaking.
    first, second = sorted((reply.id, new_id()))
    asked = NewMessage(first, Speaker.USER, question.text)
    replied = NewMessage(second, reply.speaker, reply.text, reply.citations, reply.refusal)
    return Conclusion(state, encoded, usage, (asked, replied), title_of(question.text) if titles else "")


def title_of(question: str) -> str:
    """A title for a conversation that begins with this question: its beginning, of whole words where it has any, at most 200 bytes."""
    text = " ".join(question.split())
    if len(text) > _TITLE_CHARACTERS:
        cut = text[: _TITLE_CHARACTERS - 1]
        words, space, _ = cut.rpartition(" ")
        text = (words if space and len(words) > _TITLE_CHARACTERS // 2 else cut).rstrip(" ,;:-") + "…"
    while len(text.encode()) > MAX_TITLE_BYTES:
        text = text[:-2] + "…"
    return text


def failed(error: ResponsaError) -> Failed:
    """A turn that an error ended. Asking again can help where the error lies in the moment and not in the question."""
    return Failed(error, isinstance(error, (Unavailable, Exhausted, DeadlinePassed)))


def worker_lost(turn_id: UUID, losses: int) -> Failed:
    """So many workers were lost over the turn, one after the other, that it is given to no other."""
    message = (
        f"{losses} workers were lost while they answered; ask again, in other words if it happens again."
    )
    metadata = {"turn": names.turn(turn_id)}
    return failed(Unavailable(Reason.WORKER_LOST, message, metadata, retry_after=1.0))


def time_limit(turn_id: UUID, limit_seconds: float) -> Failed:
    """The turn took longer than its agent allows."""
    metadata = {"turn": names.turn(turn_id), "limit_seconds": f"{limit_seconds:g}"}
    message = (
        f"Answering took longer than {limit_seconds:g} seconds and was stopped; ask again or ask for less."
    )
    return failed(DeadlinePassed(Reason.TURN_TIME_LIMIT, message, metadata))


def unexpected(turn_id: UUID) -> Failed:
    """An error that no rule covers. The server's log has it under the turn's name."""
    message = "Something went wrong. Please try again."
    error = ResponsaError(Reason.INTERNAL, message, {"call_id": names.turn(turn_id)})
    return Failed(error, retriable=True)
