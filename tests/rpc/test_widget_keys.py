"""The key of a widget stands in a page that everybody reads: it only asks and follows answers, at its origins."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_server.domain import names
from responsa_server.domain.people import Role
from responsa_server.stores.postgres.database import Database
from tests.contract.library_house import House
from tests.rpc.served import ANSWER, Metadata, Served, failed, serving

ORIGIN = "https://www.example.org"
OTHER = "https://other.example"


async def test_a_widgets_key_only_asks_and_only_at_its_origins(
    house: House, database: Database, folder: Path
) -> None:
    widgets: dict[UUID, frozenset[str]] = {}
    async with asynccontextmanager(serving)(house, database, folder, widgets=widgets) as served:
        await check(served, widgets)


async def check(served: Served, widgets: dict[UUID, frozenset[str]]) -> None:
    user = names.user((await served.identity.create_user("acme", "Site", "", Role.SERVICE)).id)

    async def new_key(origin: str | None, *, widget: bool = True) -> tuple[str, str]:
        """A new key, for which the setting names this origin. Returns its name and its secret."""
        made = await served.ann.CreateServiceApiKey(user=user, api_key={"widget": widget})
        if origin is not None:
            widgets[names.parse_uuid("apiKeys", made.api_key.name)] = frozenset({origin})
        return made.api_key.name, made.secret

    _, secret = await new_key(ORIGIN)
    await new_key(OTHER)

    def sent(origin: str | None = ORIGIN, secret: str = secret) -> Metadata:
        origins = () if origin is None else (("origin", origin),)
        return (("authorization", f"Bearer {secret}"), *origins)

    question = chat.AskRequest(text="How long is the river?")
    asked = [frame async for frame in served.chat.Ask(question, metadata=sent())]
    assert asked[-1].events[-1].answer.text == ANSWER
    resumed = chat.ResumeTurnRequest(turn=asked[0].turn)
    again = [frame async for frame in served.chat.ResumeTurn(resumed, metadata=sent())]
    assert again[-1].events[-1].answer.text == ANSWER

    name, unnamed = await new_key(None)
    for metadata in (sent(None), sent("https://evil.example"), sent(OTHER), sent(secret=unnamed)):
        error = await failed(
            served.chat.CancelTurn(chat.CancelTurnRequest(name=asked[0].turn), metadata=metadata)
        )
        assert error.reason == "ORIGIN_NOT_ALLOWED"
    assert f"widget_keys names with it, as in {name}=" in error.message
    listed = chat.ListConversationsRequest()
    (version,) = (
        event.started.agent_version for frame in asked for event in frame.events if event.HasField("started")
    )
    for call in (
        served.chat.ListConversations(listed, metadata=sent()),
        served.auth.CreateApiKey(auth.CreateApiKeyRequest(), metadata=sent()),
        # Versions may be ones that were never published.
        served.chat.Ask(chat.AskRequest(text="Why?", agent=version), metadata=sent()).read(),
    ):
        assert (await failed(call)).reason == "ROLE_REQUIRED"
    # A line of the setting makes no other key one of a widget.
    _, ordinary = await new_key(ORIGIN, widget=False)
    await served.chat.ListConversations(listed, metadata=sent(None, ordinary))
