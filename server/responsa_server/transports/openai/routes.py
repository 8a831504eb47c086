"""The paths of OpenAI's API. Each leads to a call of the contract, whose row in the table of authorisation and whose limits therefore hold for it."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1.agent_pb2 import Agent
from responsa.chat.v1.turn_pb2 import Turn
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_server.calls import status
from responsa_server.calls.chain import Calls
from responsa_server.domain.errors import ResponsaError
from responsa_server.transports.openai.asking import Asked, agent_of, of_chat, of_response, value, wrong
from responsa_server.transports.openai.completions import Completion
from responsa_server.transports.openai.exchange import CHAT, Exchange
from responsa_server.transports.openai.following import Followed
from responsa_server.transports.openai.places import turn_of
from responsa_server.transports.openai.responses import FIRST, ResponseOutput, of_turn
from responsa_server.transports.openai.written import Written

_EMBED: Final = "/responsa.knowledge.v1.KnowledgeService/EmbedTexts"
_CALL_TEXTS: Final = 64
_CALL_BYTES: Final = 200_000
_MAX_TEXTS: Final = 2048

Handler = Callable[[Exchange], Awaitable[None]]

_OF_ALL: Final = {
    "agent": "model",
    "name": "model",
    "request_id": "Idempotency-Key",
    "embedding": "model",
    "texts": "input",
}
_OF_CHAT: Final = {
    **_OF_ALL,
    "text": "messages",
    "options.history": "messages",
    "conversation": "responsa-conversation",
}
_OF_RESPONSES: Final = {
    **_OF_CHAT,
    "text": "input",
    "options.history": "input",
    "name": "response_id",
    "turn": "response_id",
}


async def _complete(exchange: Exchange) -> None:
    agent = exchange.request.path_params.get("agent")
    parse = partial(of_chat, headers=exchange.request.headers, agent=agent)
    await Followed(exchange).ask(parse, partial(Completion, exchange))


async def _respond(exchange: Exchange) -> None:
    def output(asked: Asked) -> ResponseOutput:
        return ResponseOutput(exchange, stream=asked.stream, background=asked.background)

    await Followed(exchange).ask(partial(of_response, headers=exchange.request.headers), output)


async def _response(exchange: Exchange) -> None:
    query = exchange.request.query_params
    turn = turn_of(exchange.request.path_params["id"])
    if query.get("stream", "false").lower() != "true":
        found = await exchange.answer(CHAT + "GetTurn", chat.GetTurnRequest(name=turn), Turn)
        await exchange.json(of_turn(found, exchange))
        return
    text = query.get("starting_after", "-1")
    if not text.removeprefix("-").isdecimal() or len(text) > 9:
        raise wrong("starting_after", "must be the sequence_number of an event")
    after = max(-1, int(text))
    output = ResponseOutput(exchange, stream=True, after=after, background=True)
    await Followed(exchange).resume(turn, Written(sent=max(0, after - FIRST)), output)


async def _cancel(exchange: Exchange) -> None:
    name = turn_of(exchange.request.path_params["id"])
    found = await exchange.answer(CHAT + "CancelTurn", chat.CancelTurnRequest(name=name), Turn)
    await exchange.json(of_turn(found, exchange))


async def _models(exchange: Exchange) -> None:
    found: list[Agent] = []
    wanted = chat.ListAgentsRequest(page_size=200)
    while True:
        page = await exchange.answer(CHAT + "ListAgents", wanted, chat.ListAgentsResponse)
        found += page.agents
        if not page.next_page_token:
            break
        wanted.page_token = page.next_page_token
    await exchange.json({"object": "list", "data": [_model(agent) for agent in found]})


async def _one_model(exchange: Exchange) -> None:
    wanted = chat.GetAgentRequest(name=agent_of(exchange.request.path_params["model"]))
    await exchange.json(_model(await exchange.answer(CHAT + "GetAgent", wanted, Agent)))


def _model(agent: Agent) -> Mapping[str, object]:
    return {
        "id": agent.name.removeprefix("agents/"),
        "object": "model",
        "created": 0,
        "owned_by": "responsa",
        "name": agent.display_name,
        "description": agent.description,
    }


async def _embed(exchange: Exchange) -> None:
    body: dict[str, Any] = {}
    parts: list[Sequence[str]] = []

    async def read() -> bytes | None:
        body.update(await exchange.body())
        parts.extend(_parts(_texts(body)))
        return _request(body, parts[0]).SerializeToString()

    found: list[knowledge.EmbedTextsResponse] = []

    async def send(message: object) -> None:
        assert isinstance(message, knowledge.EmbedTextsResponse)
        found.append(message)

    await exchange.calls.serve(exchange.call(_EMBED), read, send)
    for part in parts[1:]:
        found.append(await exchange.answer(_EMBED, _request(body, part), knowledge.EmbedTextsResponse))
    vectors = [vector.values for one in found for vector in one.vectors]
    dimensions = value(body, "dimensions", int, len(vectors[0]))
    if dimensions != len(vectors[0]):
        raise wrong("dimensions", f"must be {len(vectors[0])}, as the model's vectors, or be left out")
    coded = body.get("encoding_format") == "base64"
    tokens = sum(one.tokens for one in found)
    places = count()
    await exchange.json(
        {
            "object": "list",
            "model": found[0].embedding,
            "data": [
                {
                    "object": "embedding",
                    "index": next(places),
                    "embedding": base64.b64encode(array("f", vector).tobytes()).decode()
                    if coded
                    else [*vector],
                }
                for vector in vectors
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _texts(body: Mapping[str, Any]) -> Sequence[str]:
    given = body.get("input")
    texts = [given] if isinstance(given, str) else value(body, "input", list, [])
    if not 1 <= len(texts) <= _MAX_TEXTS or not all(isinstance(text, str) and text for text in texts):
        raise wrong(
            "input",
            f"must be a text or 1 to {_MAX_TEXTS} texts, none of them empty, and not tokens: with LangChain, set check_embedding_ctx_length=False",
        )
    if value(body, "encoding_format", str, "float") not in ("float", "base64"):
        raise wrong("encoding_format", "must be float or base64")
    return texts


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts in groups that a call takes."""
    part, size = list[str](), 0
    for text in texts:
        more = len(text.encode(errors="replace"))
        if part and (len(part) == _CALL_TEXTS or size + more > _CALL_BYTES):
            yield part
            part, size = [], 0
        part.append(text)
        size += more
    yield part


