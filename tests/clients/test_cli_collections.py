"""`responsa collections` of an administrator, who also sees collections that only others read."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2

from clients.conformance.server import Context, abort, status
from responsa.auth.v1 import user_pb2
from responsa.knowledge.v1 import collection_pb2, knowledge_service_pb2, reader_pb2
from responsa_server.cli.collections import findable
from tests.clients.command_line import CommandLine
from tests.clients.scripted import (
    KNOWLEDGE,
    Scripted,
)

BEN = "users/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a11"
FORBIDDEN = collection_pb2.Collection(
    name="collections/default-b18b8246",
    owner=BEN,
    owner_display_name="Ben",
    chosen_id="default",
)


@pytest.fixture(autouse=True)
def served(server: Scripted) -> None:
    async def listed(_: Any, __: Context) -> knowledge_service_pb2.ListCollectionsResponse:
        mine = collection_pb2.Collection(name="collections/mine", chosen_id="mine", readable=True)
        return knowledge_service_pb2.ListCollectionsResponse(collections=[FORBIDDEN, mine])

    async def delete(request: Any, context: Context) -> empty_pb2.Empty:
        if not request.force:
            full = status(grpc.StatusCode.FAILED_PRECONDITION, "COLLECTION_NOT_EMPTY", "It holds documents.")
            await abort(context, full)
        return empty_pb2.Empty()

    server.on(f"{KNOWLEDGE}/ListCollections", listed)
    server.reply(f"{KNOWLEDGE}/GetCollection", FORBIDDEN)
    server.on(f"{KNOWLEDGE}/DeleteCollection", delete)


async def test_the_list_says_which_collections_an_administrator_may_not_read(
    responsa: CommandLine,
) -> None:
    done = await responsa("collections", "list")
    assert done.code == 0, done.err
    first, mine = done.out.splitlines()
    assert first == f"{'default-b18b8246':<24}  {'not readable':<16}  default (of Ben)"
    assert " ".join(mine.split()) == "mine 0 documents"


async def test_no_command_calls_a_collection_empty_that_its_caller_may_not_read(
    responsa: CommandLine,
) -> None:
    refused = await responsa("collections", "delete", "default-b18b8246")
    assert "--force` deletes all its documents too." in refused.err
    deleted = await responsa("collections", "delete", "default-b18b8246", "--force")
    assert deleted.out == "deleted collections/default-b18b8246 with all its documents\n"
    told = await responsa("collections", "delete", "default-b18b8246", "--force", "--json")
    assert told.lines == [{"deleted": "collections/default-b18b8246", "documents": None}]


def test_who_can_find_the_documents_of_a_collection() -> None:
    everyone, ann = reader_pb2.Reader(everyone=True), reader_pb2.Reader(user="users/1", display_name="Ann")
    admins = reader_pb2.Reader(role=user_pb2.USER_ROLE_ADMIN)
    mine = collection_pb2.Collection(name="collections/notes", chosen_id="notes", owner="users/2")
    assert findable(mine).startswith("Only you can find these documents. `responsa collections share notes ")
    assert findable(FORBIDDEN).startswith("Only Ben ")
    for readers, text in (
        ([ann, admins], "You, Ann (users/1), role admin can find these documents."),
        ([ann, everyone], "Everyone in your organisation can find these documents."),
    ):
        del mine.readers[:]
        mine.readers.extend(readers)
        assert findable(mine) == text
