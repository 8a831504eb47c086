"""What a plain handler for questions over documents costs: grpc.aio, a LangGraph graph of three nodes, hybrid search by
pgvector and PostgreSQL's words with reciprocal rank fusion, the same embedding model, and the same language model if
the instance has one. It keeps nothing, checks nothing and refuses nothing.

python -m bench.peers.plain --listen unix:PATH
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final, LiteralString, TypedDict

import grpc
import grpc.aio
import httpx2
import uuid_utils.compat
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from bench.documentation import pages
from bench.peers.model import NAME
from bench.peers.process import arguments, until_told
from responsa.chat.v1 import chat_service_pb2 as pb
from responsa.chat.v1 import turn_pb2
from responsa_local.embedded import LocalLayout
from responsa_server.app.process import configure_logs, freeze, run
from responsa_server.app.resources import database_urls
from responsa_server.app.settings import load as load_settings
from responsa_server.domain import names
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.providers.minilm import load as load_model
from responsa_server.search.embedder import Vectors

_WORDS_A_PASSAGE: Final = 120
_SHOWN: Final = 3
_BATCH: Final = 64
_INSTRUCTION: Final = (
    "Answer from the passages alone, and mark each sentence with the number of its passage, as in [1]."
)
_DATA: Final = "data: "
_DONE: Final = "[DONE]"
_TABLE: Final[LiteralString] = """
CREATE SCHEMA plain;
CREATE TABLE plain.passage (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text text NOT NULL,
    words tsvector GENERATED ALWAYS AS (to_tsvector('english', text)) STORED,
    vector vector(384) NOT NULL
);
CREATE INDEX ON plain.passage USING gin (words);
CREATE INDEX ON plain.passage USING hnsw (vector vector_cosine_ops);
"""
_INSERT: Final[LiteralString] = "INSERT INTO plain.passage (text, vector) VALUES (%s, %s::vector)"
_SEARCH: Final[LiteralString] = """
WITH query AS (SELECT replace(plainto_tsquery('english', %(text)s)::text, '&', '|')::tsquery AS words),
near AS (
    SELECT id, row_number() OVER (ORDER BY distance) AS place
    FROM (SELECT id, vector <=> %(vector)s::vector AS distance FROM plain.passage ORDER BY distance LIMIT 20) AS found
),
said AS (
    SELECT id, row_number() OVER (ORDER BY rank DESC) AS place
    FROM (
        SELECT id, ts_rank_cd(passage.words, query.words) AS rank
        FROM plain.passage, query WHERE passage.words @@ query.words ORDER BY rank DESC LIMIT 20
    ) AS found
)
SELECT passage.text
FROM near FULL JOIN said USING (id) JOIN plain.passage USING (id)
ORDER BY coalesce(1.0 / (60 + near.place), 0) + coalesce(1.0 / (60 + said.place), 0) DESC
LIMIT %(shown)s
"""

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


class State(TypedDict, total=False):
    """The state of the graph."""

    question: str
    vector: str
    passages: list[str]
    answer: str


def _literal(vectors: Vectors) -> Iterator[str]:
    return (f"[{','.join(map(str, vector))}]" for vector in vectors.tolist())


class PlainChat:
    """Implements only `Ask`. writer: a client of the server of language models; None if the passages are the answer."""

    def __init__(self, pool: Pool, model: MiniLmEmbedder, writer: httpx2.AsyncClient | None) -> None:
        self._pool = pool
        self._model = model
        self._writer = writer
        graph = StateGraph(State)
        graph.add_node("embed", self._embed)
        graph.add_node("retrieve", self._retrieve)
        graph.add_node("write", self._write)
        graph.add_edge(START, "embed")
        graph.add_edge("embed", "retrieve")
        graph.add_edge("retrieve", "write")
        graph.add_edge("write", END)
        self._graph = graph.compile()

    async def _embed(self, state: State) -> State:
        (vector,) = _literal(await self._model.embed([state["question"]]))
        return {"vector": vector}

    async def _retrieve(self, state: State) -> State:
        values = {"text": state["question"], "vector": state["vector"], "shown": _SHOWN}
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_SEARCH, values)).fetchall()
        return {"passages": [text for (text,) in rows]}

    async def _write(self, state: State) -> State:
        if self._writer is None:
            return {"answer": "\n\n".join(state["passages"])}
        emit, said = get_stream_writer(), list[str]()
        numbered = "\n\n".join(f"[{place}] {text}" for place, text in enumerate(state["passages"], 1))
        messages = [
            {"role": "system", "content": _INSTRUCTION},
            {"role": "user", "content": f"{numbered}\n\nQuestion: {state['question']}"},
        ]
        body = {"model": NAME, "messages": messages, "stream": True}
        async with self._writer.stream("POST", "chat/completions", json=body) as response:
            async for line in response.aiter_lines():
                if line.startswith(_DATA) and (event := line.removeprefix(_DATA)) != _DONE:
                    for choice in json.loads(event)["choices"]:
                        if text := choice["delta"].get("content"):
                            said.append(text)
                            emit(text)
        return {"answer": "".join(said)}

    async def ask(
        self, request: pb.AskRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.AskResponse]:
        """Answers a question: a status for each step, each token of the model, then the answer."""
        del context
        turn, seq = names.turn(uuid_utils.compat.uuid7()), 0
        modes = ["updates", "custom"]
        async for mode, update in self._graph.astream({"question": request.text}, stream_mode=modes):
            seq += 1
            event = turn_pb2.TurnEvent(seq=seq)
            if mode == "custom":
                event.delta.text = update
            elif "write" in update:
                event.answer.text = update["write"]["answer"]
            else:
                event.status.step = turn_pb2.Step.STEP_RETRIEVING
            yield pb.AskResponse(turn=turn, after_seq=seq - 1, through_seq=seq, events=[event])


async def load(pool: Pool, model: MiniLmEmbedder) -> None:
    """Cuts the pages into passages and stores them."""
    passages: list[str] = []
    for text in pages().values():
        words = text.split(" ")
        passages += [
            " ".join(words[first : first + _WORDS_A_PASSAGE])
            for first in range(0, len(words), _WORDS_A_PASSAGE)
        ]
    async with pool.connection() as connection:
        await connection.execute(_TABLE)
        for first in range(0, len(passages), _BATCH):
            batch = passages[first : first + _BATCH]
            vectors = _literal(await model.embed(batch))
            await connection.cursor().executemany(_INSERT, list(zip(batch, vectors, strict=True)))


async def main() -> None:
    """Serves until a signal."""
    peer_arguments = arguments(__doc__ or "")
    settings = load_settings()
    configure_logs(settings.log_level.value)
    layout = LocalLayout.of(settings.home)
    model = await asyncio.to_thread(
        load_model, layout.data / "models", threads=settings.retrieval.embedding_threads
    )
    url = database_urls(settings, layout).owner
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(AsyncConnectionPool(url, min_size=10, max_size=10, open=False))
        await load(pool, model)
        writer = None
        if NAME in settings.models.servers:
            base = settings.models.servers[NAME].url
            writer = await stack.enter_async_context(httpx2.AsyncClient(base_url=base, trust_env=False))
        server = grpc.aio.server()
        ask = grpc.unary_stream_rpc_method_handler(
            PlainChat(pool, model, writer).ask,
            request_deserializer=pb.AskRequest.FromString,
            response_serializer=pb.AskResponse.SerializeToString,
        )
        service = grpc.method_handlers_generic_handler("responsa.chat.v1.ChatService", {"Ask": ask})
        server.add_generic_rpc_handlers((service,))
        server.add_insecure_port(peer_arguments.address)
        await server.start()
        freeze()
        await until_told()
        await server.stop(0.5)
    model.close()


if __name__ == "__main__":
    run(main())
