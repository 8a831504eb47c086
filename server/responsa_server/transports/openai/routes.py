"""The paths of OpenAI's API. Each leads to a call of the contract, whose row in the table of authorisation and whose
limits therefore hold for it."""

from __future__ import annotations

from array import array
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Final, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1.agent_pb2 import Agent
from responsa.chat.v1.turn_pb2 import Turn, TurnState
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_server.calls import status
from responsa_server.calls.chain import Calls
from responsa_server.calls.methods import CHAT
from responsa_server.domain.errors import ResponsaError
from responsa_server.transports.openai.asking import (
    ApiQuestion,
    BodyFields,
    ModelVariant,
    Words,
    agent_of,
    kind_of,
    model_of,
    of_chat,
    of_response,
    parse_fields,
    wrong,
)
from responsa_server.transports.openai.completions import Completion, generate
from responsa_server.transports.openai.conversations import agents, before, turn_of
from responsa_server.transports.openai.exchange import ApiExchange, Json
from responsa_server.transports.openai.following import TurnRelay
from responsa_server.transports.openai.responses import FIRST, ResponseOutput, of_turn
from responsa_server.transports.openai.settings import OpenAiApiSettings
from responsa_server.transports.openai.written import AppendOnlyText

_EMBED: Final = "/responsa.knowledge.v1.KnowledgeService/EmbedTexts"
_CALL_TEXTS: Final = 64
_CALL_BYTES: Final = 200_000

Handler = Callable[[ApiExchange], Awaitable[None]]

_OF_ALL: Final = {
    **dict.fromkeys(("agent", "embedding", "name"), "model"),
    "request_id": "Idempotency-Key",
    "texts": "input",
}
_OF_CHAT: Final = {
    **_OF_ALL,
    "options.history": "messages",
    "conversation": "responsa-conversation",
    **dict.fromkeys(("options.max_output_tokens", "max_output_tokens"), "max_tokens"),
}
_OF_RESPONSES: Final = {
    **_OF_CHAT,
    "options.history": "input",
    "options.max_output_tokens": "max_output_tokens",
    "turn": "previous_response_id",
}
_OF_RESPONSE: Final = {"turn": "response_id"}
_ASK: Final = "send messages to /v1/chat/completions"
_RESPOND: Final = "send the question to /v1/responses"
_NOT_SERVED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("audio", "batches", "containers", "evals", "files", "fine_tuning", "images"), ""),
    **dict.fromkeys(("moderations", "realtime", "responses", "vector_stores", "videos"), ""),
    **dict.fromkeys(("chat", "completions"), _ASK),
    **dict.fromkeys(("assistants", "threads"), _RESPOND),
}
"""The first segments of paths that OpenAI's clients know and that are not served, and what to do instead."""
_TAKEN: Final[Mapping[str, str]] = {
    "conversations": "ask without a conversation; the response names the one that it begins",
    "uploads": "upload documents as Responsa's own API does",
}
"""The same for paths that are the contract's, and that OpenAI's clients take for theirs."""
_CLIENT: Final = b"x-stainless-lang"
"""A header that OpenAI's clients send."""


async def _complete(exchange: ApiExchange) -> None:
    agent = exchange.request.path_params.get("agent")
    marks = exchange.settings.sources_in_text
    parse = partial(of_chat, headers=exchange.request.headers, agent=agent, marks=marks)

    async def generated(question: ApiQuestion) -> bool:
        if question.generation is not None:
            await generate(exchange, question, question.generation)
        return question.generation is not None

    await TurnRelay(exchange).ask(parse, partial(Completion, exchange), generated)


async def _respond(exchange: ApiExchange) -> None:
    def output(question: ApiQuestion) -> ResponseOutput:
        return ResponseOutput(exchange, stream=question.stream, background=question.background)

    await TurnRelay(exchange).ask(partial(of_response, headers=exchange.request.headers), output)


