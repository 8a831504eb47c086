"""Makes the description of a document version: what its file states, and the gist of its text.

The gist consists of sentences and words of the text. If a model is configured, the model writes the gist; whatever goes wrong, the words of the text are used.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

import structlog
from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from responsa_server.agents.engine.node import NodeModel
from responsa_server.agents.engine.prompts import PromptError, PromptSet, Untrusted, neutral, nonce, unfenced
from responsa_server.domain.knowledge import Description
from responsa_server.domain.models import ChatModel, Ended, ModelError, ModelPrompt, TextPiece
from responsa_server.ingest.indexing import CutDocument
from responsa_server.text.canonical import ParsedDocument
from responsa_server.text.gist import (
    MAX_KEYWORD_CHARS,
    MAX_KEYWORDS,
    MAX_SENTENCES,
    MAX_SUMMARY_BYTES,
    Gist,
    gist_of,
)

PROMPT: Final = "metadata_extraction"
READ_BYTES: Final = 12 * 1024
"""The model reads at most this part of the text, from its beginning. With the instructions, it fits into a small model's window."""
_MOST_ANSWER_CHARS: Final = 16 * 1024
_MOST_TOKENS: Final = 500


class _Entry(NodeModel):
    """The form of the model's answer."""

    summary: str
    keywords: tuple[str, ...]


class NoGist(Exception):
    """A model's answer cannot be used; the text says why."""


class ModelGist:
    """Asks a model for the gist of a text.

    prompts: returns the prompts of this package. It is called for each document, so a changed file counts at once. It may block, and may raise OSError and
    PromptError. seconds: the maximum time of a call.
    """

    def __init__(self, model: ChatModel, prompts: Callable[[], PromptSet], *, seconds: float) -> None:
        self._model = model
        self._prompts = prompts
        self._seconds = seconds

    async def write(self, title: str, text: str) -> Gist:
        """The gist of a text that the model writes. text: the beginning of the document.

        Raises NoGist for an answer that cannot be used, and ModelError, TimeoutError, PromptError, KeyError and OSError.
        """
        prompts = await asyncio.to_thread(self._prompts)
        mark = nonce("", None)
        hints = prompts.front(PROMPT).hints
        schema = _Entry.model_json_schema()
        trusted = {"sentences": MAX_SENTENCES, "words": MAX_KEYWORDS, "formats": json.dumps(schema)}
        untrusted = Untrusted("", others={"title": title, "text": text})
        prompt = ModelPrompt(
            prompts.render(PROMPT, trusted, untrusted, mark),
            "documents",
            schema=schema,
            max_tokens=hints.max_output_tokens or _MOST_TOKENS,
            temperature=hints.temperature,
            purpose=PROMPT,
            patience_seconds=self._seconds,
        )
        async with asyncio.timeout(self._seconds):
            answer = await self._answer(prompt)
        return _read(unfenced(answer, mark))

    async def _answer(self, prompt: ModelPrompt) -> str:
        said, size = list[str](), 0
        async with aclosing(self._model.stream(prompt)) as pieces:
            async for piece in pieces:
                match piece:
                    case TextPiece(text):
                        said.append(text)
                        size += len(text)
                        if size > _MOST_ANSWER_CHARS:
                            raise NoGist("the answer is too long")
                    case Ended(complete=False):
                        raise NoGist("the answer is cut off")
                    case _:
                        pass
        return "".join(said)


class Describer:
    """Describes document versions. model: writes the gist; None to take it from the text."""

    def __init__(self, model: ModelGist | None = None) -> None:
        self._model = model
        self._log: FilteringBoundLogger = structlog.get_logger("ingest")

    async def describe(
        self, parsed: ParsedDocument, text: bytes, title: str, cut: CutDocument
    ) -> Description:
        """Describe a document version. text: the canonical text. A failure of the model is logged, and never fails the ingestion."""
        gist: Gist | None = None
        if self._model is not None:
            try:
                gist = await self._model.write(title, text[:READ_BYTES].decode(errors="ignore"))
            except (ModelError, NoGist, TimeoutError, PromptError, KeyError, OSError) as error:
                self._log.warning("description_without_model", cause=type(error).__name__, error=str(error))
        if gist is None:
            # The work needs the CPU, so it runs outside the event loop.
            gist = await asyncio.to_thread(gist_of, text, cut.pieces, title, cut.language)
        return Description(parsed.author, parsed.date, gist.summary, gist.keywords)


def _read(answer: str) -> Gist:
    """Read a model's answer. Nobody can trust it, because the document may have told the model what to say: it becomes plain, short lines."""
    start, end = answer.find("{"), answer.rfind("}")
    try:
        entry = _Entry.model_validate_json(answer[start : end + 1])
    except ValidationError:
        raise NoGist("the answer does not fit the schema") from None
    summary = _line(entry.summary)
    if not summary or len(summary.encode()) > MAX_SUMMARY_BYTES:
        raise NoGist(f"the summary is empty or has more than {MAX_SUMMARY_BYTES} bytes")
    words = (_line(one) for one in entry.keywords)
    keywords = {one.lower(): one for one in words if one and len(one) <= MAX_KEYWORD_CHARS}
    return Gist(summary, tuple(keywords.values())[:MAX_KEYWORDS])


def _line(text: str) -> str:
    printable = "".join(one if one.isprintable() else " " for one in neutral(text))
    return " ".join(printable.split())
