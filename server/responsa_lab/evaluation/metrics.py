"""Measures of rankings and answers. All functions are pure. A ranking is a sequence of different ids, best first.

For recall and reciprocal rank, see Voorhees and Harman, TREC (2005). For nDCG with binary gain and log2 discount, see Järvelin and
Kekäläinen, ACM TOIS 20(4), 2002.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from markdown_it import MarkdownIt


def recall(ranking: Sequence[str], relevant: Collection[str], k: int) -> float:
    """The share of the relevant ids that are among the first k. `relevant` must not be empty."""
    return sum(1 for key in ranking[:k] if key in relevant) / len(relevant)


def ndcg(ranking: Sequence[str], relevant: Collection[str], k: int) -> float:
    """The normalised discounted cumulative gain of the first k ids, 0 to 1. `relevant` must not be empty."""
    gain = sum(1 / math.log2(rank + 1) for rank, key in enumerate(ranking[:k], start=1) if key in relevant)
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(relevant)) + 1))
    return gain / best


def reciprocal_rank(ranking: Sequence[str], relevant: Collection[str], k: int) -> float:
    """1 divided by the rank of the first relevant id; 0 if no relevant id is among the first k."""
    return next((1 / rank for rank, key in enumerate(ranking[:k], start=1) if key in relevant), 0.0)


def fuse(rankings: Iterable[Sequence[str]], k: int = 60) -> list[str]:
    """The reciprocal rank fusion of rankings (Cormack, Clarke and Büttcher, SIGIR 2009). Ids with equal scores are in
    the order of the ids."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + 1 / (k + rank)
    return sorted(scores, key=lambda key: (-scores[key], key))


def mean(values: Iterable[float]) -> float | None:
    """The mean; None if there are no values."""
    known = list(values)
    return sum(known) / len(known) if known else None


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value and its 95 % confidence interval [low, high]."""

    value: float
    low: float
    high: float


_Z = 1.959964
"""The number of standard deviations from the mean that contain 95 % of a normal distribution, in both directions together."""


def share(yes: Iterable[bool]) -> Interval | None:
    """The share of true values, with the interval of Wilson (JASA 22, 1927). None if there are no values."""
    values = list(yes)
    if not (n := len(values)):
        return None
    p = sum(values) / n
    middle = (p + _Z * _Z / (2 * n)) / (1 + _Z * _Z / n)
    half = _Z * math.sqrt(p * (1 - p) / n + _Z * _Z / (4 * n * n)) / (1 + _Z * _Z / n)
    return Interval(p, max(0.0, middle - half), min(1.0, middle + half))


_RESAMPLES = 2000


def ratio(pairs: Sequence[tuple[float, float]]) -> Interval | None:
    """The sum of the first numbers divided by the sum of the second, with a percentile bootstrap over the pairs (Efron
    and Tibshirani, 1993). The resampling has a fixed seed. None if the second numbers sum to 0."""
    below = sum(second for _, second in pairs)
    if not below:
        return None
    dice = random.Random(0)  # noqa: S311 - resampling for statistics
    drawn: list[float] = []
    for _ in range(_RESAMPLES):
        sample = dice.choices(pairs, k=len(pairs))
        if divisor := sum(second for _, second in sample):
            drawn.append(sum(first for first, _ in sample) / divisor)
    drawn.sort()
    low, high = drawn[int(0.025 * len(drawn))], drawn[math.ceil(0.975 * len(drawn)) - 1]
    return Interval(sum(first for first, _ in pairs) / below, low, high)


def round_off(value: float | None) -> float | None:
    """The value in the form that --json prints: with four decimal places."""
    return None if value is None else round(value, 4)


def camel(name: str) -> str:
    """The name of a figure in the form that --json prints: lowerCamel."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def fraction(value: float | None) -> str:
    """The value as text with three decimal places; "-" if it is None."""
    return "-" if value is None else f"{value:.3f}"


@dataclass(frozen=True, slots=True)
class TextSpan:
    """The bytes [start, end) of a document's text."""

    document: str
    start: int
    end: int

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.end - self.start

    def covers(self, other: TextSpan) -> bool:
        """Whether the other span lies within this span."""
        return self.document == other.document and self.start <= other.start and other.end <= self.end

    def overlap(self, other: TextSpan) -> int:
        """The number of bytes that both spans have."""
        if self.document != other.document:
            return 0
        return max(0, min(self.end, other.end) - max(self.start, other.start))


def gold_in_text(answer: str, gold: Iterable[str]) -> bool:
    """Whether one of the gold texts is in the answer, as a reader of the rendered Markdown sees it. Case and white space are ignored."""
    shown = plain(_render(answer))
    return any(plain(text) in shown for text in gold if text.strip())


_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table")


def _render(markdown: str) -> str:
    parts: list[str] = []
    for block in _MARKDOWN.parse(markdown):
        parts.append(block.content if block.type in ("fence", "code_block") else " ")
        for child in block.children or ():
            parts.append(
                child.content if child.type in ("text", "code_inline") else " " * child.type.endswith("break")
            )
    return "".join(parts)


def gold_cited(cited: Iterable[TextSpan], gold: Collection[TextSpan]) -> bool:
    """Whether a cited span covers a whole gold span."""
    return any(span.covers(part) for span in cited for part in gold)


def plain(text: str) -> str:
    """The text in a form for comparisons that ignore case and white space."""
    return " ".join(text.split()).casefold()
