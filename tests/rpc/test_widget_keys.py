"""The key of a widget stands in a page that everybody reads: it only asks and follows answers, at its origins."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_server.domain.people import Role
from responsa_server.stores.postgres.database import Database
from tests.contract.library_house import House
from tests.rpc.served import ANSWER, Metadata, Served, failed, serving

ORIGIN = "https://www.example.org"


async def test_a_widgets_key_only_asks_and_only_at_its_origins(
    house: House, database: Database, folder: Path
) -> None:
    widgets: dict[UUID, frozenset[str]] = {}
    async with asynccontextmanager(serving)(house, database, folder, widgets=widgets) as served:
        await check(served, widgets)


async def check(served: Served, widgets: dict[UUID, frozenset[str]]) -> None:
    user = await served.identity.create_user("acme", "Site", "", Role.SERVICE)
    key, secret = await served.identity.create_key("acme", user.id, "")
    widgets[key.id] = frozenset({ORIGIN})

    def sent(**headers: str) -> Metadata:
        return (("authorization", f"Bearer {secret}"), *headers.items())

    question = chat.AskRequest(text="How long is the river?")
    asked = [frame async for frame in served.chat.Ask(question, metadata=sent(origin=ORIGIN))]
    assert asked[-1].events[-1].answer.text == ANSWER
    resumed = chat.ResumeTurnRequest(turn=asked[0].turn)
    again = [frame async for frame in served.chat.ResumeTurn(resumed, metadata=sent(origin=ORIGIN))]
    assert again[-1].events[-1].answer.text == ANSWER

    elsewhere: tuple[Mapping[str, str], ...] = ({}, {"origin": "https://evil.example"})
    for headers in elsewhere:
        error = await failed(
            served.chat.GetTurn(chat.GetTurnRequest(name=asked[0].turn), metadata=sent(**headers))
        )
        assert error.reason == "ORIGIN_NOT_ALLOWED"
    for call in (
        served.chat.ListConversations(chat.ListConversationsRequest(), metadata=sent(origin=ORIGIN)),
        served.auth.CreateApiKey(auth.CreateApiKeyRequest(), metadata=sent(origin=ORIGIN)),
    ):
        assert (await failed(call)).reason == "ROLE_REQUIRED"
