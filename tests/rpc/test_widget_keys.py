"""The key of a widget stands in a page that everybody reads: it only asks its agent and follows answers, at its
origins, and its visitors share limits."""

from __future__ import annotations

from uuid import UUID

import grpc
from structlog.testing import capture_logs

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_server.app.front import report_widgets
from responsa_server.calls.call import Call, Complete
from responsa_server.domain import names
from responsa_server.domain.errors import NotPermitted
from responsa_server.domain.people import Role
from responsa_server.identity.settings import LimitSettings, WidgetLimitSettings
from responsa_server.stores.postgres.database import Database
from tests.contract.test_limits import limiter
from tests.raising import raises
from tests.rpc.served import ANSWER, Metadata, Serve, Served, failed, failure

ORIGIN = "https://www.example.org"
OTHER = "https://other.example"
DEFAULT = "agents/scripted/versions/1"
OTHERS = "agents/other/versions/7"


async def test_a_widgets_key_only_asks_and_only_at_its_origins(serve: Serve) -> None:
    widgets: dict[UUID, frozenset[str]] = {}
    async with serve(widgets=widgets) as served:
        await check(served, widgets)


async def not_sent(_: object) -> None:
    raise AssertionError("a refused call sends nothing")


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
    frames = [frame async for frame in served.chat.Ask(question, metadata=sent())]
    assert frames[-1].events[-1].answer.text == ANSWER
    resumed = chat.ResumeTurnRequest(turn=frames[0].turn)
    again = [frame async for frame in served.chat.ResumeTurn(resumed, metadata=sent())]
    assert again[-1].events[-1].answer.text == ANSWER

    name, unnamed = await new_key(None)
    for metadata in (sent(None), sent("https://evil.example"), sent(OTHER), sent(secret=unnamed)):
        error = await failed(
            served.chat.CancelTurn(chat.CancelTurnRequest(name=frames[0].turn), metadata=metadata)
        )
        assert error.reason == "ORIGIN_NOT_ALLOWED"
    assert f"widget_keys names with it, as in {name}=" in error.message
    listed = chat.ListConversationsRequest()
    (conversation,) = (
        event.started.conversation for frame in frames for event in frame.events if event.HasField("started")
    )
    for call in (
        served.chat.ListConversations(listed, metadata=sent()),
        served.auth.CreateApiKey(auth.CreateApiKeyRequest(), metadata=sent()),
        # The conversations that are there are not the visitor's, not even those of other visitors.
        served.chat.Ask(chat.AskRequest(text="Why?", conversation=conversation), metadata=sent()).read(),
    ):
        assert (await failed(call)).reason == "ROLE_REQUIRED"
    # Other transports make the same calls for programs of others.
    for transport in ("openai", "mcp", "a2a", "ws", "http"):
        headers = {name: [value] for name, value in sent()}
        call = Call("/responsa.chat.v1.ChatService/Ask", headers, f"{transport} 127.0.0.1:1")
        caught = await raises(NotPermitted, served.calls.serve(call, Complete(question), not_sent))
        assert caught.reason == "ROLE_REQUIRED"
    # A line of the setting makes no other key one of a widget.
    _, ordinary = await new_key(ORIGIN, widget=False)
    await served.chat.ListConversations(listed, metadata=sent(None, ordinary))
    # What the user asks with it is not there for the widget.
    other = await served.chat.Answer(chat.AnswerRequest(text="Who?"), metadata=sent(None, ordinary))
    for call in (
        served.chat.ResumeTurn(chat.ResumeTurnRequest(turn=other.name), metadata=sent()).read(),
        served.chat.CancelTurn(chat.CancelTurnRequest(name=other.name), metadata=sent()),
    ):
        assert (await failed(call)).reason == "RESOURCE_NOT_FOUND"


