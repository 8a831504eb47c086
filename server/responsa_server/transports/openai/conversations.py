"""The conversation that a question belongs to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1.agent_pb2 import Agent
from responsa.chat.v1.message_pb2 import Message, Role
from responsa.chat.v1.turn_pb2 import Turn
from responsa_server.calls.listing import MAX_PAGE_SIZE
from responsa_server.calls.methods import CHAT
from responsa_server.calls.violations import EXAMPLE
from responsa_server.transports.openai.asking import MOST_TOKENS, ApiQuestion, wrong
from responsa_server.transports.openai.exchange import ApiExchange
from responsa_server.transports.openai.marking import is_written
from responsa_server.turns.worker import title_of

_MAX_HISTORY: Final = 32
_MAX_HISTORY_BYTES: Final = 65_536
_MAX_TITLES: Final = 8
_MAX_CONVERSATIONS: Final = 5


async def place_question(exchange: ApiExchange, question: ApiQuestion) -> chat.AskRequest:
    """The question with its conversation, and with those earlier messages that the conversation does not have.

    A chat continues the caller's conversation whose messages are exactly the last ones of the chat. If there is none,
    because the chat was edited, branched off or begun elsewhere, or if a question of the conversation is still being
    answered, the question begins a new conversation.
    """
    request, earlier = question.request, question.earlier
    if question.previous:
        request.conversation, earlier = await _after(exchange, question)
    elif request.conversation:
        earlier = ()
    elif earlier:
        request.conversation, earlier = await _find_conversation(exchange, earlier)
    request.options.history.extend(_fitting(earlier))
    return request


async def limit_answer(exchange: ApiExchange, question: ApiQuestion) -> int | None:
    """Tell the agent's language model how long the answer may be. Returns the limit that only this API can keep,
    because the agent has no language model; None for none. Raises ResponsaError if the agent cannot write the JSON that
    the request wants."""
    if question.shape is None and question.most_tokens is None:
        return None
    agent = await _agent(exchange, question.request.agent)
    if question.shape is not None:
        exchange.fields["json_schema"] = question.shape.field
        if not agent.writes_json:
            # The call that would come after the answer says why it cannot be made.
            refused = chat.GenerateTextRequest(
                agent=agent.name,
                messages=[chat.EarlierMessage(role=Role.ROLE_USER, text=question.request.text)],
                json_schema=question.shape.schema,
            )
            await exchange.answer(CHAT + "GenerateText", refused, chat.GenerateTextResponse)
        return None
    if not agent.models:
        return question.most_tokens
    question.request.options.max_output_tokens = min(question.most_tokens or MOST_TOKENS, MOST_TOKENS)
    return None


async def _agent(exchange: ApiExchange, name: str) -> Agent:
    """The agent that a question names, or one of whose versions it names; the default one for ""."""
    if name:
        wanted = chat.GetAgentRequest(name="/".join(name.split("/")[:2]))
        return await exchange.answer(CHAT + "GetAgent", wanted, Agent)
    candidates = await agents(exchange)
    # Without a default agent, the question itself is refused.
    return next((agent for agent in candidates if agent.is_default), Agent(writes_json=True))


async def agents(exchange: ApiExchange) -> Sequence[Agent]:
    """All agents."""
    agents: list[Agent] = []
    wanted = chat.ListAgentsRequest(page_size=200)
    while True:
        page = await exchange.answer(CHAT + "ListAgents", wanted, chat.ListAgentsResponse)
        agents += page.agents
        if not page.next_page_token:
            return agents
        wanted.page_token = page.next_page_token


async def _find_conversation(
    exchange: ApiExchange, earlier: Sequence[chat.EarlierMessage]
) -> tuple[str, Sequence[chat.EarlierMessage]]:
    """The conversation of a chat, "" for a new one, and the chat's messages before those of the conversation."""
    # A conversation has its first question's beginning as its title: that of the chat, or of a part that was branched off.
    titles = list(dict.fromkeys(title_of(item.text) for item in earlier if item.role == Role.ROLE_USER))
    named = (
        json.dumps(title, ensure_ascii=False).replace("*", "\\*")
        for title in dict.fromkeys((*titles[:1], *titles[1 - _MAX_TITLES :]))
    )
    wanted = chat.ListConversationsRequest(
        page_size=_MAX_CONVERSATIONS, filter=" OR ".join(f"title = {title}" for title in named)
    )
    page = await exchange.answer(CHAT + "ListConversations", wanted, chat.ListConversationsResponse)
    known: list[Message] = []
    for conversation in page.conversations:
        if conversation.active_turn:
            continue
        messages, complete = await _messages(exchange, conversation.name)
        size = len(messages)
        fits = complete and 0 < size <= len(earlier)
        # The marks of long answers take a while to compare.
        if fits and await asyncio.to_thread(all, map(_same, messages, earlier[-size:])):
            return conversation.name, await asyncio.to_thread(_bare, earlier[:-size], known)
        known += messages
    return "", await asyncio.to_thread(_bare, earlier, known)


