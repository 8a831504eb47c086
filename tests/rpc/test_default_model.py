"""The model that `default` stands for, over gRPC: what owners choose, and what a test of a model says."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Final

import grpc
import pytest

from responsa.admin.v1 import model_settings_pb2 as pb
from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.app.default_model import DefaultModels
from responsa_server.app.models import model_table
from responsa_server.app.settings import load
from responsa_server.domain.errors import Precondition
from responsa_server.domain.model_settings import DefaultModel, ModelTestOutcome
from responsa_server.domain.models import ModelError, ModelFault, TextPiece, ToolRequest
from responsa_server.search.settings import EMBEDDED_MODEL
from responsa_server.stores.postgres.database import Database
from tests.default_models import build_default_models
from tests.rpc.served import MODELS, Served, failed
from tests.unit.providers.test_refusals import PROMPT, SCHEMA
from tests.wire.anthropic import Anthropic
from tests.wire.gemini import Gemini
from tests.wire.keyed import KeyedServer
from tests.wire.openai import OpenAi
from tests.wire.refusing import NAMELESS, REFUSALS, Refusal, RefusingServer
from tests.wire.speaking import KEY, Handler, Scene, WireServer, complaining, speaking, telling

STRONG = pb.DefaultModel(provider="scripted", model="strong")


async def babbling(exchange: LoopbackExchange) -> None:
    await exchange.raw(b"SSH-2.0-OpenSSH_9.9\r\n")
    exchange.cut()


async def test_an_owner_stores_a_model_that_works_and_the_log_says_so(served: Served) -> None:
    found = await served.ann.GetModels()
    assert (found.models, found.fixed_by, found.HasField("update_time")) == ([], "", False)
    offered = {one.name: one for one in found.providers}
    assert offered["openai"].key_name == "OPENAI_API_KEY"
    assert offered["compatible"].takes_base_url
    assert "strong" in offered["scripted"].models

    stored = await served.ann.SetDefaultModel(default_model=STRONG)
    assert (stored.default_model, stored.HasField("update_time")) == (STRONG, True)
    broken = pb.DefaultModel(provider="scripted", model="broken-401")
    error = await failed(served.ann.SetDefaultModel(default_model=broken))
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_TEST_FAILED")
    assert error.metadata == {"outcome": "KEY_REFUSED"}
    assert (await served.ann.GetModels()).default_model == STRONG
    forced = await served.ann.SetDefaultModel(default_model=broken, skip_test=True)
    assert forced.default_model == broken
    # Only a message that is present and empty means that there is no model.
    error = await failed(served.ann.SetDefaultModel())
    assert list(error.violations) == ["default_model"]
    assert (await served.ann.GetModels()).default_model == broken
    none = await served.ann.SetDefaultModel(default_model=pb.DefaultModel())
    assert none.default_model == pb.DefaultModel()

    log = (await served.ann.ListAuditEvents(filter='action = "default_model.*"')).audit_events
    assert [(one.action, one.resource, one.outcome) for one in log] == [
        ("default_model.set", "defaultModel/-", outcome)
        for outcome in ("OK", "OK", "MODEL_TEST_FAILED", "OK")
    ]


WRONG: Final[Sequence[tuple[str, pb.DefaultModel]]] = (
    ("provider", pb.DefaultModel(provider="unheard", model="m")),
    ("embedding", pb.DefaultModel(provider="anthropic", model="m", embedding="e")),
    ("provider", pb.DefaultModel(model="m")),
    ("judge", pb.DefaultModel(provider="scripted", model="strong", judge="unheard")),
    ("model", pb.DefaultModel(provider="scripted", model="unheard")),
    # No other secret of the server can be sent to an address that somebody enters.
    ("key_name", pb.DefaultModel(provider="openai", model="m", key_name="WEATHER_API_KEY")),
    ("key_name", pb.DefaultModel(provider="compatible", model="m", key_name="OPENAI_API_KEY", base_url="https://a.example/v1")),
    ("key_name", pb.DefaultModel(provider="scripted", model="strong", key_name="MODEL_API_KEY")),
    ("api_key", pb.DefaultModel(provider="scripted", model="strong", api_key=KEY)),
    ("api_key", pb.DefaultModel(provider="openai", model="m", key_name="MODEL_API_KEY", api_key=KEY)),
    ("api_key", pb.DefaultModel(provider="openai", model="m", api_key="two words")),
    ("base_url", pb.DefaultModel(provider="compatible", model="m", base_url="http://a.example/v1", api_key=KEY)),
    ("base_url", pb.DefaultModel(provider="openai", model="m", base_url="https://a.example/v1")),
    ("base_url", pb.DefaultModel(provider="compatible", model="m")),
    ("base_url", pb.DefaultModel(provider="compatible", model="m", base_url="http://u:p@a.example/v1")),
)  # fmt: skip


async def test_what_no_provider_takes_is_refused_by_its_field(served: Served) -> None:
    for field, wanted in WRONG:
        for method in (served.ann.SetDefaultModel, served.ann.TestModel):
            error = await failed(method(default_model=wanted))
            assert (error.reason, list(error.violations)) == ("INVALID_FIELD", [f"default_model.{field}"]), (
                wanted
            )


async def test_a_test_says_what_is_wrong_and_never_the_key(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_LAB_API_KEY", KEY)
    wire = OpenAi()

    async def tried(handler: Handler | None, host: str = "127.0.0.1", key: str = "MODEL_LAB_API_KEY") -> str:
        server = LoopbackServer(handler or complaining(wire.complaint(500)))
        await server.start()
        url = server.url.replace("127.0.0.1", host) + wire.root
        if handler is None:
            await server.close()
        wanted = pb.DefaultModel(provider="compatible", model="m-1", key_name=key, base_url=url)
        found = await served.ann.TestModel(default_model=wanted)
        await server.close()
        assert KEY not in found.message
        return (
            f"{pb.ModelTestOutcome.Name(found.outcome).removeprefix('MODEL_TEST_OUTCOME_')} {found.message}"
        )

    answering = telling(wire, wire.events(Scene(["OK"])))
    assert await tried(answering) == "ANSWERED The model has answered."
    for handler, outcome, named in (
        (complaining(wire.complaint(401, KEY)), "KEY_REFUSED", "MODEL_LAB_API_KEY"),
        (complaining(wire.complaint(404)), "NOT_FOUND", "m-1"),
        (complaining(wire.complaint(429)), "BUSY", "in a minute"),
        (complaining(wire.complaint(400)), "FAILED", "invalid_request_error"),
        (None, "UNREACHABLE", "http://127.0.0.1:"),
        (babbling, "UNREACHABLE", "No HTTP server answers"),
    ):
        said = await tried(handler)
        assert said.startswith(f"{outcome} "), said
        assert named in said
    for said, named in (
        (await tried(answering, key="MODEL_NONE_API_KEY"), "KEY_MISSING There is no key under the name MODEL_NONE_API_KEY"),
        (await tried(answering, host="127.0.0.2", key=""), "ADDRESS_NOT_ALLOWED The server may not connect to 127.0.0.2"),
    ):  # fmt: skip
        assert said.startswith(named)
    log = (await served.ann.ListAuditEvents(filter='action = "default_model.test"')).audit_events
    assert len(log) == 9
    assert KEY not in str(log) + str(served.lines.kept)


async def test_a_test_that_says_yes_has_learned_what_agents_do_without(
    served: Served, database: Database
) -> None:
    nameless = Refusal(
        lambda body: "temperature" in body or "tools" in body, NAMELESS, {"temperature": 0, "tools": 0}
    )
    async with AsyncExitStack() as servers:  # a port that is used again would have what was learned at it
        for refusal in (*REFUSALS.values(), nameless):
            tested = RefusingServer(refusal, asks="look_up", reasons=True)
            server = LoopbackServer(tested.handle)
            await server.start()
            servers.push_async_callback(server.close)
            await check_learned(served, database, refusal, tested, server.url)


async def check_learned(
    served: Served, database: Database, refusal: Refusal, tested: RefusingServer, url: str
) -> None:
    """The test of a model on a server that refuses something has learned it, and so has another process."""
    window = int(refusal.learned.get("window", 0))
    wanted = DefaultModel("compatible", "m", base_url=f"{url}/v1", window=window)
    testing = model_table(MODELS.models)
    models = build_default_models(MODELS, testing, database)
    tested_model = await models.test(served.ann.who, wanted)
    tools = ["tool"] if refusal.learned.get("tools") != 0 else []
    passed = ["answer", "prompt", *tools, "schema", *(["window"] if window else [])]
    assert [step.name for step in tested_model.steps if step.passed] == passed
    assert (tested_model.outcome, len(tested_model.steps)) == (ModelTestOutcome.ANSWERED, len(passed))
    learned = {} if window else refusal.learned
    # The test's short prompts do not exceed a window.
    assert tested_model.learned == {key: value for key, value in learned.items() if key != "window"}

    # Another process learns it from the database, and sends nothing that is refused.
    await models.store(served.ann.who, wanted, skip_test=True)
    await models.refresh()
    refused = tested.refused
    table = model_table(MODELS.models)
    other = build_default_models(MODELS, table, database)
    await other.refresh()
    shown = await other.read()
    assert (shown.learned, shown.default_model.window) == (tested_model.learned, window)
    chain = table.chain(["default"])
    assert chain is not None
    async with aclosing(chain.stream(replace(PROMPT, schema=SCHEMA))) as pieces:
        assert [piece async for piece in pieces if isinstance(piece, (TextPiece, ToolRequest))]
    assert tested.refused == refused
    await table.close()
    await testing.close()


async def test_a_body_that_is_none_is_said_to_the_owner(served: Served) -> None:
    async def page(exchange: LoopbackExchange) -> None:
        await exchange.reply(200, b"<html>Sign in</html>", {"content-type": "text/html"})

    server = LoopbackServer(page)
    await server.start()
    wanted = pb.DefaultModel(provider="compatible", model="m", base_url=f"{server.url}/v1")
    found = await served.ann.TestModel(default_model=wanted)
    await server.close()
    assert (found.outcome, list(found.steps)) == (pb.MODEL_TEST_OUTCOME_FAILED, [])
    assert "HTTP 200, text/html: <html>Sign in</html>" in found.message


@pytest.mark.parametrize("text", ["<think>The user asks.", " "])
async def test_a_model_that_says_nothing_outside_of_its_reasoning_fails_the_test(
    served: Served, text: str
) -> None:
    server = LoopbackServer(RefusingServer(text=text).handle)
    await server.start()
    wanted = pb.DefaultModel(provider="compatible", model="m", base_url=f"{server.url}/v1")
    found = await served.ann.TestModel(default_model=wanted)
    await server.close()
    assert (found.outcome, list(found.steps)) == (pb.MODEL_TEST_OUTCOME_FAILED, [])
    assert "It sent: no text outside of reasoning" in found.message


async def test_a_provider_says_the_windows_of_its_models(served: Served) -> None:
    server = LoopbackServer(RefusingServer().handle)
    await server.start()
    wanted = pb.DefaultModel(provider="compatible", base_url=f"{server.url}/v1")
    assert (await served.ann.TestModel(default_model=wanted)).windows == {"m": 4096}
    await server.close()


async def test_the_problem_of_a_stored_model_says_that_the_server_may_not_connect(
    served: Served, database: Database
) -> None:
    settings = load(models={"scripted": True}, listen="0.0.0.0")
    models = build_default_models(settings, model_table(settings.models), database)
    for url, host in (
        ("http://169.254.169.254/v1", "169.254.169.254"),
        ("http://localhost:1/v1", "localhost"),
    ):
        stored = DefaultModel("compatible", "x", base_url=url)
        await models.store(served.ann.who, stored, skip_test=True)
        await models.refresh()
        found = await models.read()
        assert found.problem.startswith(f"The server may not connect to {host}, ")
        assert list(found.models) == []


async def test_a_problem_appears_after_three_failures_for_one_cause_and_closes_at_the_next_success(
    served: Served, database: Database
) -> None:
    refusing, wire = True, OpenAi()

    async def handle(exchange: LoopbackExchange) -> None:
        await (complaining(wire.complaint(401)) if refusing else RefusingServer().handle)(exchange)

    server = LoopbackServer(handle)
    await server.start()
    wanted = pb.DefaultModel(provider="compatible", model="m", base_url=server.url + wire.root)
    await served.ann.SetDefaultModel(default_model=wanted, skip_test=True)
    # The process of a worker, which tells the one that is asked by the database alone.
    table = model_table(MODELS.models)
    worker = build_default_models(MODELS, table, database)

    async def ask() -> str:
        await worker.refresh()
        chain = table.chain(["default"])
        assert chain is not None
        with contextlib.suppress(ModelError):
            async with aclosing(chain.stream(PROMPT)) as pieces:
                assert [piece async for piece in pieces]
        await worker.refresh()
        await served.models.refresh()
        return (await served.ann.GetModels()).problem

    said = [await ask() for _ in range(3)]
    assert said[:2] == ["", ""]
    assert said[2].startswith(
        "The model compatible:m has failed three times in a row: its server rejected the key. "
    )
    await served.ann.SetDefaultModel(default_model=wanted, skip_test=True)
    assert (await served.ann.GetModels()).problem == ""
    assert (await ask(), bool(await ask()), bool(await ask())) == ("", False, True)
    refusing = False
    await served.ann.TestModel(default_model=wanted)
    assert (await served.ann.GetModels()).problem == ""
    table.breakers.record_success("key:compatible")
    assert await ask() == ""
    await table.close()
    await server.close()


async def test_what_the_operator_has_fixed_cannot_be_set(served: Served, database: Database) -> None:
    settings = load(models={"scripted": True, "default": ["scripted:strong"]})
    models = build_default_models(settings, model_table(settings.models), database)
    await served.ann.SetDefaultModel(default_model=pb.DefaultModel(provider="scripted", model="obedient"))
    assert await models.refresh() == ("scripted:strong",)
    assert (await models.read()).fixed_by == "models.default"
    with pytest.raises(Precondition) as refused:
        await models.store(served.ann.who, DefaultModel("scripted", "priced"), skip_test=True)
    assert (refused.value.reason, refused.value.metadata) == ("MODEL_FIXED", {"setting": "models.default"})


async def test_an_owner_pastes_a_key_chooses_among_the_models_and_nobody_sees_the_key_again(
    served: Served, database: Database
) -> None:
    server = KeyedServer()
    async with server as url:
        pasted = pb.DefaultModel(provider="compatible", base_url=url, api_key=KEY)
        listed = await served.ann.TestModel(default_model=pasted)
        assert (listed.outcome, list(listed.models)) == (
            pb.MODEL_TEST_OUTCOME_ANSWERED,
            ["m-1", "vendor/m-2:latest"],
        )
        error = await failed(served.ann.SetDefaultModel(default_model=pasted))
        assert list(error.violations) == ["default_model.model"]
        pasted.model = "m-1"
        stored = await served.ann.SetDefaultModel(default_model=pasted)
        assert (stored.key_in_use, stored.key_stored, stored.default_model.api_key) == ("stored", True, "")

        # Another model of the same server is asked with the stored key.
        pasted.model, pasted.api_key, pasted.base_url = "vendor/m-2:latest", "", url + "/"
        stored = await served.ann.SetDefaultModel(default_model=pasted)
        assert (stored.default_model.model, stored.key_stored) == ("vendor/m-2:latest", True)
        wrong = pb.DefaultModel(provider="compatible", model="m-1", base_url=url, api_key="sk-wrong-1234567")
        refused = await served.ann.TestModel(default_model=wrong)
        assert (refused.outcome, "sk-wrong" in refused.message) == (pb.MODEL_TEST_OUTCOME_KEY_REFUSED, False)
        async with database.no_tenant_statements() as connection:
            row = await (
                await connection.execute("SELECT default_model::text FROM responsa.default_model")
            ).fetchone()
        log = (await served.ann.ListAuditEvents(filter='action = "default_model.*"')).audit_events
        assert KEY not in f"{row}{log}{served.lines.kept}{listed}{stored}"
        assert KEY.encode().hex() not in str(row)

        # The key is for this address alone: no other server gets it, and no redirect is followed.
        other = KeyedServer(location=url + "/models")
        async with other as elsewhere:
            for model in ("", "m-1"):
                moved = pb.DefaultModel(provider="compatible", model=model, base_url=elsewhere)
                assert (
                    await served.ann.TestModel(default_model=moved)
                ).outcome != pb.MODEL_TEST_OUTCOME_ANSWERED
            assert {key for _, key in other.asked} == {""}
            before = len(server.asked)
            moved.api_key = KEY
            assert (await served.ann.TestModel(default_model=moved)).outcome != pb.MODEL_TEST_OUTCOME_ANSWERED
            assert len(server.asked) == before
            stored = await served.ann.SetDefaultModel(
                default_model=pb.DefaultModel(provider="compatible", model="m-1", base_url=elsewhere),
                skip_test=True,
            )
            assert (stored.key_in_use, stored.key_stored) == ("", False)


async def test_a_key_that_this_server_cannot_decrypt_is_to_be_pasted_again_and_one_under_a_name_goes_before_it(
    served: Served, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load()
    wanted = DefaultModel("openai", "m-1", api_key=KEY)

    def models_under(secret: bytes) -> DefaultModels:
        return build_default_models(settings, model_table(settings.models), database, secret)

    models = models_under(b"one secret of the installation, 32")
    await models.store(served.ann.who, wanted, skip_test=True)
    assert await models.refresh() == ("openai:m-1",)
    replaced = models_under(b"another secret of the installation")
    assert await replaced.refresh() == ()
    found = await replaced.read()
    assert (found.problem.endswith("Paste the key again."), found.key_in_use, found.key_stored) == (
        True,
        "",
        True,
    )
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    assert await replaced.refresh() == ("openai:m-1",)
    assert (await replaced.read()).key_in_use == "OPENAI_API_KEY"


@pytest.mark.parametrize(
    ("wire", "body", "path"),
    [
        (OpenAi(), {"object": "list", "data": [{"id": "m-1", "object": "model"}]}, "/models"),
        (Anthropic(), {"data": [{"id": "m-1", "display_name": "M 1", "type": "model"}], "has_more": False}, "/models?limit=1000"),
        (Gemini(), {"models": [{"name": "models/m-1", "displayName": "M 1"}]}, "/models?pageSize=1000"),
    ],
)  # fmt: skip
async def test_each_vendor_lists_its_models(wire: WireServer, body: object, path: str) -> None:
    async def handle(exchange: LoopbackExchange) -> None:
        assert (exchange.request.method, exchange.request.path) == ("GET", wire.root + path)
        assert KEY in str(exchange.request.headers)
        await exchange.reply(200, json.dumps(body).encode())

    async with speaking(wire, handle) as model:
        assert list(await model.list_models()) == ["m-1"]

    async def babble(exchange: LoopbackExchange) -> None:
        await exchange.reply(200, b'{"data": 1}')

    async with speaking(wire, babble) as model:
        with pytest.raises(ModelError) as failure:
            await model.list_models()
        assert failure.value.fault is ModelFault.MALFORMED


async def test_the_model_that_checks_answers_is_one_of_the_same_provider(
    served: Served, database: Database
) -> None:
    settings = load()
    models = build_default_models(settings, model_table(settings.models), database)
    wanted = DefaultModel("compatible", "m-1", base_url="http://127.0.0.1:1/v1", judge="m-2")
    await models.store(served.ann.who, wanted, skip_test=True)
    await models.refresh()
    assert (models.judge, (await models.read()).default_model.judge) == ("compatible:m-2", "m-2")
    await models.store(served.ann.who, DefaultModel(), skip_test=True)
    await models.refresh()
    assert models.judge == ""


async def test_the_vectors_of_new_collections_come_from_the_same_provider(
    served: Served, database: Database
) -> None:
    owner = served.ann.who
    settings = load()
    table = model_table(settings.models)
    models = build_default_models(settings, table, database)
    async with KeyedServer() as url:
        wanted = DefaultModel("compatible", "m-1", base_url=url, embedding="e-1", api_key=KEY)
        wrong = await models.test(owner, replace(wanted, api_key="sk-wrong-1234567"))
        assert wrong.outcome == ModelTestOutcome.KEY_REFUSED
        await models.store(owner, wanted, skip_test=False)
        assert (await models.read()).embedding == EMBEDDED_MODEL
        await models.refresh()
        assert (await models.read()).embedding == "compatible:e-1"
        embedder = await models.embedders.of_model()
        assert embedder.name == "compatible:e-1/256"
        async with KeyedServer("sk-another-123456") as moved:
            await models.store(
                owner, replace(wanted, base_url=moved, api_key="sk-another-123456"), skip_test=True
            )
            await models.refresh()
            # Vectors that exist are asked for at the new address.
            again = await models.embedders.of_name(embedder.name)
            assert again is not None
            assert (again is embedder, (await again.embed(["words"])).shape) == (False, (1, 256))
    await models.store(owner, DefaultModel("compatible", "m-1", base_url=url), skip_test=True)
    await models.refresh()
    assert (await models.read()).embedding == EMBEDDED_MODEL
    fixed = load(
        retrieval={"embedding": "openai:text-embedding-3-small"},
        models={"vendors": {"openai": {"api_key": KEY}}},
    )
    operated = build_default_models(fixed, model_table(fixed.models), database)
    assert (await operated.read()).embedding_fixed_by == "retrieval.embedding"
    with pytest.raises(Precondition) as error:
        await operated.store(owner, wanted, skip_test=True)
    assert error.value.metadata == {"setting": "retrieval.embedding"}


async def test_while_a_limit_is_in_money_a_model_needs_a_price(served: Served) -> None:
    paths = {"paths": ["cost_usd_micros_per_month"]}
    public = pb.DefaultModel(provider="compatible", model="house-large", base_url="https://8.8.8.8/v1")
    private = pb.DefaultModel(provider="compatible", model="m", base_url="http://127.0.0.1:1/v1")
    priced = pb.DefaultModel()
    priced.CopyFrom(public)
    priced.input_usd_micros, priced.output_usd_micros = 500_000, 0
    lacking = pb.DefaultModel()
    lacking.CopyFrom(public)
    lacking.input_usd_micros = 500_000
    try:
        await served.ann.SetDefaultModel(default_model=public, skip_test=True)
        await served.ann.UpdateInsightSettings(
            insight_settings={"cost_usd_micros_per_month": 20_000_000}, update_mask=paths
        )
        error = await failed(served.ann.SetDefaultModel(default_model=public, skip_test=True))
        assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PRICE_UNKNOWN")
        assert error.metadata == {"model": "compatible:house-large"}
        error = await failed(served.ann.SetDefaultModel(default_model=lacking, skip_test=True))
        assert (error.reason, list(error.violations)) == (
            "INVALID_FIELD",
            ["default_model.output_usd_micros"],
        )
        for wanted in (priced, private):
            stored = await served.ann.SetDefaultModel(default_model=wanted, skip_test=True)
            assert stored.default_model == wanted
        moved = pb.DefaultModel(provider="compatible", model="m", base_url="https://8.8.8.8/v1")
        priced.judge = "strict"
        for wanted, unpriced in ((moved, "m"), (priced, "strict")):
            error = await failed(served.ann.SetDefaultModel(default_model=wanted, skip_test=True))
            assert (error.reason, error.metadata) == ("PRICE_UNKNOWN", {"model": f"compatible:{unpriced}"})
    finally:
        await served.ann.UpdateInsightSettings(
            insight_settings={"cost_usd_micros_per_month": 0}, update_mask=paths
        )
        await served.ann.SetDefaultModel(default_model=pb.DefaultModel())
