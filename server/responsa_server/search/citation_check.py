"""Decides whether a passage supports a sentence of a model's answer that cites it. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from responsa_server.domain.answers import Claim, Quote
from responsa_server.domain.passages import VectorKind
from responsa_server.search.evidence import PassageAnalyses
from responsa_server.search.prompt_passages import PromptPassage

LEAST_SHARE: Final = 0.7
"""The least share (0 to 1) of a claim's words that stand in the piece that supports it."""


def judge_claims(
    claims: Sequence[Claim], passages: Sequence[PromptPassage], analyses: PassageAnalyses
) -> Sequence[Quote | None]:
    """For each claim, a quote of the piece that supports the claim; None if the passage that the claim names does not exist, or does not support it."""
    return [_judged(one, passages, analyses) for one in claims]


def _judged(claim: Claim, passages: Sequence[PromptPassage], analyses: PassageAnalyses) -> Quote | None:
    if not 1 <= claim.passage <= len(passages):
        return None
    shown = passages[claim.passage - 1]
    found = shown.found
    terms = frozenset(analyses.analyzer.query_terms(claim.text, found.language))
    data, offset = found.passage.text.encode(), found.passage.source.start
    best: Quote | None = None
    for piece, words in zip(found.pieces, analyses.of(found).pieces, strict=True):
        within = shown.source.start <= piece.source.start and piece.source.end <= shown.source.end
        score = len(terms.intersection(words)) / max(len(terms), 1)
        if (
            within
            and piece.kind is not VectorKind.HEADING
            and score >= max(LEAST_SHARE, best.score if best else 0)
        ):
            text = data[piece.source.start - offset : piece.source.end - offset].decode()
            best = Quote(found.passage, piece.source, text, score)
    return best