async def test_the_list_of_keys_and_the_log_say_what_a_widget_does_not_read(served: Served) -> None:
    user = names.user((await served.identity.create_user("acme", "Site", "", Role.SERVICE)).id)
    named, everyone, services = {"user": user}, {"everyone": True}, {"role": "USER_ROLE_SERVICE"}
    shares = {
        "a": [everyone],
        "b": [services],
        "c": [named, everyone],
        "d": [{"role": "USER_ROLE_USER"}],
        "e": [],
    }
    for identity, readers in shares.items():
        await served.ann.CreateCollection(collection_id=identity, collection={"readers": readers})
    made = await served.ann.CreateServiceApiKey(user=user, api_key={"widget": True})
    ordinary = await served.ann.CreateServiceApiKey(user=user)
    keys = (await served.ann.ListTenantApiKeys(filter=f'owner = "{user}"')).api_keys
    assert {one.name: one.unread_collections for one in keys} == {
        made.api_key.name: 2,
        ordinary.api_key.name: 0,
    }
    assert made.api_key.unread_collections == 2
    ids = [names.parse_uuid("apiKeys", one.name) for one in keys]
    with capture_logs() as logs:
        await report_widgets(served.identity.store, ids)
    assert [(line["event"], line["key"], line["collections"]) for line in logs] == [
        ("widget_reads_less", made.api_key.name, 2)
    ]


async def test_a_widget_asks_the_agent_of_its_key_alone(serve: Serve) -> None:
    widgets: dict[UUID, frozenset[str]] = {}
    async with serve(widgets=widgets) as served:
        user = names.user((await served.identity.create_user("acme", "Site", "", Role.SERVICE)).id)
        started = {"": DEFAULT, "agents/other": OTHERS, OTHERS: OTHERS}
        # Which names of agents the questions of each key may have.
        named = {
            "": ("", "agents/scripted"),
            "agents/other": ("", "agents/other"),
            OTHERS: ("", "agents/other", OTHERS),
        }
        for agent, allowed in named.items():
            made = await served.ann.CreateServiceApiKey(user=user, api_key={"widget": True, "agent": agent})
            assert made.api_key.agent == agent
            widgets[names.parse_uuid("apiKeys", made.api_key.name)] = frozenset({ORIGIN})
            metadata = (("authorization", f"Bearer {made.secret}"), ("origin", ORIGIN))
            for name in ("", "agents/scripted", "agents/other", DEFAULT, OTHERS, "agents/none"):
                call = served.chat.Ask(chat.AskRequest(text="How long?", agent=name), metadata=metadata)
                if name in allowed:
                    first = (await call.read()).events[0]
                    assert first.started.agent_version == started[agent], (agent, name)
                else:
                    assert (await failed(call.read())).reason == "ROLE_REQUIRED", (agent, name)
        wrong = (
            {"agent": "agents/other"},
            {"widget": True, "agent": "agents/none"},
            {"widget": True, "agent": "other"},
        )
        reasons = [
            (await failed(served.ann.CreateServiceApiKey(user=user, api_key=api_key))).reason
            for api_key in wrong
        ]
        assert reasons == ["INVALID_FIELD", "RESOURCE_NOT_FOUND", "INVALID_FIELD"]


async def test_visitors_share_a_day_and_each_address_has_a_minute(
    serve: Serve, database: Database, redis_url: str
) -> None:
    widgets: dict[UUID, frozenset[str]] = {}
    settings = LimitSettings(widget=WidgetLimitSettings(messages_per_day=13))
    async with (
        limiter(database, redis_url, settings) as gate,
        serve(limiter=gate, widgets=widgets) as served,
    ):
        user = names.user((await served.identity.create_user("acme", "Site", "", Role.SERVICE)).id)

        async def ask(secret: str, address: str) -> str:
            metadata = (
                ("authorization", f"Bearer {secret}"),
                ("origin", ORIGIN),
                ("x-forwarded-for", address),
            )
            call = served.chat.Ask(chat.AskRequest(text="How long is the river?"), metadata=metadata)
            try:
                return (await call.read()) and ""
            except grpc.aio.AioRpcError as error:
                found = failure(error)
                return f"{found.reason} {found.metadata['scope']}"

        for _ in range(2):  # the keys of one user are counted apart
            made = await served.ann.CreateServiceApiKey(user=user, api_key={"widget": True})
            widgets[names.parse_uuid("apiKeys", made.api_key.name)] = frozenset({ORIGIN})
            outcomes = [await ask(made.secret, "2001:db8::1") for _ in range(12)]
            assert outcomes == [""] * 10 + ["RATE_LIMIT address"] * 2
            # A question that the address has no room for does not count for the day.
            outcomes = [await ask(made.secret, f"2001:db8:{place}::1") for place in range(1, 6)]
            assert outcomes == [""] * 3 + ["RATE_LIMIT key"] * 2
