"""What Qdrant's server is sent, and what happens without it. `test_vector_stores.py` has the contract; its local mode
has no graph, and heeds neither quantisation nor a payload's indexes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from bench.embedders import OneEmbedder
from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_local.embedded import LocalLayout
from responsa_server.app.resources import bring_up_to_date
from responsa_server.app.settings import Settings, SettingsError
from responsa_server.app.vector_stores import open_store
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import ByteRange
from responsa_server.domain.parts import Health
from responsa_server.domain.passages import (
    DocumentSet,
    IndexingAttempt,
    PassageVector,
    PassageVectors,
    QuestionVector,
    SearchScope,
    VectorKind,
)
from responsa_server.domain.people import Server
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search.answering import LibraryEvidence
from responsa_server.search.retrieve import RetrievalQuery, Retriever
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.qdrant import QdrantVectors
from tests.conftest import DatabaseUrls
from tests.contract.index_writer import IndexWriter, lexical_of
from tests.contract.people import People

HARBOUR = "The harbour master keeps the tide table."


class Recorded:
    """A server that answers as Qdrant's, and keeps no points. asked: method, path and body of all requests."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.keys: set[str] = set()
        self.collections: dict[str, dict[str, Any]] = {}
        self.status = 0
        self.server = LoopbackServer(self._answer)

    async def _answer(self, exchange: LoopbackExchange) -> None:
        request = exchange.request
        body = json.loads(request.body) if request.body else None
        method, path = request.method, request.path.partition("?")[0].removeprefix("/collections")
        self.asked.append((method, path, body))
        self.keys.add(request.headers.get("api-key", ""))
        whole = (
            {"title": "qdrant", "version": "1.20.0"}
            if path == "/"
            else {"result": self._result(method, path, body)}
        )
        await exchange.reply(200 if path == "/" else self.status or 200, json.dumps(whole).encode())

    def _result(self, method: str, path: str, body: Any) -> Any:
        name = path.split("/")[1] if "/" in path else ""
        match method, path.count("/"):
            case "GET", 0:
                return {"collections": [{"name": one} for one in self.collections]}
            case "GET", _:
                return self.collections[name]
            case "PUT" | "PATCH", 1:
                sent = self.collections.setdefault(name, _info())["config"]
                sent["hnsw_config"] |= body["hnsw_config"]
                sent["quantization_config"] = body["quantization_config"]
            case "PUT", _ if path.endswith("/points"):
                return {"status": "completed"}
            case "PUT", _:
                schema = self.collections[name]["payload_schema"]
                schema[body["field_name"]] = {"data_type": "keyword", "points": 0}
                return {"status": "completed"}
            case "POST", _:
                return {"points": []}
            case _:
                raise AssertionError((method, path))
        return True


def _info() -> dict[str, Any]:
    optimizer = {
        "deleted_threshold": 0.2,
        "vacuum_min_vector_number": 1000,
        "default_segment_number": 0,
        "flush_interval_sec": 5,
    }
    hnsw = {"m": 0, "ef_construct": 0, "full_scan_threshold": 10000}
    config = {"params": {}, "hnsw_config": hnsw, "optimizer_config": optimizer}
    return {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "config": config,
        "payload_schema": {},
    }


def settings(store: str, **retrieval: int) -> Settings:
    return Settings.model_validate(
        {"QDRANT_API_KEY": "a-key", "retrieval": {"vector_store": store, **retrieval}}
    )


@asynccontextmanager
async def opened(settings_of_qdrant: Settings) -> AsyncGenerator[QdrantVectors]:
    store = open_store(settings_of_qdrant)
    assert isinstance(store, QdrantVectors)
    yield store
    await store.close()


@pytest.fixture
async def recorded() -> AsyncGenerator[Recorded]:
    made = Recorded()
    await made.server.start()
    yield made
    await made.server.close()


async def test_the_graph_the_quantisation_and_the_indexes_are_made_once_and_follow_the_settings(
    recorded: Recorded,
) -> None:
    address = f"qdrant:{recorded.server.url}"
    async with opened(settings(address)) as store:
        assert await store.prepare("lab:words/256", 256)
        assert not await store.prepare("lab:words/256", 256)
    [name] = recorded.collections
    assert name.startswith("responsa-lab-words-256-")
    changed = [one for one in recorded.asked if one[0] != "GET"]
    method, path, body = changed.pop(0)
    assert (method, path) == ("PUT", f"/{name}")
    assert body["vectors"] == {"size": 256, "distance": "Cosine", "datatype": "float16"}
    assert body["hnsw_config"] == {"m": 16, "ef_construct": 64}
    assert body["quantization_config"] == {"scalar": {"type": "int8", "always_ram": True}}
    fields = {body["field_name"]: body["field_schema"] for _, _, body in changed}
    assert fields.pop("tenant") == {"type": "keyword", "is_tenant": True}
    assert fields == {
        **dict.fromkeys(("collection", "generation", "document", "passage", "kind"), "keyword"),
        **dict.fromkeys(("version", "epoch"), "integer"),
        "published": "bool",
    }
    recorded.asked.clear()
    async with opened(settings(f"{address}?quantization=none", hnsw_m=24, hnsw_ef_construction=100)) as store:
        assert not await store.prepare("lab:words/256", 256)
    [body] = [body for method, _, body in recorded.asked if method == "PATCH"]
    assert body == {"hnsw_config": {"m": 24, "ef_construct": 100}, "quantization_config": "Disabled"}
    assert recorded.keys == {"a-key"}


