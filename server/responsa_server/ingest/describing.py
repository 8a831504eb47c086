"""Makes the description of a document version: what its file states, and the gist of its text.

The gist consists of sentences and words of the text. If a model is configured, the model writes the gist; whatever goes wrong, the words of the text are used.
"""

from __future__ import annotations

import asyncio
from typing import Final

from structlog.typing import FilteringBoundLogger

from responsa_server.agents.engine.node import NodeModel
from responsa_server.agents.engine.prompts import neutral
from responsa_server.domain.knowledge import Description
from responsa_server.ingest.asking import FAILURES, IngestionModel, NoAnswer
from responsa_server.ingest.indexing import CutDocument, OpenSection
from responsa_server.ingest.sandbox.parsed_file import ParsedFile
from responsa_server.text.gist import (
    MAX_KEYWORD_CHARS,
    MAX_KEYWORDS,
    MAX_SENTENCES,
    MAX_SUMMARY_BYTES,
    Gist,
    gist_of,
)

READ_BYTES: Final = 12 * 1024
"""The model reads at most this part of the text, from its beginning. With the instructions, it fits into a small model's window."""


class _Entry(NodeModel):
    """The form of the model's answer."""

    summary: str
    keywords: tuple[str, ...]


class Describer:
    """Describes document versions. model: writes the gist; None to take it from the text."""

    def __init__(self, model: IngestionModel | None = None) -> None:
        self._model = model

    async def describe(
        self, parsed: ParsedFile, title: str, cut: CutDocument, log: FilteringBoundLogger
    ) -> Description:
        """Describe a document version. A failure of the model is logged, and never fails the ingestion."""
        opening = await asyncio.to_thread(OpenSection.read, cut, 0, 0)  # the gist is that of the beginning
        gist: Gist | None = None
        if self._model is not None:
            try:
                text = opening.text[:READ_BYTES].decode(errors="ignore")
                gist = await _written(self._model, title, text, log)
            except FAILURES as error:
                log.warning("description_without_model", cause=type(error).__name__, error=str(error))
        if gist is None:
            # The work needs the CPU, so it runs outside the event loop.
            gist = await asyncio.to_thread(gist_of, opening.text, opening.pieces, title, cut.language)
        return Description(parsed.author, parsed.date, gist.summary, gist.keywords)


async def _written(model: IngestionModel, title: str, text: str, log: FilteringBoundLogger) -> Gist:
    """The gist that the model writes. Nobody can trust it, because the document may have told the model what to say: it becomes plain, short lines."""
    trusted = {"sentences": MAX_SENTENCES, "words": MAX_KEYWORDS}
    entry = await model.ask("metadata_extraction", _Entry, trusted, {"title": title, "text": text}, log)
    summary = _line(entry.summary)
    if not summary or len(summary.encode()) > MAX_SUMMARY_BYTES:
        raise NoAnswer(f"the summary is empty or has more than {MAX_SUMMARY_BYTES} bytes")
    words = (_line(keyword) for keyword in entry.keywords)
    keywords = {word.lower(): word for word in words if word and len(word) <= MAX_KEYWORD_CHARS}
    return Gist(summary, tuple(keywords.values())[:MAX_KEYWORDS])


def _line(text: str) -> str:
    printable = "".join(one if one.isprintable() else " " for one in neutral(text))
    return " ".join(printable.split())
