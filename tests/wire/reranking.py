"""A server of reranking models on the loopback interface. It speaks the protocols of Cohere (v2), Jina, Voyage and
text-embeddings-inference, as their references describe them (read on 2026-11-25).

Its score of a text is the number of different words that the text shares with the query, or what the test says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from tests.wire.recording import Before, RecordingServer

_WORD = re.compile(r"\w+")

Score = Callable[[str, str], float]
"""The score of a query and a text."""


class RerankServer(RecordingServer):
    """Serves one of the protocols at every path."""

    def __init__(self, wire: str, score: Score | None = None, before: Before | None = None) -> None:
        """wire: "cohere", "jina", "voyage" or "tei". score: by default, the number of words in common."""
        super().__init__(before)
        self._wire = wire
        self._score = score or count_shared

    def _answer(self, path: str, body: dict[str, Any]) -> object:
        texts: Sequence[str] = body["texts" if self._wire == "tei" else "documents"]
        return answer(self._wire, [self._score(body["query"], text) for text in texts])


def answer(wire: str, scores: Sequence[object]) -> object:
    """The protocol's answer with these scores, best first. Each score counts as ten tokens."""
    places = list(range(len(scores)))
    if all(isinstance(score, (int, float)) for score in scores):
        # They are numbers.
        places.sort(key=lambda index: scores[index], reverse=True)  # pyright: ignore[reportArgumentType, reportCallIssue]
    if wire == "tei":
        return [{"index": index, "score": scores[index]} for index in places]
    rows = [{"index": index, "relevance_score": scores[index]} for index in places]
    tokens = 10 * len(scores)
    match wire:
        case "cohere":
            meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
            return {"id": "r-1", "results": rows, "meta": meta}
        case "jina":
            return {"model": "m-1", "usage": {"total_tokens": tokens}, "results": rows}
        case _:
            return {"object": "list", "data": rows, "model": "m-1", "usage": {"total_tokens": tokens}}


def count_shared(query: str, text: str) -> float:
    """How many different words of the query the text has."""
    return float(len(set(_WORD.findall(query.lower())) & set(_WORD.findall(text.lower()))))
