"""The call of ChatService that asks a language model without a question."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn, cast

from responsa.chat.v1 import chat_service_pb2 as pb
from responsa_server.agents.config.build import ConfiguredAgent
from responsa_server.calls.call import caller
from responsa_server.calls.convert import chat, enums
from responsa_server.calls.services.parts import Services
from responsa_server.domain import names
from responsa_server.domain.agents import Meter
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.errors import InvalidRequest, Precondition, Reason
from responsa_server.domain.events import AnswerOutcome
from responsa_server.domain.models import PromptMessage, Role

_MAX_LEVELS: Final = 32
_WRITE_JSON: Final = "Write one JSON object and nothing else."
_FIT: Final = "Write one JSON object that fits this JSON Schema, and nothing else:"
_ROLES = {Speaker.USER: Role.USER, Speaker.ASSISTANT: Role.ASSISTANT}


class GeneratingService:
    """Texts of the agents' language models alone. They belong to no turn, so nothing of them is stored but their usage."""

    def __init__(self, parts: Services) -> None:
        self._agents = parts.agents
        self._quotas = parts.quotas.store
        self._limiter = parts.limiter

    async def GenerateText(self, request: pb.GenerateTextRequest) -> pb.GenerateTextResponse:
        principal = caller()
        if request.messages[-1].role != enums.SPEAKER.number(Speaker.USER):
            raise InvalidRequest.of_field("messages", "messages.last", "must end with a message of the user")
        agent_id, version = names.parse_agent_version(request.agent) if request.agent else ("", None)
        agent = self._agents.find(agent_id)
        if version is not None:
            agent = await self._agents.version(agent_id, version)
        known, _ = names.parse_version(agent.version)
        alone = agent.alone if isinstance(agent, ConfiguredAgent) else None
        if alone is None:
            raise Precondition(
                Reason.AGENT_WITHOUT_MODEL,
                (
                    f"The agent {known} has no language model that could write a text. Name an agent that has "
                    "one, or ask an administrator to set the default model."
                ),
                {"agent": names.agent(known)},
            )
        schema = _schema(request.json_schema)
        if schema is not None and not alone.writes_json:
            remedy = f"must be empty, because the agent {known} writes no JSON; its owner can allow it with model.json_output"
            raise InvalidRequest.of_field("json_schema", "json_schema.allowed", remedy)
        if self._limiter is not None:
            await self._limiter.count_text(principal)
        shape = "" if schema is None else f"{_FIT}\n{request.json_schema}" if schema else _WRITE_JSON
        instructions = "\n\n".join(filter(None, (request.instructions, shape)))
        messages = [PromptMessage(Role.SYSTEM, instructions)] if instructions else []
        messages += [
            PromptMessage(_ROLES[enums.SPEAKER.value(earlier.role) or Speaker.USER], earlier.text)
            for earlier in request.messages
        ]
        limit, meter, model = request.max_output_tokens, Meter(), alone.model.name
        charge = await self._quotas.charge(principal, alone.demand(messages, limit))
        try:
            written = await alone.write(principal, messages, limit, charge.grant, meter, schema)
            model = written.model
        finally:
            await self._quotas.settle(principal, charge, meter.usage, known, model)
        outcome = AnswerOutcome.COMPLETE if written.complete else AnswerOutcome.OUTPUT_LIMIT
        return pb.GenerateTextResponse(
            text=written.text,
            outcome=enums.ANSWER_OUTCOME.number(outcome),
            agent_version=agent.version,
            model=model,
            usage=chat.usage(meter.usage),
        )


def _schema(text: str) -> Mapping[str, object] | None:
    """The schema in a request; None for none. Raises InvalidRequest."""
    if not text:
        return None
    try:
        value: object = json.loads(text, parse_constant=_no_json)
        if isinstance(value, dict) and _levels(cast("object", value)) <= _MAX_LEVELS:
            return cast("Mapping[str, object]", value)
    except (ValueError, RecursionError):
        pass
    remedy = f"must be a JSON object with at most {_MAX_LEVELS} levels: a JSON Schema, or {{}} for any object"
    raise InvalidRequest.of_field("json_schema", "json_schema", remedy)


def _no_json(name: str) -> NoReturn:
    raise ValueError(name)


def _levels(value: object) -> int:
    """How deeply a value is nested. Raises RecursionError."""
    if isinstance(value, dict):
        value = [*cast("Mapping[str, object]", value).values()]
    if not isinstance(value, list):
        return 0
    return 1 + max(map(_levels, cast("Sequence[object]", value)), default=0)
