"""`responsa collections` of an administrator, who also sees collections that only others read."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2

from clients.conformance.server import Context, abort, status
from responsa.auth.v1 import user_pb2
from responsa.knowledge.v1 import collection_pb2, knowledge_service_pb2, reader_pb2
from tests.clients.command_line import CommandLine
from tests.clients.scripted import (
    AUTH,
    KNOWLEDGE,
    Scripted,
)

ME = "users/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10"
BEN = "users/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a11"
FORBIDDEN = collection_pb2.Collection(
    name="collections/default-b18b8246",
    owner=BEN,
    owner_display_name="Ben",
    chosen_id="default",
    readers=[reader_pb2.Reader(user=BEN), reader_pb2.Reader(role=user_pb2.USER_ROLE_USER)],
)


def collection(name: str, *readers: reader_pb2.Reader, owner: str = BEN) -> collection_pb2.Collection:
    return collection_pb2.Collection(
        name=f"collections/{name}", chosen_id=name, owner=owner, readers=readers, owner_display_name="Ben"
    )


@pytest.fixture
def role(request: pytest.FixtureRequest) -> Any:
    return getattr(request, "param", user_pb2.USER_ROLE_ADMIN)


@pytest.fixture(autouse=True)
def served(server: Scripted, role: Any) -> None:
    async def me(_: Any, __: Context) -> user_pb2.User:
        return user_pb2.User(name=ME, role=role)

    async def listed(_: Any, __: Context) -> knowledge_service_pb2.ListCollectionsResponse:
        found = [
            FORBIDDEN,
            collection("mine", owner=ME),
            collection("with-all", reader_pb2.Reader(everyone=True)),
            collection("with-me", reader_pb2.Reader(user=ME)),
            collection("with-role", reader_pb2.Reader(role=user_pb2.USER_ROLE_ADMIN)),
        ]
        return knowledge_service_pb2.ListCollectionsResponse(collections=found)

    async def one(_: Any, __: Context) -> collection_pb2.Collection:
        return FORBIDDEN

    async def delete(request: Any, context: Context) -> empty_pb2.Empty:
        if not request.force:
            full = status(grpc.StatusCode.FAILED_PRECONDITION, "COLLECTION_NOT_EMPTY", "It holds documents.")
            await abort(context, full)
        return empty_pb2.Empty()

    server.on(f"{AUTH}/GetMe", me)
    server.on(f"{KNOWLEDGE}/ListCollections", listed)
    server.on(f"{KNOWLEDGE}/GetCollection", one)
    server.on(f"{KNOWLEDGE}/DeleteCollection", delete)


async def test_the_list_says_which_collections_an_administrator_may_not_read(
    responsa: CommandLine, server: Scripted
) -> None:
    done = await responsa("collections", "list")
    assert done.code == 0, done.err
    first, *others = done.out.splitlines()
    assert first == f"{'default-b18b8246':<24}  {'not readable':<16}  default (of Ben)"
    assert [" ".join(other.split()) for other in others] == [
        f"{name} 0 documents" for name in ("mine", "with-all", "with-me", "with-role")
    ]
    assert len(server.requests[f"{AUTH}/GetMe"]) == 1


@pytest.mark.parametrize("role", [user_pb2.USER_ROLE_USER], indirect=True)
async def test_users_read_all_collections_of_their_list(responsa: CommandLine) -> None:
    # The server does not tell them the readers.
    done = await responsa("collections", "list")
    assert (done.code, done.out.count(" 0 documents")) == (0, 5)


async def test_no_command_calls_a_collection_empty_that_its_caller_may_not_read(
    responsa: CommandLine,
) -> None:
    refused = await responsa("collections", "delete", "default-b18b8246")
    assert "--force` deletes all its documents too." in refused.err
    deleted = await responsa("collections", "delete", "default-b18b8246", "--force")
    assert deleted.out == "deleted collections/default-b18b8246 with all its documents\n"
    told = await responsa("collections", "delete", "default-b18b8246", "--force", "--json")
    assert told.lines == [{"deleted": "collections/default-b18b8246", "documents": None}]