async def _response(exchange: ApiExchange) -> None:
    query = exchange.request.query_params
    turn = await _call_for_turn(exchange, "GetTurn", chat.GetTurnRequest)
    if query.get("stream", "false").lower() != "true":
        await exchange.json(of_turn(turn, exchange, await before(exchange, turn)))
        return
    text = query.get("starting_after", "-1")
    if not text.removeprefix("-").isdecimal() or len(text) > 9:
        raise wrong("starting_after", "must be the sequence_number of an event")
    after = max(-1, int(text))
    output = ResponseOutput(exchange, stream=True, after=after, background=True)
    previous = await before(exchange, turn)
    await TurnRelay(exchange).resume(turn, AppendOnlyText(sent=max(0, after - FIRST)), output, previous)


async def _cancel(exchange: ApiExchange) -> None:
    turn = await _call_for_turn(exchange, "CancelTurn", chat.CancelTurnRequest)
    if not turn.text:
        # An administrator may end the turn of another user, and may not read it.
        if turn.state != TurnState.TURN_STATE_CANCELLED:
            await _call_for_turn(exchange, "GetTurn", chat.GetTurnRequest)
        turn = Turn(name=turn.name, terminal_event=turn.terminal_event)
    await exchange.json(of_turn(turn, exchange, await before(exchange, turn)))


async def _call_for_turn(
    exchange: ApiExchange, method: str, kind: type[chat.GetTurnRequest | chat.CancelTurnRequest]
) -> Turn:
    """Make a call about the turn of the response in the path. The id counts only once the credential was checked."""

    async def read() -> bytes | None:
        name = turn_of("response_id", exchange.request.path_params["id"])
        return kind(name=name).SerializeToString()

    return await exchange.answer(CHAT + method, read, Turn)


async def _models(exchange: ApiExchange) -> None:
    choices = await agents(exchange)
    kinds = [kind for kind in ModelVariant if kind is not ModelVariant.PLAIN]
    data = [
        _model(agent, kind)
        for agent in choices
        for kind in kinds
        if agent.listed or (agent.is_default and kind is ModelVariant.CHORES)
    ]
    await exchange.json({"object": "list", "data": data})


async def _one_model(exchange: ApiExchange) -> None:
    model = exchange.request.path_params["model"]
    wanted = chat.GetAgentRequest(name=agent_of(model))
    await exchange.json(_model(await exchange.answer(CHAT + "GetAgent", wanted, Agent), kind_of(model)))


def _model(agent: Agent, kind: ModelVariant) -> Json:
    return {
        "id": model_of(agent.name.removeprefix("agents/"), kind),
        "object": "model",
        "created": 0,
        "owned_by": "responsa",
        "name": f"{agent.display_name} ({kind})" if kind else agent.display_name,
        "description": agent.description,
    }


class _Texts(BodyFields):
    """The body of a request for embeddings."""

    model: str = Field("", description="must be a string")
    input: Words | Annotated[list[Words], Field(min_length=1, max_length=2048)] = Field(
        [],
        validate_default=True,
        description=(
            "must be a string or 1 to 2048 strings, none of them empty, and not tokens: with LangChain, "
            "set check_embedding_ctx_length=False"
        ),
    )
    dimensions: int | None = Field(None, description="must be a whole number")
    encoding_format: Literal["float", "base64"] = Field("float", description="must be float or base64")


async def _embed(exchange: ApiExchange) -> None:
    fields = _Texts.model_construct()
    parts: list[knowledge.EmbedTextsRequest] = []

    async def first() -> bytes | None:
        nonlocal fields
        fields = parse_fields(_Texts, await exchange.body())
        parts.extend(_parts([fields.input] if isinstance(fields.input, str) else fields.input, fields.model))
        return parts[0].SerializeToString()

    responses = [await exchange.answer(_EMBED, first, knowledge.EmbedTextsResponse)]
    responses += [await exchange.answer(_EMBED, part, knowledge.EmbedTextsResponse) for part in parts[1:]]
    vectors = [vector.values for response in responses for vector in response.vectors]
    if fields.dimensions not in (None, len(vectors[0])):
        raise wrong("dimensions", f"must be {len(vectors[0])}, as the model's vectors, or be left out")
    coded = fields.encoding_format == "base64"
    tokens = sum(response.tokens for response in responses)
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": b64encode(array("f", vector).tobytes()).decode() if coded else [*vector],
        }
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    await exchange.json({"object": "list", "model": responses[0].embedding, "data": data, "usage": usage})


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
class PathRow:
    """A path. call: the call whose rule and limits hold. fields: the names of fields in errors, by those of the contract."""

    method: str
    path: str
    call: str
    handler: Handler
    fields: Mapping[str, str]


