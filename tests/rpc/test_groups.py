"""Groups over gRPC: who is removed from one finds nothing more, whatever runs at the same time."""

from __future__ import annotations

import asyncio

from tests.rpc.served import Served

_REMOVALS = 50


async def test_a_search_after_the_removal_from_a_group_finds_nothing(served: Served) -> None:
    group = (await served.ann.CreateGroup(group={"display_name": "Sales"})).name
    made = await served.ann.CreateCollection(
        collection_id="rivers", collection={"readers": [{"group": group}]}
    )
    async with served.house.working():
        operation = await served.ann.CreateDocument(
            metadata={"collection": made.name, "source_key": "elbe.md"},
            text="The Elbe is 1094 kilometres long.",
        )
        await served.ann.WaitOperation(name=operation.name)
    members = {"name": group, "users": [served.bob.name]}

    async def count_hits() -> int:
        return len((await served.bob.Search(terms=["How long is the Elbe?"])).hits)

    for _ in range(_REMOVALS):
        await served.ann.AddGroupMembers(**members)
        assert await count_hits() == 1
        running = [asyncio.create_task(count_hits()) for _ in range(3)]
        await served.ann.RemoveGroupMembers(**members)
        assert await count_hits() == 0
        assert set(await asyncio.gather(*running)) <= {0, 1}