def _bare(earlier: Sequence[chat.EarlierMessage], known: Sequence[Message]) -> Sequence[chat.EarlierMessage]:
    """The earlier messages of a chat. Those answers that are known lose the marks, sources and passages with which they were sent."""
    stored = [message for message in known if message.citations or message.refusal_reason]
    return [
        next(
            (chat.EarlierMessage(role=item.role, text=each.text) for each in stored if _same(each, item)),
            item,
        )
        for item in earlier
    ]


async def before(exchange: ApiExchange, turn: Turn) -> str:
    """The id of the turn before this one in its conversation; "" if it is the first. turn: without its conversation if
    the caller may not read it."""
    if not turn.conversation:
        return ""
    earlier = f'conversation = "{turn.conversation}" AND create_time < "{turn.create_time.ToJsonString()}"'
    wanted = chat.ListTurnsRequest(page_size=1, filter=earlier)
    page = await exchange.answer(CHAT + "ListTurns", wanted, chat.ListTurnsResponse)
    return next((earlier.name.removeprefix("turns/") for earlier in page.turns), "")


async def _after(exchange: ApiExchange, question: ApiQuestion) -> tuple[str, Sequence[chat.EarlierMessage]]:
    """The conversation of the response before this one; a new one with the same messages if it has gone on since."""
    previous = turn_of("previous_response_id", question.previous)
    turn = await exchange.answer(CHAT + "GetTurn", chat.GetTurnRequest(name=previous), Turn)
    messages, _ = await _messages(exchange, turn.conversation)
    indices = [index for index, message in enumerate(messages) if message.turn == turn.name]
    if not indices or indices[-1] == len(messages) - 1:
        return turn.conversation, ()
    return "", [chat.EarlierMessage(role=item.role, text=item.text) for item in messages[: indices[-1] + 1]]


def _fitting(earlier: Sequence[chat.EarlierMessage]) -> Iterator[chat.EarlierMessage]:
    """The last of the earlier messages, at most as many as the contract takes, oldest first."""
    fitting: list[chat.EarlierMessage] = []
    size = 0
    for message in reversed(earlier[-_MAX_HISTORY:]):
        size += len(message.text.encode())
        if size > _MAX_HISTORY_BYTES:
            break
        fitting.append(message)
    return reversed(fitting)


async def _messages(exchange: ApiExchange, conversation: str) -> tuple[Sequence[Message], bool]:
    """The first messages of a conversation, and whether these are all."""
    wanted = chat.ListMessagesRequest(parent=conversation, page_size=MAX_PAGE_SIZE)
    page = await exchange.answer(CHAT + "ListMessages", wanted, chat.ListMessagesResponse)
    return page.messages, not page.next_page_token


def _same(message: Message, sent: chat.EarlierMessage) -> bool:
    # Below a refusal stand the closest passages.
    refused = message.refusal_reason and sent.text.startswith(f"{message.text}\n\n**")
    return message.role == sent.role and bool(refused or is_written(message, sent.text))


def turn_of(field: str, response: str) -> str:
    """The turn of a response's id. field: what the client calls the id. Raises InvalidRequest."""
    try:
        return f"turns/{UUID(response.removeprefix('resp_'))}"
    except ValueError:
        raise wrong(field, f"must be the id of a response, e.g. resp_{EXAMPLE}") from None
