"""The bench's own documents in an instance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from bench.corpus import CHUNK_TOKENS, Text
from bench.processes import BenchError, Place
from responsa.knowledge.v1 import collection_pb2, reader_pb2
from responsa_client.aio import AsyncResponsa

# `responsa ingest` uses the same number.
_IN_FLIGHT: Final = 8


def make_collection(at: Place, collection: str, max_tokens: int | None = CHUNK_TOKENS) -> None:
    """Creates a collection that splits the corpus into one passage per paragraph, or as by default if `max_tokens` is
    None. Everyone may read it, because the peer in memory asks as another user.
    """

    async def work() -> None:
        async with AsyncResponsa(f"http://{at.target}", at.key) as client:
            chunking = (
                None
                if max_tokens is None
                else collection_pb2.Chunking(max_tokens=max_tokens, overlap_tokens=0)
            )
            await client.create_collection(collection, chunking=chunking)
            await client.update_collection(collection, readers=[reader_pb2.Reader(everyone=True)])

    asyncio.run(work())


def take_in(at: Place, collection: str, texts: Sequence[Text]) -> tuple[float, int]:
    """Sends documents and waits until each document is searchable. Returns the seconds and the number of passages. Raises ResponsaError."""

    async def work() -> int:
        passages = 0
        waiting = iter(texts)
        async with AsyncResponsa(f"http://{at.target}", at.key, None) as client:

            async def one_by_one() -> None:
                nonlocal passages
                for text in waiting:
                    operation = await client.create_document(
                        text.text,
                        collection=collection,
                        source_key=text.key,
                        title=text.title,
                        media_type="text/markdown",
                    )
                    # Wait before the addition: in a single expression, additions that other tasks make during the wait would be lost.
                    result = await client.wait(operation)
                    passages += result.document.passage_count

            await asyncio.gather(*(one_by_one() for _ in range(_IN_FLIGHT)))
        return passages

    begun = time.perf_counter()
    passages = asyncio.run(work())
    return time.perf_counter() - begun, passages


def passages_of(at: Place, collection: str) -> int:
    """The number of passages of a collection's documents. Raises ResponsaError."""

    async def work() -> int:
        async with AsyncResponsa(f"http://{at.target}", at.key) as client:
            return sum([document.passage_count async for document in client.documents(collection)])

    return asyncio.run(work())


def answered_questions(at: Place, collection: str, questions: Sequence[str], number: int) -> list[str]:
    """The first `number` questions that are answered and not refused. Raises BenchError if there are fewer."""

    async def work() -> list[str]:
        good: list[str] = []
        async with AsyncResponsa(f"http://{at.target}", at.key) as client:
            for question in questions:
                turn = await client.answer(question, collections=[collection])
                match turn.terminal_event.WhichOneof("event"):
                    case "answer":
                        good.append(question)
                    case "failed":
                        raise BenchError(f"a turn failed: {turn.terminal_event.failed.status.message}")
                    case _:
                        pass
                if len(good) == number:
                    return good
        raise BenchError(f"only {len(good)} of {len(questions)} questions are answered; {number} are needed")

    return asyncio.run(work())