async def test_migrate_makes_the_collection_and_says_if_qdrant_is_away(
    recorded: Recorded, database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    chosen = settings(f"qdrant:{recorded.server.url}").model_copy(
        update={"database_url": SecretStr(database_urls.owner)}
    )
    layout = LocalLayout.of(tmp_path)
    [line] = await bring_up_to_date(chosen, layout)
    assert "responsa migrate --rebuild-vectors" in line
    [name] = recorded.collections
    assert name.startswith("responsa-all-minilm-l6-v2")
    assert await bring_up_to_date(chosen, layout) == []
    await recorded.server.close()
    [line] = await bring_up_to_date(chosen, layout)
    assert line.startswith("Qdrant cannot be reached; searches use only words")


async def test_a_search_asks_within_its_scope_and_rescores(recorded: Recorded) -> None:
    document = uuid7()
    question = QuestionVector("m", bytes(4 * 8), stored=("c",))
    scope = SearchScope(Server("acme"), ["c"], DocumentSet.of([document], 1))
    async with opened(settings(f"qdrant:{recorded.server.url}", hnsw_ef_search=120)) as store:
        await store.prepare("m", 8)
        await store.nearest(scope, question, 100)
    body = recorded.asked[-1][2]
    assert body["params"] == {"hnsw_ef": 120, "quantization": {"rescore": True, "oversampling": 2.0}}
    assert body["filter"]["must"] == [
        {"key": "tenant", "match": {"value": "acme"}},
        {"key": "published", "match": {"value": True}},
        {"key": "generation", "match": {"any": ["c"]}},
        {"key": "collection", "match": {"any": ["c"]}},
        {"key": "document", "match": {"any": [str(document)]}},
    ]


async def test_a_collection_that_searches_know_gets_its_new_indexes_before_it_is_written(
    recorded: Recorded,
) -> None:
    address = f"qdrant:{recorded.server.url}"
    async with opened(settings(address)) as store:
        await store.prepare("m", 8)
    [collection] = recorded.collections.values()
    del collection["payload_schema"]["generation"]
    vector = PassageVector(VectorKind.WINDOW, ByteRange(0, 1), bytes(4 * 8))
    attempt = IndexingAttempt("acme", "c", uuid7(), 1, 1, "m", "c")
    async with opened(settings(address)) as store:
        await store.nearest(SearchScope(Server("acme")), QuestionVector("m", vector.vector), 10)
        await store.put({attempt: [PassageVectors(uuid7(), [vector])]})
    assert "generation" in collection["payload_schema"]


@pytest.mark.parametrize(
    ("status", "message"), [(0, "cannot be reached"), (403, "refuses this server"), (200, "")]
)
async def test_without_qdrant_words_decide_and_the_reason_is_told(
    recorded: Recorded,
    database: Database,
    embedder: MiniLmEmbedder,
    people: People,
    status: int,
    message: str,
) -> None:
    """With the status 200, Qdrant is there, but has lost all vectors."""
    recorded.status = status
    given = settings(f"qdrant:{recorded.server.url}")
    if not status:
        await recorded.server.close()
    index_writer = IndexWriter(database, embedder)
    await index_writer.put(HARBOUR)
    async with opened(given) as store:
        retriever = Retriever(lexical_of(database), OneEmbedder(embedder), outside=store)
        found = await LibraryEvidence(retriever).search(people.ann, ("Who keeps the tide table?",), ())
        assert found.degraded == "text_only"
        with pytest.raises(Unavailable) as caught:
            await retriever.retrieve(RetrievalQuery(people.ann, ["Who keeps the tide table?"]))
        assert caught.value.metadata == {"part": "vectors"}
        if message:
            report = await store.check()
            assert report.health is Health.DEGRADED
            assert message in report.detail


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("weaviate:http://a", "the vector stores are: postgres, qdrant"),
        ("qdrant", "such as qdrant:http://127.0.0.1:6333"),
        ("qdrant:http://user:secret@a", "QDRANT_API_KEY holds the key"),
        ("qdrant:http://a?quantization=int4", "one of none, int8, binary"),
        ("qdrant:http://a?prefix=a-b", "a-z, 0-9 and underscore"),
        ("qdrant:http://a?shards=2", "unknown option shards"),
    ],
)
def test_a_wrong_setting_is_named(value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=r"retrieval\.vector_store") as caught:
        open_store(settings(value))
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_client_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("responsa_server.app.vector_stores.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"responsa\[qdrant\]") as caught:
        open_store(settings("qdrant:http://a"))
    assert "\n" not in str(caught.value)