ROWS: Final[Sequence[PathRow]] = (
    PathRow("POST", "/v1/chat/completions", CHAT + "Ask", _complete, _OF_CHAT),
    PathRow("POST", "/chat/completions", CHAT + "Ask", _complete, _OF_CHAT),
    PathRow("POST", "/v1/agents/{agent}/chat/completions", CHAT + "Ask", _complete, _OF_CHAT),
    PathRow("POST", "/v1/responses", CHAT + "Ask", _respond, _OF_RESPONSES),
    PathRow("GET", "/v1/responses/{id}", CHAT + "GetTurn", _response, _OF_RESPONSE),
    PathRow("POST", "/v1/responses/{id}/cancel", CHAT + "CancelTurn", _cancel, _OF_RESPONSE),
    PathRow("GET", "/v1/models", CHAT + "ListAgents", _models, _OF_ALL),
    PathRow("GET", "/v1/models/{model:path}", CHAT + "GetAgent", _one_model, _OF_ALL),
    PathRow("POST", "/v1/embeddings", _EMBED, _embed, _OF_ALL),
)


def openai_routes(calls: Calls, settings: OpenAiApiSettings, page: str = "") -> Iterator[BaseRoute]:
    """The routes of all rows, and of what is not served. page: see `ApiExchange`."""
    path = partial(_Endpoint, partial(ApiExchange, calls, settings=settings, page=page), calls)
    yield from (Route(f"{row.path}{slash}", path(row)) for row in ROWS for slash in ("", "/"))
    for name, instead in _NOT_SERVED.items():
        yield Route(f"/v1/{name}{{rest:path}}", path(None, _refusal(name, instead)))


def shadow_routes(calls: Calls, settings: OpenAiApiSettings) -> Iterator[BaseRoute]:
    """The routes of the contract's paths, for OpenAI's clients alone: an answer of another API would look to them like
    one of theirs. They come before the contract's."""
    exchange = partial(ApiExchange, calls, settings=settings)
    for name, instead in _TAKEN.items():
        yield _OfClient(f"/v1/{name}{{rest:path}}", _Endpoint(exchange, calls, None, _refusal(name, instead)))


def _refusal(name: str, instead: str) -> str:
    return f"/v1/{name} is not served; {instead}." if instead else ""


class _OfClient(Route):
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or all(name != _CLIENT for name, _ in scope["headers"]):
            return Match.NONE, {}
        return super().matches(scope)


class _Endpoint:
    """Serves a path. As an object, it gets the requests of all methods from Starlette, and so answers each in this API's shape."""

    def __init__(
        self, exchange: Callable[..., ApiExchange], calls: Calls, row: PathRow | None, refusal: str = ""
    ) -> None:
        """exchange: makes the exchange of a request. row: None for a path that is not served. refusal: its message
        then; "" for the usual one."""
        self._exchange = exchange
        self._calls = calls
        self._row = row
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        row = self._row
        exchange = self._exchange(Request(scope, receive), send, {} if row is None else row.fields)
        try:
            if row is None or scope["method"] != row.method:
                error = status.no_route()
                raise replace(error, message=self._refusal) if self._refusal else error
            await row.handler(exchange)
        except ResponsaError as error:
            await exchange.fail(error)
        except Exception as error:  # the caller gets this API's shape of INTERNAL
            await exchange.fail(self._calls.unforeseen(exchange.call("" if row is None else row.call), error))
