"""The paths of OpenAI's API. Each leads to a call of the contract, whose row in the table of authorisation and whose limits therefore hold for it."""

from __future__ import annotations

from array import array
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1.agent_pb2 import Agent
from responsa.chat.v1.turn_pb2 import Turn, TurnState
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_server.calls import status
from responsa_server.calls.chain import Calls
from responsa_server.calls.json_types import qualified
from responsa_server.calls.methods import CHAT
from responsa_server.domain.errors import ResponsaError
from responsa_server.transports.openai.asking import (
    Asked,
    Fields,
    Words,
    checked,
    of_chat,
    of_response,
    wrong,
)
from responsa_server.transports.openai.completions import Completion
from responsa_server.transports.openai.exchange import Exchange, Json
from responsa_server.transports.openai.following import Followed
from responsa_server.transports.openai.places import turn_of
from responsa_server.transports.openai.responses import FIRST, ResponseOutput, of_turn
from responsa_server.transports.openai.written import Written

_EMBED: Final = "/responsa.knowledge.v1.KnowledgeService/EmbedTexts"
_CALL_TEXTS: Final = 64
_CALL_BYTES: Final = 200_000

Handler = Callable[[Exchange], Awaitable[None]]

_OF_ALL: Final = {
    **dict.fromkeys(("agent", "embedding", "name"), "model"),
    "request_id": "Idempotency-Key",
    "texts": "input",
}
_OF_CHAT: Final = {
    **_OF_ALL,
    "options.history": "messages",
    "conversation": "responsa-conversation",
}
_OF_RESPONSES: Final = {
    **_OF_CHAT,
    "options.history": "input",
    "turn": "previous_response_id",
}
_OF_RESPONSE: Final = {"turn": "response_id"}
_NOT_SERVED: Final = (
    "assistants",
    "audio",
    "batches",
    "chat",
    "completions",
    "containers",
    "evals",
    "files",
    "fine_tuning",
    "images",
    "moderations",
    "realtime",
    "responses",
    "threads",
    "vector_stores",
    "videos",
)
"""The first segments of paths that OpenAI's clients know and that are not served."""


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
    turn = await _stored(exchange, "GetTurn", chat.GetTurnRequest)
    if query.get("stream", "false").lower() != "true":
        await exchange.json(of_turn(turn, exchange))
        return
    text = query.get("starting_after", "-1")
    if not text.removeprefix("-").isdecimal() or len(text) > 9:
        raise wrong("starting_after", "must be the sequence_number of an event")
    after = max(-1, int(text))
    output = ResponseOutput(exchange, stream=True, after=after, background=True)
    await Followed(exchange).resume(turn, Written(sent=max(0, after - FIRST)), output)


async def _cancel(exchange: Exchange) -> None:
    found = await _stored(exchange, "CancelTurn", chat.CancelTurnRequest)
    if not found.text:
        # An administrator may end the turn of another user, and may not read it.
        if found.state != TurnState.TURN_STATE_CANCELLED:
            await _stored(exchange, "GetTurn", chat.GetTurnRequest)
        found = Turn(name=found.name, terminal_event=found.terminal_event)
    await exchange.json(of_turn(found, exchange))


async def _stored(
    exchange: Exchange, method: str, kind: type[chat.GetTurnRequest | chat.CancelTurnRequest]
) -> Turn:
    """Make a call about the turn of the response in the path. The id counts only once the credential was checked."""

    async def read() -> bytes | None:
        name = turn_of("response_id", exchange.request.path_params["id"])
        return kind(name=name).SerializeToString()

    return await exchange.answer(CHAT + method, read, Turn)


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
    wanted = chat.GetAgentRequest(name=qualified("agents", exchange.request.path_params["model"]))
    await exchange.json(_model(await exchange.answer(CHAT + "GetAgent", wanted, Agent)))


def _model(agent: Agent) -> Json:
    return {
        "id": agent.name.removeprefix("agents/"),
        "object": "model",
        "created": 0,
        "owned_by": "responsa",
        "name": agent.display_name,
        "description": agent.description,
    }


