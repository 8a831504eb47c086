"""An agent's language model alone: a text outside any turn, without the agent's prompts, documents and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.agents.engine.asking import (
    ModelCall,
    Pricing,
    StructuredInvalid,
    json_object_of,
    may_write,
    model_unavailable,
    prompt_bytes,
)
from responsa_server.agents.engine.config import BYTES_A_TOKEN
from responsa_server.agents.engine.node import OverBudget, Run, TurnLimits
from responsa_server.domain.agents import Meter
from responsa_server.domain.errors import Exhausted, Reason
from responsa_server.domain.events import MAX_ANSWER_BYTES
from responsa_server.domain.models import (
    ChatModel,
    ModelError,
    ModelFault,
    ModelPrompt,
    PromptMessage,
)
from responsa_server.domain.people import Principal
from responsa_server.domain.quotas import Demand, Grant
from responsa_server.telemetry.stages import stage
from responsa_server.text.disarming import disarm

_SECONDS: Final = 60.0
"""How long a text may take."""


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """A text of a model, and which model wrote it. complete: whether it was not cut at its limit."""

    text: str
    model: str
    complete: bool


@dataclass(frozen=True, slots=True)
class TextGenerator:
    """The models of an agent. most_tokens: the agent's limit of a text. writes_json: whether a text may be JSON."""

    model: ChatModel
    price: Pricing
    most_tokens: int
    temperature: float | None
    writes_json: bool

    def demand(self, messages: Sequence[PromptMessage], most_tokens: int) -> Demand:
        """The most that a text can use. No token is shorter than a byte. most_tokens: the caller's limit, 0 for the agent's."""
        read = prompt_bytes(messages)
        return Demand.of_price(self.price(), read + self._most(most_tokens), 0, read)

    async def write(
        self,
        caller: Principal,
        messages: Sequence[PromptMessage],
        most_tokens: int,
        grant: Grant | None,
        meter: Meter,
        schema: Mapping[str, object] | None = None,
    ) -> GeneratedText:
        """Write a text, at most 24 KiB. grant: what it may use; None for no limit. meter: counts what it uses, also if
        it fails. schema: that of the JSON object that a complete text is, {} for any object; None for a text that need
        be no JSON. The caller has told the model. Raises Unavailable (MODEL_UNAVAILABLE), Exhausted
        (QUOTA_EXHAUSTED)."""
        run = Run(
            caller,
            lambda _: None,
            meter.add,
            limits=TurnLimits().within(grant),
            spent=lambda: meter.usage,
            until=asyncio.get_running_loop().time() + _SECONDS,
        )
        try:
            prompt = ModelPrompt(
                messages,
                "texts",
                schema=schema or None,
                max_tokens=may_write(run, self._most(most_tokens), messages, self.price()),
                temperature=self.temperature,
                purpose="generate_text",
            )
            with stage("generate_text"):
                call = ModelCall(self.model, prompt, run, self.price)
                text, complete = await call.read_whole(_SECONDS, MAX_ANSWER_BYTES)
            text = text.encode()[:MAX_ANSWER_BYTES].decode(errors="ignore")
            if schema is None:
                text = disarm(text, [message.text for message in messages], most_bytes=MAX_ANSWER_BYTES)
            elif complete:
                text = json_object_of(text)
            return GeneratedText(text, call.model, complete)
        except StructuredInvalid as error:
            fault = ModelError(ModelFault.MALFORMED, str(error))
            raise model_unavailable(fault, self.model.name) from error
        except OverBudget:
            message = (
                "The text would take more than your quota has left. Ask again when your quota resets, or "
                "ask an administrator for a larger one."
            )
            raise Exhausted(Reason.QUOTA_EXHAUSTED, message) from None
        except ModelError as error:
            raise model_unavailable(error, self.model.name) from error

    def _most(self, requested: int) -> int:
        return min(requested or self.most_tokens, self.most_tokens, MAX_ANSWER_BYTES // BYTES_A_TOKEN)
