"""Finds the blocks of a document with which another subject begins. Passages end before such a block where they can, as they do before a heading.

A model reads the first words of each block and names blocks by their numbers, so every cut is the exact beginning of a block, whatever the model says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from structlog.typing import FilteringBoundLogger

from responsa_server.agents.engine.node import NodeModel
from responsa_server.ingest.asking import FAILURES, IngestionModel
from responsa_server.text.canonical import Block, BlockKind
from responsa_server.text.sections import Sectioned

LEAST_BYTES: Final = 2 * 1024
"""A shorter document is about one passage long, so there is nothing to decide."""
MOST_CALLS: Final = 8
_SHOWN_BYTES: Final = 240
_WINDOW_BYTES: Final = 12 * 1024
_CUT_BEFORE: Final = (BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.QUOTE)


class _Begins(NodeModel):
    """The form of the model's answer."""

    begins: tuple[int, ...]


class Topics:
    """Finds where subjects begin. model: None to leave the cuts to the structure of the text."""

    def __init__(self, model: IngestionModel | None = None) -> None:
        self._model = model

    async def begins(self, parsed: Sectioned, log: FilteringBoundLogger) -> frozenset[int]:
        """The byte offsets of the blocks with which another subject begins, all in the first section; empty without a model.

        The model is called at most 8 times. Blocks that it does not read, and blocks after a failure, begin nothing.
        """
        if self._model is None:
            return frozenset()
        # In at most 8 calls, the model does not read further.
        document = (await asyncio.to_thread(parsed.section, 0)).document
        data = document.canonical_text.encode()
        found: set[int] = set()
        if len(data) < LEAST_BYTES:
            return frozenset()
        blocks = [block for block in document.blocks if block.kind in _CUT_BEFORE]
        for calls, window in enumerate(_windows(data, blocks)):
            if calls == MOST_CALLS:
                break
            lines = "\n".join(f"{number}: {text}" for number, (_, text) in enumerate(window, 1))
            try:
                answer = await self._model.ask("document_chunking", _Begins, {}, {"blocks": lines}, log)
            except FAILURES as error:
                log.warning("chunking_without_model", cause=type(error).__name__, error=str(error))
                break
            found.update(
                window[number - 1][0].byte_start for number in answer.begins if 0 < number <= len(window)
            )
        return frozenset(found)


def _windows(data: bytes, blocks: Sequence[Block]) -> Iterator[Sequence[tuple[Block, str]]]:
    """Groups of blocks, each block with its first words on one line. A group fits into one question."""
    window: list[tuple[Block, str]] = []
    size = 0
    for block in blocks:
        end = min(block.byte_end, block.byte_start + _SHOWN_BYTES)
        text = " ".join(data[block.byte_start : end].decode(errors="ignore").split())
        if size + len(text.encode()) > _WINDOW_BYTES and window:
            yield window
            window, size = [], 0
        window.append((block, text))
        size += len(text.encode()) + 8
    if window:
        yield window
