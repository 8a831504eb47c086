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
from tests.contract.conftest import People
from tests.contract.library_house import Gate, GatedEmbedder, GatedParser, House
from tests.contract.shelf import retriever_of
from tests.raising import raises

TEXT = "# Rivers\n\nThe Elbe is 1094 kilometres long.\n"
LONG = "\n\n".join(
    f"## River {n}\n\nRiver {n} is {100 + n} kilometres long. " + "It is slow. " * 60 for n in range(20)
)


def elsewhere(house: House, heartbeat_seconds: float = 15.0) -> Library:
    """The library of another process, which gets no notices from the worker."""
    return Library(
        house.collections,
        house.documents,
        house.operations,
        KnowledgeSearch(retriever_of(house.database, house.embedder)),
        Watching(house.operations, heartbeat_seconds, poll_seconds=0.05),
        PageImages(house.documents, house.parser),
        embedders=house.embedders,
        generations=house.generations,
    )


async def collected(states: AsyncGenerator[Operation | None, None]) -> list[Operation]:
    async with asyncio.timeout(60), aclosing(states) as stream:
        return [one async for one in stream if one is not None]


async def test_watchers_here_and_elsewhere_see_the_states_up_to_the_final_one(
    house: House, people: People
) -> None:
    operation = await house.upload(people.ann, TEXT, "rivers.md")
    other = elsewhere(house)
    watching = [
        asyncio.create_task(collected(library.watching.follow(people.ann, operation.id)))
        for library in (house.library, other)
    ]
    async with house.working():
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
    assert await collected(other.watching.follow(people.ann, operation.id, final.seq)) == []
    assert await collected(other.watching.follow(people.ann, operation.id, 1)) == [final]


async def test_what_is_left_is_estimated_once_vectors_have_been_written(house: House, people: People) -> None:
    operation = await house.upload(people.ann, LONG, "rivers.md")
    gate = Gate()

    async def once_some_are_written() -> None:
        if house.ask("SELECT 1 FROM responsa.operation WHERE passages_done > 0"):
            await gate.pass_through()

    ingest = house.ingest(embedder=GatedEmbedder(house.embedder, once_some_are_written))
    async with house.working(ingest), asyncio.timeout(60):
        async with aclosing(house.library.watching.follow(people.ann, operation.id)) as states:
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
        assert (await house.ended(people.ann, operation)).time_left is None


async def test_a_silent_stream_beats(house: House, people: People) -> None:
    operation = await house.upload(people.ann, TEXT)
    async with aclosing(elsewhere(house, 0.05).watching.follow(people.ann, operation.id)) as states:
        assert await anext(states) == operation
        assert await anext(states) is None
        assert await anext(states) is None
        await house.library.cancel_operation(people.ann, operation.id)
        async with asyncio.timeout(60):
            while (final := await anext(states)) is None:
                pass
    assert final.error is not None
    assert final.error.reason is Reason.OPERATION_CANCELLED


async def test_a_server_that_shuts_down_sends_its_watchers_away(house: House, people: People) -> None:
    operation = await house.upload(people.ann, TEXT)
    library = elsewhere(house)
    async with aclosing(library.watching.follow(people.ann, operation.id)) as states:
        assert await anext(states) == operation
        waiting = asyncio.ensure_future(anext(states))
        library.watching.drain()
        draining = await raises(Unavailable, asyncio.wait_for(waiting, 60))
    assert draining.reason is Reason.DRAINING
    # The next server goes on where this one stopped.
    async with house.working():
        states = await collected(elsewhere(house).watching.follow(people.ann, operation.id, operation.seq))
    assert states[-1].done


async def test_cancelling_stops_the_work_at_once_and_leaves_nothing(house: House, people: People) -> None:
    """The parser would wait for ever, and another process cancels the operation."""
    operation = await house.upload(people.ann, TEXT, "rivers.md")
    gate, stopped = Gate(), asyncio.Event()

    async def wait() -> None:
        try:
            await gate.pass_through()
        finally:
            stopped.set()

    async with house.working(house.ingest(parser=GatedParser(house.parser, wait))):
        await asyncio.wait_for(gate.reached.wait(), 60)
        await elsewhere(house).cancel_operation(people.ann, operation.id)
        await asyncio.wait_for(stopped.wait(), 60)
        await house.until(lambda: not house.ask("SELECT 1 FROM procrastinate.procrastinate_jobs"))
    left = house.rows(("document", "document_version", "passage", "passage_vector", "term_stat"))
    assert left == {}
    assert list(house.spool.iterdir()) == []
