"""Asks a language model about a document that is being ingested. The call is limited in size and time, and nothing depends on the answer being right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Final, TypeVar

from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from responsa_server.agents.engine.node import NodeModel
from responsa_server.agents.engine.prompts import PromptError, PromptSet, Untrusted, nonce, unfenced
from responsa_server.domain.models import (
    ChatModel,
    Ended,
    ModelError,
    ModelPrompt,
    Spent,
    TextPiece,
    Withdrawn,
)

_MOST_ANSWER_CHARS: Final = 16 * 1024
_MOST_TOKENS: Final = 500

Answer = TypeVar("Answer", bound=NodeModel)


class NoAnswer(Exception):
    """A model's answer cannot be used; the text says why."""


FAILURES: Final = (NoAnswer, ModelError, TimeoutError, PromptError, KeyError, OSError)
"""The errors of `IngestionModel.ask`."""


class IngestionModel:
    """A model for documents.

    prompts: returns the prompts of this package. It is called for each question, so a changed file counts at once. It may block, and may raise OSError and
    PromptError. seconds: the maximum time of a call.
    """

    def __init__(self, model: ChatModel, prompts: Callable[[], PromptSet], *, seconds: float) -> None:
        self._model = model
        self._prompts = prompts
        self._seconds = seconds

    async def ask(
        self,
        prompt: str,
        form: type[Answer],
        trusted: Mapping[str, object],
        texts: Mapping[str, str],
        log: FilteringBoundLogger,
    ) -> Answer:
        """Ask by a prompt. texts: texts of the document, by variable; the model gets them as data between marks. form: the form of the answer. log: names the tenant and
        the operation; the tokens and the cost of the call are logged there, because no turn records them.

        Raises one of FAILURES.
        """
        prompts = await asyncio.to_thread(self._prompts)
        mark, hints, schema = nonce("", None), prompts.front(prompt).hints, form.model_json_schema()
        messages = prompts.render(
            prompt, {**trusted, "formats": json.dumps(schema)}, Untrusted("", others=texts), mark
        )
        request = ModelPrompt(
            messages,
            "documents",
            schema=schema,
            max_tokens=hints.max_output_tokens or _MOST_TOKENS,
            temperature=hints.temperature,
            purpose=prompt,
            patience_seconds=self._seconds,
        )
        async with asyncio.timeout(self._seconds):
            said = unfenced(await self._text(request, log), mark)
        try:
            return form.model_validate_json(said[said.find("{") : said.rfind("}") + 1])
        except ValidationError:
            raise NoAnswer("the answer does not fit the schema") from None

    async def _text(self, request: ModelPrompt, log: FilteringBoundLogger) -> str:
        said, size = list[str](), 0
        spent: Spent | None = None
        try:
            async with aclosing(self._model.stream(request)) as pieces:
                async for piece in pieces:
                    match piece:
                        case TextPiece(text):
                            said.append(text)
                            size += len(text)
                            if size > _MOST_ANSWER_CHARS:
                                raise NoAnswer("the answer is too long")
                        case Withdrawn(keep):
                            said = ["".join(said)[:keep]]
                        case Spent():
                            spent = piece
                        case Ended(complete=False):
                            raise NoAnswer("the answer is cut off")
                        case _:
                            pass
        finally:
            if spent is not None:
                log.info(
                    "document_model_used",
                    model=spent.model,
                    purpose=request.purpose,
                    input_tokens=spent.usage.input_tokens,
                    output_tokens=spent.usage.output_tokens,
                    cost_micros=spent.usage.cost_micros,
                    unpriced_tokens=spent.usage.unpriced_tokens,
                )
        return "".join(said)
