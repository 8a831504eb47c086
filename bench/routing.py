"""Measures routing without a language model: the embedding, and the classifier that is trained from the shipped chat agent's examples."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from typing import Final

from bench.figures import Comparison, percentile
from bench.report import Line
from bench.run import Run
from responsa_server.agents.config.build import classifiers
from responsa_server.agents.config.files import SHIPPED, read
from responsa_server.embedded import Layout
from responsa_server.instance import CHECKOUT
from responsa_server.providers.minilm import MiniLmEmbedder, load
from responsa_server.routing.stored import KeptClassifiers
from responsa_server.search.settings import RetrievalSettings

TITLE: Final = "The router's decision: chat's three intents, questions of evals/reading, one at a time; compared with embedding alone"
_AGENT: Final = "chat"
_EXAMPLES: Final = "examples/intents.jsonl"
_QUESTIONS: Final = CHECKOUT / "evals" / "reading" / "choose.jsonl"


def measure(run: Run) -> list[Line]:
    """The time to classify a question's intent in this process, in milliseconds, without the training."""
    run.say("the router's decision")
    data = Layout.of(run.place.home).data
    texts = [json.loads(line)["question"] for line in _QUESTIONS.read_text(encoding="utf-8").splitlines()]
    with closing(load(data / "models", threads=RetrievalSettings().embedding_threads)) as embedder:
        trainer = KeptClassifiers(data / "classifiers", embedder)
        return asyncio.run(_measured(embedder, trainer, texts, run.pick(9, 3)))


async def _measured(
    embedder: MiniLmEmbedder, trainer: KeptClassifiers, texts: Sequence[str], rounds: int
) -> list[Line]:
    examples = {path: text.decode() for path, text in read(SHIPPED / _AGENT).files.examples.items()}
    classifier = await classifiers(examples, trainer)[_EXAMPLES].ready()

    async def decide(text: str) -> None:
        await classifier.classify(text)

    async def embed(text: str) -> None:
        await embedder.embed([text])

    sides = (decide, embed)
    for side in sides:
        await _times(side, texts)
    found: list[list[Sequence[float]]] = [[], []]
    for number in range(rounds):
        for step in range(len(sides)):
            place = (number + step) % len(sides)
            found[place].append(await _times(sides[place], texts))
    return [
        Line.compared(
            TITLE,
            what,
            "ms",
            "less",
            Comparison.of(*([percentile(one, share) for one in side] for side in found)),
            2 * rounds * len(texts),
        )
        for what, share in (("a decision p50 (limit: 5 ms)", 0.5), ("a decision p99", 0.99))
    ]


async def _times(work: Callable[[str], Awaitable[None]], texts: Sequence[str]) -> Sequence[float]:
    """The time of each decision in milliseconds."""
    found: list[float] = []
    for text in texts:
        begun = time.perf_counter()
        await work(text)
        found.append((time.perf_counter() - begun) * 1000)
    return found