class _Texts(Fields):
    """The body of a request for embeddings."""

    model: str = Field("", description="must be a text")
    input: Words | Annotated[list[Words], Field(min_length=1, max_length=2048)] = Field(
        [],
        validate_default=True,
        description="must be a text or 1 to 2048 texts, none of them empty, and not tokens: with LangChain, set check_embedding_ctx_length=False",
    )
    dimensions: int | None = Field(None, description="must be a whole number")
    encoding_format: Literal["float", "base64"] = Field("float", description="must be float or base64")


async def _embed(exchange: Exchange) -> None:
    given = _Texts.model_construct()
    parts: list[knowledge.EmbedTextsRequest] = []

    async def first() -> bytes | None:
        nonlocal given
        given = checked(_Texts, await exchange.body())
        parts.extend(_parts([given.input] if isinstance(given.input, str) else given.input, given.model))
        return parts[0].SerializeToString()

    found = [await exchange.answer(_EMBED, first, knowledge.EmbedTextsResponse)]
    found += [await exchange.answer(_EMBED, part, knowledge.EmbedTextsResponse) for part in parts[1:]]
    vectors = [vector.values for one in found for vector in one.vectors]
    if given.dimensions not in (None, len(vectors[0])):
        raise wrong("dimensions", f"must be {len(vectors[0])}, as the model's vectors, or be left out")
    coded = given.encoding_format == "base64"
    tokens = sum(one.tokens for one in found)
    data = [
        {
            "object": "embedding",
            "index": place,
            "embedding": b64encode(array("f", vector).tobytes()).decode() if coded else [*vector],
        }
        for place, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    await exchange.json({"object": "list", "model": found[0].embedding, "data": data, "usage": usage})


def _parts(texts: Sequence[str], model: str) -> Iterator[knowledge.EmbedTextsRequest]:
    """The texts in requests that a call takes."""
    part, size = list[str](), 0
    for text in texts:
        more = len(text.encode(errors="replace"))
        if part and (len(part) == _CALL_TEXTS or size + more > _CALL_BYTES):
            yield knowledge.EmbedTextsRequest(texts=part, embedding=model)
            part, size = [], 0
        part.append(text)
        size += more
    yield knowledge.EmbedTextsRequest(texts=part, embedding=model)


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
    Row("GET", "/v1/responses/{id}", CHAT + "GetTurn", _response, _OF_RESPONSE),
    Row("POST", "/v1/responses/{id}/cancel", CHAT + "CancelTurn", _cancel, _OF_RESPONSE),
    Row("GET", "/v1/models", CHAT + "ListAgents", _models, _OF_ALL),
    Row("GET", "/v1/models/{model:path}", CHAT + "GetAgent", _one_model, _OF_ALL),
    Row("POST", "/v1/embeddings", _EMBED, _embed, _OF_ALL),
)


def openai_routes(calls: Calls) -> Iterator[BaseRoute]:
    """The routes of all rows, and of what is not served."""
    yield from (Route(row.path, _Path(calls, row)) for row in ROWS)
    yield from (Route(f"/v1/{name}{{rest:path}}", _Path(calls, None)) for name in _NOT_SERVED)


class _Path:
    """Serves a path. As an object, it gets the requests of all methods from Starlette, and so answers each in this API's shape."""

    def __init__(self, calls: Calls, row: Row | None) -> None:
        """row: None for a path that is not served."""
        self._calls = calls
        self._row = row

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        row = self._row
        exchange = Exchange(self._calls, Request(scope, receive), send, {} if row is None else row.fields)
        try:
            if row is None or scope["method"] != row.method:
                raise status.no_route()
            await row.handler(exchange)
        except ResponsaError as error:
            await exchange.fail(error)
        except Exception as error:  # the caller gets this API's shape of INTERNAL
            await exchange.fail(self._calls.unforeseen(exchange.call("" if row is None else row.call), error))
