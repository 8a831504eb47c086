"""Watching an operation: every watcher sees the final state, each state once and in order, wherever the operation runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.knowledge import IngestStage, Operation
from responsa_server.ingest.watching import Watching
from responsa_server.library.library import Library
from responsa_server.library.pages import PageImages
from responsa_server.search.hits import KnowledgeSearch
from tests.contract.index_writer import retriever_of
from tests.contract.library_harness import Gate, GatedEmbedder, GatedParser, Harness
from tests.raising import raises

TEXT = "# Rivers\n\nThe Elbe is 1094 kilometres long.\n"
LONG = "\n\n".join(
    f"## River {n}\n\nRiver {n} is {100 + n} kilometres long. " + "It is slow. " * 60 for n in range(20)
)


def elsewhere(harness: Harness, heartbeat_seconds: float = 15.0) -> Library:
    """The library of another process, which gets no notices from the worker."""
    return Library(
        harness.collections,
        harness.documents,
        harness.operations,
        KnowledgeSearch(retriever_of(harness.database, harness.embedder)),
        Watching(harness.operations, heartbeat_seconds, poll_seconds=0.05),
        PageImages(harness.documents, harness.parser),
        embedders=harness.embedders,
        generations=harness.generations,
    )


async def collected(states: AsyncGenerator[Operation | None, None]) -> list[Operation]:
    async with asyncio.timeout(60), aclosing(states) as stream:
        return [one async for one in stream if one is not None]


async def test_watchers_here_and_elsewhere_see_the_states_up_to_the_final_one(harness: Harness) -> None:
    operation = await harness.upload(harness.ann, TEXT, "rivers.md")
    other = elsewhere(harness)
    watching = [
        asyncio.create_task(collected(library.watching.follow(harness.ann, operation.id)))
        for library in (harness.library, other)
    ]
    async with harness.working():
        results = [await one for one in watching]
    for states in results:
        seqs = [state.seq for state in states]
        assert seqs == sorted(set(seqs))
        assert [state.done for state in states] == [False] * (len(states) - 1) + [True]
        assert states[0].stage is IngestStage.QUEUED
        assert states[-1].error is None
        for state in states:
            assert state.time_left is None or state.time_left.total_seconds() >= 0
    assert results[0][-1] == results[1][-1]
    final = results[0][-1]
    # Whoever has the final state gets nothing; whoever has an earlier one gets the final state alone.
    assert await collected(other.watching.follow(harness.ann, operation.id, final.seq)) == []
    assert await collected(other.watching.follow(harness.ann, operation.id, 1)) == [final]


async def test_what_is_left_is_estimated_once_vectors_have_been_written(harness: Harness) -> None:
    operation = await harness.upload(harness.ann, LONG, "rivers.md")
    gate = Gate()

    async def once_some_are_written() -> None:
        if harness.ask("SELECT 1 FROM responsa.operation WHERE passages_done > 0"):
            await gate.pass_through()

    ingest = harness.ingest(embedder=GatedEmbedder(harness.embedder, once_some_are_written))
    async with harness.working(ingest), asyncio.timeout(60):
        async with aclosing(harness.library.watching.follow(harness.ann, operation.id)) as states:
            async for state in states:
                if state is None:
                    continue  # on a busy machine, the stream may be silent for as long as a heartbeat
                if state.time_left is not None:
                    assert state.stage is IngestStage.EMBEDDING
                    assert 0 < state.passages_done < state.passages_total
                    assert state.time_left.total_seconds() > 0
                    break
                assert state.passages_done == 0
        gate.opened.set()
        assert (await harness.ended(harness.ann, operation)).time_left is None


async def test_a_silent_stream_beats(harness: Harness) -> None:
    operation = await harness.upload(harness.ann, TEXT)
    async with aclosing(elsewhere(harness, 0.05).watching.follow(harness.ann, operation.id)) as states:
        assert await anext(states) == operation
        assert await anext(states) is None
        assert await anext(states) is None
        await harness.library.cancel_operation(harness.ann, operation.id)
        async with asyncio.timeout(60):
            while (final := await anext(states)) is None:
                pass
    assert final.error is not None
    assert final.error.reason is Reason.OPERATION_CANCELLED


async def test_a_server_that_shuts_down_sends_its_watchers_away(harness: Harness) -> None:
    operation = await harness.upload(harness.ann, TEXT)
    library = elsewhere(harness)
    async with aclosing(library.watching.follow(harness.ann, operation.id)) as states:
        assert await anext(states) == operation
        waiting = asyncio.ensure_future(anext(states))
        library.watching.drain()
        draining = await raises(Unavailable, asyncio.wait_for(waiting, 60))
    assert draining.reason is Reason.DRAINING
    # The next server goes on where this one stopped.
    async with harness.working():
        states = await collected(elsewhere(harness).watching.follow(harness.ann, operation.id, operation.seq))
    assert states[-1].done


async def test_cancelling_stops_the_work_at_once_and_leaves_nothing(harness: Harness) -> None:
    """The parser would wait for ever, and another process cancels the operation."""
    operation = await harness.upload(harness.ann, TEXT, "rivers.md")
    gate, stopped = Gate(), asyncio.Event()

    async def wait(_: bytes) -> None:
        try:
            await gate.pass_through()
        finally:
            stopped.set()

    async with harness.working(harness.ingest(parser=GatedParser(harness.parser, wait))):
        await asyncio.wait_for(gate.reached.wait(), 60)
        await elsewhere(harness).cancel_operation(harness.ann, operation.id)
        await asyncio.wait_for(stopped.wait(), 60)
        await harness.until(lambda: not harness.ask("SELECT 1 FROM procrastinate.procrastinate_jobs"))
    left = harness.rows(("document", "document_version", "passage", "passage_vector", "term_stat"))
    assert left == {}
    assert list(harness.spool.iterdir()) == []
