"""The model that `default` stands for, over gRPC: what owners choose, and what a test of a model says."""

from __future__ import annotations

import grpc
import pytest

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.admin.v1 import model_settings_pb2 as pb
from responsa_lab.testing.loopback import Exchange, LoopbackServer
from responsa_server.app.default_model import DefaultModels
from responsa_server.app.models import model_table
from responsa_server.app.settings import load
from responsa_server.domain.errors import Precondition
from responsa_server.domain.model_settings import DefaultModel
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.default_model import PostgresDefaultModel
from tests.rpc.served import Served, failed
from tests.wire.openai import OpenAi
from tests.wire.speaking import KEY, Handler, Scene, complaining, telling

STRONG = pb.DefaultModel(provider="scripted", model="strong")


async def babbling(exchange: Exchange) -> None:
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


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("provider", pb.DefaultModel(provider="unheard", model="m")),
        ("provider", pb.DefaultModel(model="m")),
        ("model", pb.DefaultModel(provider="openai")),
        ("model", pb.DefaultModel(provider="scripted", model="unheard")),
        # No other secret of the server can be sent to an address that somebody enters.
        ("key_name", pb.DefaultModel(provider="openai", model="m", key_name="WEATHER_API_KEY")),
        ("key_name", pb.DefaultModel(provider="compatible", model="m", key_name="OPENAI_API_KEY", base_url="https://a.example/v1")),
        ("key_name", pb.DefaultModel(provider="scripted", model="strong", key_name="MODEL_API_KEY")),
        ("base_url", pb.DefaultModel(provider="openai", model="m", base_url="https://a.example/v1")),
        ("base_url", pb.DefaultModel(provider="compatible", model="m")),
        ("base_url", pb.DefaultModel(provider="compatible", model="m", base_url="http://u:p@a.example/v1")),
    ],
)  # fmt: skip
async def test_what_no_provider_takes_is_refused_by_its_field(
    served: Served, field: str, wanted: pb.DefaultModel
) -> None:
    for method in (served.ann.SetDefaultModel, served.ann.TestModel):
        error = await failed(method(default_model=wanted))
        assert (error.reason, list(error.violations)) == ("INVALID_FIELD", [f"default_model.{field}"])


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
        (await tried(answering, host="127.0.0.2"), "ADDRESS_NOT_ALLOWED The server may not connect to 127.0.0.2"),
    ):  # fmt: skip
        assert said.startswith(named)
    log = (await served.ann.ListAuditEvents(filter='action = "default_model.test"')).audit_events
    assert len(log) == 9
    assert KEY not in str(log) + str(served.lines)


async def test_the_problem_of_a_stored_model_says_that_the_server_may_not_connect(
    served: Served, database: Database
) -> None:
    settings = load(models={"scripted": True})
    models = DefaultModels(settings, model_table(settings.models), PostgresDefaultModel(database))
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


async def test_what_the_operator_has_fixed_cannot_be_set(served: Served, database: Database) -> None:
    settings = load(models={"scripted": True, "default": ["scripted:strong"]})
    models = DefaultModels(settings, model_table(settings.models), PostgresDefaultModel(database))
    await served.ann.SetDefaultModel(default_model=pb.DefaultModel(provider="scripted", model="obedient"))
    assert await models.refresh() == ("scripted:strong",)
    assert (await models.read()).fixed_by == "models.default"
    with pytest.raises(Precondition) as refused:
        await models.store(served.ann.who, DefaultModel("scripted", "priced"), skip_test=True)
    assert (refused.value.reason, refused.value.metadata) == ("MODEL_FIXED", {"setting": "models.default"})


async def test_a_test_needs_a_provider(served: Served) -> None:
    error = await failed(served.ann.TestModel(admin.TestModelRequest(default_model=pb.DefaultModel())))
    assert list(error.violations) == ["default_model.provider"]
