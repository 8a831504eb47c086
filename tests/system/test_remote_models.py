"""Embedding models of OpenAI and Gemini, a reranking model, and a model that judges citations, behind servers that
speak their protocols, in a whole instance: upload, search, reindex, turns."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.agents.config.files import SHIPPED
from tests.instance import Instance, instance_in
from tests.transports import stub_of
from tests.wire.embeddings import EmbeddingServer
from tests.wire.openai import OpenAi
from tests.wire.reranking import RerankServer
from tests.wire.speaking import KEY, Scene, telling

OPENAI, GEMINI, RERANKER = "openai:text-embedding-3-small", "gemini:gemini-embedding-001", "rank:longest"
WRITER, JUDGE = "lab:writer", "lab:judge"
"""The judge finds that the second and the third sentence hold."""
WRITTEN = (
    "The ferry to Skye leaves at six. [N: “leaves from Mallaig at six in the morning”] It "
    "starts at Mallaig. [N] It takes cars. [N] It leaves at seven. [N]"
)
QUESTION = "When does the ferry to Skye leave?"
NOTES = {
    "ferry.md": "# A ferry\n\nThe ferry to Skye leaves from Mallaig at six in the morning.\n",
    "mill.md": f"# A mill\n\nA mill in Sandford grinds rye for bakers. {'Its stones came by cart in 1911. ' * 3}\n",
}


class Servers:
    """The servers of the models, on an extra thread. failing: whether the reranking model refuses every request."""

    def __init__(self) -> None:
        self.failing = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.openai, self.gemini = EmbeddingServer(1536), EmbeddingServer(3072)
        # It prefers long texts, which nothing else in a search does.
        self.reranker = RerankServer("tei", lambda query, text: len(text), self._before)
        self.lab, self.judged = LoopbackServer(self._lab), list[str]()
        for one in (self.openai, self.gemini, self.reranker, self.lab):
            self._wait(one.start())

    def close(self) -> None:
        for one in (self.openai, self.gemini, self.reranker, self.lab):
            self._wait(one.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _before(self, exchange: LoopbackExchange) -> bool:
        if self.failing:
            await exchange.reply(422, b'{"error": "no", "error_type": "Validation"}')
        return self.failing

    async def _lab(self, exchange: LoopbackExchange) -> None:
        body = OpenAi().check(exchange)
        prompt = "\n".join(message["content"] for message in body["messages"])
        if body["model"] == JUDGE.partition(":")[2]:
            self.judged.append(prompt)
            said = ("denied", "supported", "supported", "denied")
            verdicts = [{"number": number, "verdict": verdict} for number, verdict in enumerate(said, 1)]
            text, usage = json.dumps({"verdicts": verdicts}), (1000, 0, 0, 50)
        else:
            [number] = re.findall(r"\[(\d)\]\n⟦data passage \w+⟧\n[^⟦]*Mallaig", prompt)
            text, usage = WRITTEN.replace("N", number), (500, 0, 0, 40)
        await telling(OpenAi(), OpenAi().events(Scene([text], usage=usage)))(exchange)

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


@dataclass
class Place:
    instance: Instance
    servers: Servers

    def search(self, *options: str, question: str = QUESTION) -> list[Any]:
        shown = self.instance.run("search", question, "-c", "notes", "--json", *options).stdout
        return [json.loads(line) for line in shown.splitlines()]

    def documents(self, *options: str) -> list[str]:
        """The titles of the hits."""
        return [hit["passage"]["title"] for hit in self.search(*options)]

    def ask(self, *options: str) -> Any:
        """The end of a turn."""
        asked = self.instance.run("ask", "--json", "--collection", "notes", *options, QUESTION)
        return json.loads(asked.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def place(folder: Path) -> Iterator[Place]:
    servers = Servers()
    settings = {
        "RESPONSA_DOCS": "none",
        "RESPONSA_MODELS__VENDORS__OPENAI__URL": servers.openai.url,
        "RESPONSA_MODELS__VENDORS__GEMINI__URL": servers.gemini.url,
        "OPENAI_API_KEY": KEY,
        "GEMINI_API_KEY": KEY,
        "RESPONSA_RETRIEVAL__EMBEDDING": OPENAI,
        "RESPONSA_RETRIEVAL__RERANKER": RERANKER,
        "RESPONSA_MODELS__SERVERS__RANK__URL": servers.reranker.url,
        "RESPONSA_MODELS__SERVERS__RANK__RERANK": "tei",
    }
    settings |= {
        "RESPONSA_MODELS__SERVERS__LAB__URL": f"{servers.lab.url}/v1",
        "RESPONSA_MODELS__SERVERS__LAB__API_KEY": KEY,
        "RESPONSA_CITATIONS__JUDGE": JUDGE,
        "RESPONSA_AGENTS__FOLDER": str(folder / "agents"),
    }
    shutil.copytree(SHIPPED / "default", folder / "agents/written")
    agent = folder / "agents/written/agent.toml"
    agent.write_text(agent.read_text().replace('chain = ["default"]', f'chain = ["{WRITER}"]'))
    try:
        with instance_in(folder, **settings) as instance:
            notes = folder / "notes"
            notes.mkdir()
            for name, text in NOTES.items():
                (notes / name).write_text(text, encoding="utf-8")
            instance.run("ingest", str(notes), "--collection", "notes")
            yield Place(instance, servers)
    finally:
        servers.close()


def test_a_collection_is_embedded_and_searched_by_openai_and_then_by_gemini(place: Place) -> None:
    sent = [text for body in place.servers.openai.bodies for text in body["input"]]
    assert any("leaves from Mallaig" in text for text in sent)
    assert place.documents("--mode", "vector")[0] == "A ferry"
    assert [QUESTION] in [body["input"] for body in place.servers.openai.bodies]
    assert place.servers.gemini.bodies == []
    place.instance.run(
        "call",
        "KnowledgeService.ReindexCollection",
        "--name",
        "collections/notes",
        "--embedding",
        GEMINI,
        "--wait",
    )
    asked = len(place.servers.openai.bodies)
    assert place.documents("--mode", "vector")[0] == "A ferry"
    # The question's vector is Gemini's now.
    assert QUESTION in json.dumps(place.servers.gemini.bodies)
    assert len(place.servers.openai.bodies) == asked
    (place.instance.home.parent / "late.md").write_text("# Eels\n\nEels return to the Sargasso Sea.\n")
    place.instance.run("ingest", str(place.instance.home.parent / "late.md"), "--collection", "notes")
    assert "Sargasso" in json.dumps(place.servers.gemini.bodies)
    [best, *_] = place.search("--mode", "vector", question="Where do eels return to?")
    assert best["passage"]["title"] == "Eels"
    log = place.instance.log("server")
    assert KEY not in log
    assert QUESTION not in log


def test_the_reranking_model_orders_searches_and_turns_or_is_done_without(place: Place) -> None:
    hits = place.search()
    assert [hit["passage"]["title"] for hit in hits][:2] == ["A mill", "A ferry"]
    scores = [hit["parts"]["reranker"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    first = place.ask()["answer"]
    assert first["excerpts"][0]["title"] == "A mill"
    assert "fallbacks" not in first or "WITHOUT_RERANKER" not in json.dumps(first["fallbacks"])
    assert int(first["usage"]["inputTokens"]) > 0
    place.servers.failing = True
    hits = place.search()
    assert hits[0]["passage"]["title"] == "A ferry"
    assert not any("reranker" in hit["parts"] for hit in hits)
    second = place.ask()["answer"]
    assert second["excerpts"][0]["title"] == "A ferry"
    kept = {
        "kind": "FALLBACK_KIND_WITHOUT_RERANKER",
        "source": RERANKER,
        "target": "search_order",
        "cause": "refused",
    }
    assert kept in second["fallbacks"]
    place.servers.failing = False


def test_a_model_judges_the_citations_of_an_answer(place: Place) -> None:
    answer = place.ask("--agent", "written")["answer"]
    data = answer["text"].encode()

    def said(part: Any) -> str:
        found = part["answerRange"]
        return data[int(found.get("start", 0)) : int(found["end"])].decode()

    verdicts = {said(one): one["verdict"].removeprefix("JUDGE_VERDICT_") for one in answer["citations"]}
    assert verdicts == {
        "It starts at Mallaig.": "SUPPORTED",
        "It takes cars.": "SUPPORTED",
        "The ferry to Skye leaves at six.": "DENIED",
        "It leaves at seven.": "DENIED",
    }
    assert "fallbacks" not in answer
    # It is asked once, and its tokens are the turn's.
    assert int(answer["usage"]["inputTokens"]) >= 1500
    assert len(place.servers.judged) == 1


def test_the_system_status_names_the_models(place: Place) -> None:
    with grpc.insecure_channel(place.instance.target) as channel:
        status = stub_of(channel, "AdminService").GetSystemStatus(
            admin.GetSystemStatusRequest(),
            metadata=[("authorization", f"Bearer {place.instance.key}")],
            timeout=60,
        )
    versions = {part.part: part.version for part in status.parts}
    assert (versions["embedding"], versions["reranker"]) == (f"{OPENAI}/1536", RERANKER)
