"""Asks a model for data in work that belongs to no turn, such as the description of a document, by a prompt of the package that asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Final, TypeVar

from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from responsa_server.agents.engine.node import NodeModel
from responsa_server.agents.engine.prompts import PromptError, PromptSet, Untrusted, neutral, nonce, unfence
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
"""The errors of `BackgroundModel.ask`."""


class BackgroundModel:
    """A model for work in the background, which belongs to no turn.

    subject: what the work is about, such as `document`; the label of requests, and of the log's entries. prompts:
    returns the prompts of the package that asks. It is called for each question, so a changed file counts at once. It
    may block, and may raise OSError and PromptError. seconds: the maximum time of a call.
    """

    def __init__(
        self, model: ChatModel, subject: str, prompts: Callable[[], PromptSet], *, seconds: float
    ) -> None:
        self._model = model
        self._subject = subject
        self._prompts = prompts
        self._seconds = seconds

    async def ask(
        self,
        prompt: str,
        form: type[Answer],
        trusted: Mapping[str, object],
        texts: Mapping[str, str],
        log: FilteringBoundLogger,
        spent: Callable[[Spent], None] = lambda _: None,
    ) -> Answer:
        """Ask by a prompt. texts: texts that nobody can trust, by variable; the model gets them as data between marks.
        form: the form of the answer. log: names the tenant and the work; the tokens and the cost of the call are logged
        there, because no turn records them. spent: receives the cost, also of a call that fails.

        Raises one of FAILURES.
        """
        prompts = await asyncio.to_thread(self._prompts)
        mark, hints, schema = nonce("", None), prompts.front(prompt).hints, form.model_json_schema()
        messages = prompts.render(
            prompt, {**trusted, "formats": json.dumps(schema)}, Untrusted("", others=texts), mark
        )
        request = ModelPrompt(
            messages,
            f"{self._subject}s",
            schema=schema,
            max_tokens=hints.max_output_tokens or _MOST_TOKENS,
            temperature=hints.temperature,
            purpose=prompt,
            patience_seconds=self._seconds,
        )
        async with asyncio.timeout(self._seconds):
            answer = unfence(await self._text(request, log, spent), mark)
        try:
            return form.model_validate_json(answer[answer.find("{") : answer.rfind("}") + 1])
        except ValidationError:
            raise NoAnswer("the answer does not fit the schema") from None

    async def _text(
        self, request: ModelPrompt, log: FilteringBoundLogger, spent: Callable[[Spent], None]
    ) -> str:
        texts, size = list[str](), 0
        cost: Spent | None = None
        try:
            async with aclosing(self._model.stream(request)) as pieces:
                async for piece in pieces:
                    match piece:
                        case TextPiece(text):
                            texts.append(text)
                            size += len(text)
                            if size > _MOST_ANSWER_CHARS:
                                raise NoAnswer("the answer is too long")
                        case Withdrawn(keep):
                            texts = ["".join(texts)[:keep]]
                        case Spent():
                            cost = piece
                        case Ended(complete=False):
                            raise NoAnswer("the answer is cut off")
                        case _:
                            pass
        finally:
            if cost is not None:
                spent(cost)
                log.info(
                    f"{self._subject}_model_used",
                    model=cost.model,
                    purpose=request.purpose,
                    input_tokens=cost.usage.input_tokens,
                    output_tokens=cost.usage.output_tokens,
                    cost_micros=cost.usage.cost_micros,
                    unpriced_tokens=cost.usage.unpriced_tokens,
                )
        return "".join(texts)


def plain_line(text: str) -> str:
    """A text of a model on one line, without marks and control characters. Nobody can trust it, because the texts may
    have told the model what to say."""
    printable = "".join(character if character.isprintable() else " " for character in neutral(text))
    return " ".join(printable.split())