def _request(body: Mapping[str, Any], texts: Sequence[str]) -> knowledge.EmbedTextsRequest:
    return knowledge.EmbedTextsRequest(texts=texts, embedding=value(body, "model", str, ""))


@dataclass(frozen=True, slots=True)
class Row:
    """A path. call: the call whose rule and limits hold. fields: the names of fields in errors, by those of the contract."""

    method: str
    path: str
    call: str
    handler: Handler
    fields: Mapping[str, str]


ROWS: Final[Sequence[Row]] = (
    Row("POST", "/v1/chat/completions", CHAT + "Ask", _complete, _OF_CHAT),
    Row("POST", "/chat/completions", CHAT + "Ask", _complete, _OF_CHAT),
    Row("POST", "/v1/agents/{agent}/chat/completions", CHAT + "Ask", _complete, _OF_CHAT),
    Row("POST", "/v1/responses", CHAT + "Ask", _respond, _OF_RESPONSES),
    Row("GET", "/v1/responses/{id}", CHAT + "GetTurn", _response, _OF_RESPONSES),
    Row("POST", "/v1/responses/{id}/cancel", CHAT + "CancelTurn", _cancel, _OF_RESPONSES),
    Row("GET", "/v1/models", CHAT + "ListAgents", _models, _OF_ALL),
    Row("GET", "/v1/models/{model:path}", CHAT + "GetAgent", _one_model, _OF_ALL),
    Row("POST", "/v1/embeddings", _EMBED, _embed, _OF_ALL),
)


def openai_routes(calls: Calls) -> Iterator[BaseRoute]:
    """The routes of all rows."""
    for path in dict.fromkeys(row.path for row in ROWS):
        yield Route(path, _Path(calls, {row.method: row for row in ROWS if row.path == path}))


class _Path:
    """Serves a path. As an object, it gets the requests of all methods from Starlette, and so answers each in this API's shape."""

    def __init__(self, calls: Calls, rows: Mapping[str, Row]) -> None:
        self._calls = calls
        self._rows = rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        row = self._rows.get(scope["method"])
        exchange = Exchange(self._calls, Request(scope, receive), send, {} if row is None else row.fields)
        try:
            if row is None:
                raise status.no_route()
            await row.handler(exchange)
        except ResponsaError as error:
            await exchange.fail(error)
