"""A server of embedding models on the loopback interface. It speaks the protocols of OpenAI and Gemini, which were
written from the types in openai 3.52.0 and google-genai 3.4.0 on 2026-11-22.

Its vectors count the words of a text, so texts that share words are near each other.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Any

from tests.wire.recording import Before, RecordingServer

_WORD = re.compile(r"\w+")


class EmbeddingServer(RecordingServer):
    """Serves vectors at `{url}/embeddings` (OpenAI) and `{url}/models/NAME:batchEmbedContents` (Gemini)."""

    def __init__(self, dimensions: int, before: Before | None = None) -> None:
        """dimensions: the length of a vector unless the request names another one."""
        super().__init__(before)
        self._dimensions = dimensions

    def _answer(self, path: str, body: dict[str, Any]) -> object:
        return self._gemini(body) if path.endswith(":batchEmbedContents") else self._openai(body)

    def _openai(self, body: dict[str, Any]) -> object:
        length = body.get("dimensions", self._dimensions)
        rows = [
            {"object": "embedding", "index": index, "embedding": vector_of(text, length)}
            for index, text in enumerate(body["input"])
        ]
        words = sum(len(text.split()) for text in body["input"])
        return {
            "object": "list",
            "data": rows,
            "model": body["model"],
            "usage": {"prompt_tokens": words, "total_tokens": words},
        }

    def _gemini(self, body: dict[str, Any]) -> object:
        return {
            "embeddings": [
                {
                    "values": vector_of(
                        "".join(part["text"] for part in item["content"]["parts"]),
                        item.get("outputDimensionality", self._dimensions),
                    )
                }
                for item in body["requests"]
            ]
        }


def vector_of(text: str, dimensions: int) -> Sequence[float]:
    """The vector that the server sends for a text: how often each word occurs, in the place that the word's hash names.
    It is not scaled to length one."""
    vector = [0.0] * dimensions
    vector[0] = 0.25
    for word in _WORD.findall(text.lower()):
        vector[zlib.crc32(word.encode()) % dimensions] += 1.0
    return vector
