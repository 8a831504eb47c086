"""The reranking model that the settings name."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from responsa_local.commands.instance import reranker_finding
from responsa_server.app.models import model_table, open_reranker
from responsa_server.app.settings import SettingsError, load
from responsa_server.domain.models import ModelError, ModelFault, Reranker
from responsa_server.providers import settings as providers_settings
from responsa_server.providers.settings import RERANKING_VENDORS, ModelSettings
from responsa_server.search.settings import RetrievalSettings
from tests.raising import raises
from tests.wire.reranking import RerankServer


async def opened(called: str, settings: ModelSettings, stack: AsyncExitStack) -> Reranker | None:
    models = model_table(settings)
    stack.push_async_callback(models.close)
    return await open_reranker(called, settings, models, 1, stack)


async def test_without_a_name_there_is_none() -> None:
    async with AsyncExitStack() as stack:
        assert await opened(RetrievalSettings().reranker, ModelSettings(), stack) is None


@pytest.mark.parametrize("wire", [*RERANKING_VENDORS, "tei"])
async def test_vendors_and_own_servers_are_asked_in_their_protocols(wire: Any) -> None:
    server = RerankServer(wire)
    await server.start()
    given: dict[str, Any] = {"url": server.url, "api_key": "k"}
    if wire == "tei":
        settings = ModelSettings.model_validate({"servers": {"lab": {**given, "rerank": wire}}})
    else:
        settings = ModelSettings.model_validate({"vendors": {wire: given}})
    called = f"{'lab' if wire == 'tei' else wire}:m-1"
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.close)
        model = await opened(called, settings, stack)
        assert model is not None
        assert model.name == called
        assert list((await model.rank("a b", ["b", "c", "a b"])).scores) == [1, 0, 2]


@pytest.mark.parametrize(
    ("called", "message"),
    [
        ("cohere:rerank-v3.5", "set COHERE_API_KEY"),
        ("nowhere:m", "cohere, jina, onnx, ranks, voyage"),
        ("openai:m", "The providers of reranking models are"),
        ("lab:m", "set models.servers.lab.rerank"),
        ("onnx:/no/such/folder", "/no/such/folder has no model.onnx"),
    ],
)
async def test_a_model_that_cannot_be_used_is_named_with_its_setting_and_the_remedy(
    called: str, message: str
) -> None:
    server = {"url": "http://127.0.0.1:9"}
    settings = ModelSettings.model_validate(
        {"servers": {"lab": server, "ranks": {**server, "rerank": "tei"}}}
    )
    async with AsyncExitStack() as stack:
        caught = await raises(SettingsError, opened(called, settings, stack), message)
    assert "retrieval.reranker (RESPONSA_RETRIEVAL__RERANKER)" in str(caught)


@pytest.mark.parametrize(
    ("servers", "right"), [({}, False), ({"lab": {"url": "http://127.0.0.1:9", "rerank": "tei"}}, True)]
)
def test_doctor_checks_the_model(servers: Any, right: bool) -> None:
    found = reranker_finding(load(retrieval={"reranker": "lab:m"}, models={"servers": servers}))
    assert (found.name, found.ok, bool(found.remedy)) == ("reranker", right, not right)


async def test_language_models_and_the_reranker_share_the_limits_of_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(providers_settings, "WAIT_SECONDS", 0.0)
    server = RerankServer("tei")
    await server.start()
    own = {"url": server.url, "rerank": "tei", "concurrent": 1}
    settings = ModelSettings.model_validate({"servers": {"lab": own}, "retries": 0})
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.close)
        models = model_table(settings)
        model = await open_reranker("lab:m", settings, models, 1, stack)
        assert model is not None
        async with models.providers["lab"].limits.place():
            caught = await raises(ModelError, model.rank("a", ["a", "b"]))
        assert caught.fault is ModelFault.OVERLOADED
        assert list((await model.rank("a", ["a", "b"])).scores) == [1, 0]


def test_names_and_keys_are_checked(tmp_path: Path) -> None:
    for wrong in ("cohere", "cohere:", "Cohere:m", "a b:m", "lab:m\n"):
        with pytest.raises(ValidationError):
            RetrievalSettings(reranker=wrong)
    assert RetrievalSettings(reranker=f"onnx:{tmp_path}/a folder").reranker.endswith("a folder")
    for name in (*RERANKING_VENDORS, "onnx"):
        with pytest.raises(ValidationError, match="stands for another provider"):
            ModelSettings.model_validate({"servers": {name: {"url": "http://127.0.0.1:9"}}})
    assert "k-secret" not in repr(
        ModelSettings.model_validate({"vendors": {"jina": {"api_key": SecretStr("k-secret")}}})
    )
