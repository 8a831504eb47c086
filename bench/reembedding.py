"""`python -m bench.reembedding`: what searches notice while a collection gets another embedding model.

An instance holds a collection of 10,000 passages. Sixteen streams search it, one search after the other, each with a new question. They do so alternately while nothing
else happens and while ReindexCollection computes all vectors again. The embedding models are on a local server, which answers at once, so the re-embedding is as fast as
the instance can be. All processes share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Final

import grpc.aio
from rich.console import Console
from rich.table import Table

from bench import corpus
from bench.calls import METHODS, request_of
from bench.client import Unary
from bench.embedding import embedding_server
from bench.figures import median, percentile
from bench.jobs import Call, Job, Transport
from bench.library import make_collection, passages_of, take_in
from bench.processes import BenchError, Place, leave_in_order, place, running
from bench.run import MANY, PARAGRAPHS
from responsa.knowledge.v1 import knowledge_service_pb2
from responsa_client.aio import AsyncResponsa
from responsa_client.errors import ResponsaError

_MODELS: Final = ("lab:short", "lab:long")
"""Each round changes from one of these models to the other. Their vectors have 384 and 768 dimensions."""
_MOST_RATIO: Final = 2.0
_MOST_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class LabPlace(Place):
    """An instance whose embedding models are at `url`."""

    url: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """See `Place.environment`."""
        # `super()` without arguments does not work in a dataclass with slots.
        return {
            **Place.environment.__get__(self),
            "RESPONSA_MODELS__SERVERS__LAB__URL": self.url,
            "RESPONSA_MODELS__EMBEDDINGS": '{"lab:short": {"max_tokens": 8192}, "lab:long": {"max_tokens": 8192, "dimensions": 768, "ask_for_dimensions": true}}',
            "RESPONSA_RETRIEVAL__EMBEDDING": _MODELS[0],
        }


@dataclass(slots=True)
class Searches:
    """The searches of one period. milliseconds: one value for each search that succeeded. failed: the number of failures by status, or "no hits"."""

    milliseconds: list[float] = field(default_factory=list[float])
    failed: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0


def main(given: Sequence[str] | None = None) -> int:
    """Measure and report. Returns 1 if a search failed, or if the p99 during the re-embedding is more than twice that of the idle instance."""
    parser = argparse.ArgumentParser(prog="python -m bench.reembedding", description=__doc__)
    parser.add_argument("--passages", type=int, default=10_000, help="the number of passages (10,000)")
    parser.add_argument("--streams", type=int, default=16, help="the number of concurrent searches (16)")
    parser.add_argument("--rounds", type=int, default=3, help="the number of pairs (3)")
    parser.add_argument("--seconds", type=float, default=20.0, help="the length of an idle period (20)")
    options = parser.parse_args(given)
    leave_in_order()
    messages = Console(stderr=True)
    try:
        with embedding_server() as url, place() as made:
            at = LabPlace(made.home, made.port, url=url)
            with running(at):
                messages.print(f"uploading {options.passages} passages")
                texts = corpus.documents(options.passages // PARAGRAPHS, PARAGRAPHS)
                make_collection(at, MANY)
                take_in(at, MANY, texts)
                passages = passages_of(at, MANY)
                questions = cycle(corpus.questions(texts, options.passages // 2))
                pairs = asyncio.run(
                    _measured(at, questions, options.streams, options.rounds, options.seconds, messages)
                )
    except (BenchError, ResponsaError) as error:
        messages.print(f"The measurement could not be made: {error}", style="bold", markup=False)
        return 1
    return _report(pairs, passages, options.streams)


async def _measured(
    at: Place, questions: Iterator[str], streams: int, rounds: int, seconds: float, messages: Console
) -> Sequence[tuple[Searches, Searches]]:
    """For each round, the searches while nothing else runs, and the searches during a re-embedding."""
    pairs: list[tuple[Searches, Searches]] = []
    async with AsyncResponsa(f"http://{at.target}", at.key, None) as client:
        await _searched(at, questions, streams, asyncio.create_task(asyncio.sleep(seconds / 4)))
        for number in range(rounds):
            messages.print(f"pair {number + 1} of {rounds}: idle, then re-embedding")
            idle = await _searched(at, questions, streams, asyncio.create_task(asyncio.sleep(seconds)))
            operation = await client.reindex_collection(MANY, _MODELS[(number + 1) % len(_MODELS)])
            working = asyncio.create_task(client.wait_generation(operation))
            pairs.append((idle, await _searched(at, questions, streams, working)))
            await client.delete_generation(f"collections/{MANY}/generations/{number + 1}")
    return pairs


async def _searched(
    at: Place, questions: Iterator[str], streams: int, period: asyncio.Task[object]
) -> Searches:
    """Search until the task has ended, and raise its error. The calls do not use the client, because the client repeats calls that fail."""
    found = Searches()
    metadata = (("authorization", f"Bearer {at.key}"),)

    async def stream(search: Unary) -> None:
        while not period.done():
            job = Job(
                Call.SEARCH, Transport.GRPC, at.target, at.key, texts=[next(questions)], collection=MANY
            )
            begun = time.perf_counter()
            try:
                response = await search(request_of(job, 0), metadata=metadata, timeout=_MOST_SECONDS)
            except grpc.aio.AioRpcError as error:
                found.failed[error.code().name] += 1
                continue
            found.milliseconds.append((time.perf_counter() - begun) * 1000)
            if not knowledge_service_pb2.SearchResponse.FromString(response).hits:
                found.failed["no hits"] += 1

    async with grpc.aio.insecure_channel(at.target) as channel:
        begun = time.perf_counter()
        await asyncio.gather(*(stream(channel.unary_unary(METHODS[Call.SEARCH])) for _ in range(streams)))
        found.seconds = time.perf_counter() - begun
    await period
    return found


def _report(pairs: Sequence[tuple[Searches, Searches]], passages: int, streams: int) -> int:
    table = Table(title=f"{streams} streams of searches in {passages:,} passages", title_justify="left")
    for heading in ("period", "seconds", "searches", "failed", "p50 ms", "p99 ms", "p99 / idle"):
        table.add_column(heading, justify="left" if heading == "period" else "right")
    ratios: list[float] = []
    for idle, busy in pairs:
        ratios.append(percentile(busy.milliseconds, 0.99) / percentile(idle.milliseconds, 0.99))
        _add(table, "idle", idle, "")
        _add(table, "re-embedding", busy, f"{ratios[-1]:.2f}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    failed = sum((one.failed for pair in pairs for one in pair), Counter[str]())
    console.print(
        f"failed searches: {dict(failed) or 0}; p99 against idle, median of the pairs: {median(ratios):.2f}"
    )
    return 1 if failed or median(ratios) > _MOST_RATIO else 0


def _add(table: Table, period: str, one: Searches, ratio: str) -> None:
    p50, p99 = (percentile(one.milliseconds, share) for share in (0.5, 0.99))
    failed = one.failed.total()
    table.add_row(
        period,
        f"{one.seconds:.1f}",
        str(len(one.milliseconds)),
        str(failed),
        f"{p50:.1f}",
        f"{p99:.1f}",
        ratio,
    )


if __name__ == "__main__":
    sys.exit(main())
