"""`python -m bench.plain_search QUESTIONS FOLDER… [--collection NAME …]`: how often the first passages of a search hold
the label of a question, of a plain search and of a running instance.

The plain search is the least that ours must beat: cosines of windows of 170 words, with the title and the headings
before the text, plus .02 × BM25.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from responsa_server.cli.session import open_async_client
from responsa_server.providers.minilm import load
from responsa_server.text.lexical import Analyzer

_SIZE: Final = 170
_STEP: Final = 140
_BM25_WEIGHT: Final = 0.02
_DEPTHS: Final = (1, 3, 5, 10)
_FRONT: Final = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def windows(folder: Path) -> Iterator[tuple[str, str]]:
    """The windows of a folder's Markdown: the path of headings above each, and its text."""
    for file in sorted(folder.rglob("*.md")):
        above: list[str] = []
        for section in re.split(r"(?m)^(?=#{1,6} )", _FRONT.sub("", file.read_text(errors="replace"))):
            if heading := re.match(r"(#{1,6}) (.*)\n", section):
                above = [*above[: len(heading[1]) - 1], heading[2].strip()]
            words = section.split()
            for start in range(0, max(1, len(words)), _STEP):
                if len(body := " ".join(words[start : start + _SIZE])) > 20:
                    yield " › ".join([file.stem.replace("-", " "), *above]), body


def bm25(texts: Sequence[Sequence[str]]) -> Callable[[Sequence[str]], Any]:
    """Scores all texts for the terms of a question."""
    postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for place, terms in enumerate(texts):
        for term, count in Counter(terms).items():
            postings[term].append((place, count))
    lengths = np.array([len(terms) for terms in texts], float)
    norm = 1.2 * (0.25 + 0.75 * lengths / lengths.mean())

    def score(terms: Sequence[str]) -> Any:
        total = np.zeros(len(texts))
        for term in set(terms) & postings.keys():
            places, counts = np.array(postings[term]).T
            weight = math.log(1 + (len(texts) - len(places) + 0.5) / (len(places) + 0.5))
            total[places] += weight * counts * 2.2 / (counts + norm[places])
        return total

    return score


def plain(text: str) -> str:
    return re.sub(r"[\s*_`]+", " ", text).strip().lower()


def report(name: str, questions: Sequence[Any], results: Sequence[Sequence[str]]) -> None:
    """Print in how many of the lists one of the first passages holds a label."""
    ranks = [
        next(
            (
                rank
                for rank, text in enumerate(texts)
                if any(plain(one) in plain(text) for one in asked["must"])
            ),
            99,
        )
        for asked, texts in zip(questions, results, strict=True)
    ]
    print(f"{name:8}", " ".join(f"top {depth}: {sum(rank < depth for rank in ranks)}" for depth in _DEPTHS))


def search_plainly(questions: Sequence[Any], folders: Sequence[Path]) -> None:
    """Search the folders, and report on it."""
    text_windows = [one for folder in folders for one in windows(folder)]
    model = load(Path(tempfile.gettempdir()) / "bench-models", threads=2)
    passages = model.embed_sync([f"{path}\n{text}" for path, text in text_windows])
    asked = model.embed_sync([one["question"] for one in questions])
    analyzer = Analyzer()
    words = bm25([analyzer.terms(f"{path} {path} {text}", "en") for path, text in text_windows])
    scores = [
        passages @ vector + _BM25_WEIGHT * words(analyzer.terms(one["question"], "en"))
        for one, vector in zip(questions, asked, strict=True)
    ]
    report(
        "plain", questions, [[text_windows[place][1] for place in np.argsort(-one)[:10]] for one in scores]
    )


async def search_running(questions: Sequence[Any], collections: Sequence[str]) -> None:
    """Search collections of the running instance, and report on it."""
    async with open_async_client() as client:
        names = [f"collections/{one}" for one in collections]
        found = [await client.search(one["question"], names, top_k=10) for one in questions]
    report("instance", questions, [[hit.passage.text for hit in hits] for hits in found])


def main() -> None:
    given = argparse.ArgumentParser()
    given.add_argument("questions", type=Path)
    given.add_argument("folders", type=Path, nargs="+")
    given.add_argument("--collection", nargs="*", default=[])
    said = given.parse_args()
    questions = [json.loads(line) for line in said.questions.read_text().splitlines()]
    search_plainly(questions, said.folders)
    if said.collection:
        asyncio.run(search_running(questions, said.collection))


if __name__ == "__main__":
    main()
