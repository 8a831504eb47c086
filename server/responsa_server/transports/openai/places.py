"""The conversation that a question belongs to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1.message_pb2 import Message, Role
from responsa.chat.v1.turn_pb2 import Turn
from responsa_server.calls.listing import MAX_PAGE_SIZE
from responsa_server.calls.methods import CHAT
from responsa_server.calls.violations import EXAMPLE
from responsa_server.transports.openai.asking import Asked, wrong
from responsa_server.transports.openai.exchange import Exchange
from responsa_server.turns.worker import title_of

_MAX_HISTORY: Final = 32
_MAX_HISTORY_BYTES: Final = 65_536
_MAX_TITLES: Final = 8
_MAX_CONVERSATIONS: Final = 5


async def placed(exchange: Exchange, asked: Asked) -> chat.AskRequest:
    """The question with its conversation, and with those earlier messages that the conversation does not have.

    A chat continues the caller's conversation whose messages are exactly the last ones of the chat. If there is none, because the chat was edited, branched off or begun elsewhere, or if a question of
    the conversation is still being answered, the question begins a new conversation.
    """
    request, earlier = asked.request, asked.earlier
    if asked.previous:
        request.conversation, earlier = await _after(exchange, asked)
    elif request.conversation:
        earlier = ()
    elif earlier:
        request.conversation, earlier = await _continued(exchange, earlier)
    request.options.history.extend(_fitting(earlier))
    return request


async def _continued(
    exchange: Exchange, earlier: Sequence[chat.EarlierMessage]
) -> tuple[str, Sequence[chat.EarlierMessage]]:
    """The conversation of a chat, "" for a new one, and the chat's messages before those of the conversation."""
    # A conversation has its first question's beginning as its title.
    titles = list(dict.fromkeys(title_of(one.text) for one in earlier if one.role == Role.ROLE_USER))
    named = (json.dumps(title, ensure_ascii=False).replace("*", "\\*") for title in titles[-_MAX_TITLES:])
    wanted = chat.ListConversationsRequest(
        page_size=_MAX_CONVERSATIONS, filter=" OR ".join(f"title = {title}" for title in named)
    )
    found = await exchange.answer(CHAT + "ListConversations", wanted, chat.ListConversationsResponse)
    for conversation in found.conversations:
        if conversation.active_turn:
            continue
        messages, complete = await _messages(exchange, conversation.name)
        size = len(messages)
        if complete and 0 < size <= len(earlier) and all(map(_same, messages, earlier[-size:])):
            return conversation.name, earlier[:-size]
    return "", earlier


async def _after(exchange: Exchange, asked: Asked) -> tuple[str, Sequence[chat.EarlierMessage]]:
    """The conversation of the response before this one; a new one with the same messages if it has gone on since."""
    previous = turn_of("previous_response_id", asked.previous)
    turn = await exchange.answer(CHAT + "GetTurn", chat.GetTurnRequest(name=previous), Turn)
    messages, _ = await _messages(exchange, turn.conversation)
    places = [place for place, message in enumerate(messages) if message.turn == turn.name]
    if not places or places[-1] == len(messages) - 1:
        return turn.conversation, ()
    return "", [chat.EarlierMessage(role=one.role, text=one.text) for one in messages[: places[-1] + 1]]


def _fitting(earlier: Sequence[chat.EarlierMessage]) -> Iterator[chat.EarlierMessage]:
    """The last of the earlier messages, at most as many as the contract takes, oldest first."""
    kept: list[chat.EarlierMessage] = []
    size = 0
    for message in reversed(earlier[-_MAX_HISTORY:]):
        size += len(message.text.encode())
        if size > _MAX_HISTORY_BYTES:
            break
        kept.append(message)
    return reversed(kept)


async def _messages(exchange: Exchange, conversation: str) -> tuple[Sequence[Message], bool]:
    """The first messages of a conversation, and whether these are all."""
    wanted = chat.ListMessagesRequest(parent=conversation, page_size=MAX_PAGE_SIZE)
    found = await exchange.answer(CHAT + "ListMessages", wanted, chat.ListMessagesResponse)
    return found.messages, not found.next_page_token


def _same(message: Message, sent: chat.EarlierMessage) -> bool:
    # Some clients strip white space.
    return message.role == sent.role and message.text.strip() == sent.text.strip()


def turn_of(field: str, response: str) -> str:
    """The turn of a response's id. field: what the client calls the id. Raises InvalidRequest."""
    try:
        return f"turns/{UUID(response.removeprefix('resp_'))}"
    except ValueError:
        raise wrong(field, f"must be the id of a response, e.g. resp_{EXAMPLE}") from None
