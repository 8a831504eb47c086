"""Workers are killed while they read documents. Every accepted document ends searchable, with the passages that it has without a kill.

The embedding model is a local server. With the model that runs within the worker, nearly all of the time between two
kills would be spent in the model.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence

import psycopg
import pytest

from responsa_client.aio.client import AsyncResponsa
from tests.faults.cluster import Cluster
from tests.faults.forms import Form, Report, forms
from tests.instance import START_PATIENCE, eventually
from tests.wire.embeddings import EmbeddingServer

IN_FLIGHT = 6
KILLED, CALM = "killed", "calm"
SENTENCE = "the keeper of a lamp at the harbour counts boats and writes the number of each into a book"
MOST_STATES = 40
"""The number of changes of operations after which a worker is killed at the latest."""


def document(number: int, dice: random.Random) -> tuple[str, bytes]:
    """A file of one of several formats and of 0.5 to 100 KiB, and its source key. The passages of the long ones are
    written in several pieces."""
    lines = [
        f"{place}. {' '.join(dice.choices(SENTENCE.split(), k=30))}."
        for place in range(dice.choice((4, 20, 200, 600)))
    ]
    match number % 4:
        case 0:
            return f"{number}.md", "\n\n".join(["# A log", *lines]).encode()
        case 1:
            return f"{number}.html", f"<html><body><p>{'</p><p>'.join(lines)}</p></body></html>".encode()
        case 2:
            return f"{number}.csv", "\n".join(
                ["place,line", *(f'{i},"{x}"' for i, x in enumerate(lines))]
            ).encode()
        case _:
            return f"{number}.json", json.dumps([{"line": line} for line in lines]).encode()


class Files:
    """Uploads files one after the other until `enough` is set, and waits for each."""

    def __init__(self, client: AsyncResponsa, dice: random.Random) -> None:
        self._client = client
        self._dice = dice
        self.sent: dict[str, bytes] = {}
        self.enough = False

    async def feed(self) -> None:
        """Upload new files."""
        while not self.enough:
            source_key, data = document(len(self.sent), self._dice)
            self.sent[source_key] = data
            await self._take_in(KILLED, source_key, data)

    async def repeat(self, source_keys: Sequence[str]) -> None:
        """Upload the same files to another collection."""
        for source_key in source_keys:
            await self._take_in(CALM, source_key, self.sent[source_key])

    async def _take_in(self, collection: str, source_key: str, data: bytes) -> None:
        operation = await self._client.upload(data, collection=collection, source_key=source_key)
        await self._client.wait(operation)


class Books:
    """Reads the stored operations and passages of a tenant."""

    def __init__(self, dsn: str, tenant: str) -> None:
        self._dsn = dsn
        self._tenant = tenant

    def ask(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a query with the parameter `tenant`."""
        with psycopg.connect(self._dsn) as connection:
            return connection.execute(query.encode(), {"tenant": self._tenant}).fetchall()

    def states(self) -> int:
        """The number of changes of all operations so far."""
        [(count,)] = self.ask(
            "SELECT coalesce(sum(seq), 0)::int FROM responsa.operation WHERE tenant_id = %(tenant)s"
        )
        assert isinstance(count, int)
        return count

    def standing(self) -> str:
        """The message of a failure: the unfinished operations and the jobs that did not succeed."""
        return f"progress of the ingestion; unfinished operations: {self.ask(_STANDING)}; jobs: {self.ask(_JOBS)}"

    def passages(self, collection: str) -> Mapping[str, Sequence[tuple[int, int, int]]]:
        """All stored passages by source key, whether searchable or not: the ordinal number, the first and the last byte."""
        stored: dict[str, list[tuple[int, int, int]]] = {}
        query = """SELECT c.slug, d.source_key, p.ordinal, p.byte_start, p.byte_end FROM responsa.passage AS p
            JOIN responsa.document AS d ON d.tenant_id = p.tenant_id AND d.id = p.document_id
            JOIN responsa.collection AS c ON c.tenant_id = d.tenant_id AND c.id = d.collection_id
            WHERE p.tenant_id = %(tenant)s ORDER BY p.document_id, p.version, p.ordinal, p.live"""
        for of, source_key, *place in self.ask(query):
            if of == collection:
                stored.setdefault(str(source_key), []).append((*place,))
        return stored


async def lose_workers(
    cluster: Cluster,
    settings: Mapping[str, str],
    books: Books,
    dice: random.Random,
    form: Form,
    report: Report,
) -> None:
    """Start workers one after the other, and kill each after a random number of changes of operations."""
    while report.counts.get("kills", 0) < form.count:
        worker = await cluster.soon("worker", **settings)
        until = books.states() + dice.randrange(1, MOST_STATES)
        await asyncio.to_thread(eventually, _reached(books, until), books.standing, START_PATIENCE)
        await asyncio.to_thread(worker.kill)
        report.count("kills")
        [(left,)] = books.ask(_LEFT)
        report.count("attempts that left passages", int(str(left)))


def _reached(books: Books, states: int) -> Callable[[], bool]:
    return lambda: books.states() >= states


@forms(long=500)
async def test_every_document_ends_whatever_workers_are_killed(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("kill_ingestion", form)
    dice = form.dice()
    caller = await cluster.caller()
    server = EmbeddingServer(384)
    await server.start()
    settings = {
        "RESPONSA_MODELS__SERVERS__LAB__URL": server.url,
        "RESPONSA_MODELS__EMBEDDINGS": '{"lab:counting": {"max_tokens": 8192}}',
        "RESPONSA_RETRIEVAL__EMBEDDING": "lab:counting",
    }
    cluster.admit(await cluster.soon("rpc", **settings))
    books = Books(cluster.dsn, caller.tenant)
    async with AsyncResponsa(f"http://{cluster.target}", caller.key) as client:
        for collection in (KILLED, CALM):
            await client.create_collection(collection)
        files = Files(client, dice)
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(files.feed())
            await lose_workers(cluster, settings, books, dice, form, report)
            files.enough = True
            await cluster.soon("worker", **settings)
        async with asyncio.TaskGroup() as group:
            keys = list(files.sent)
            for start in range(IN_FLIGHT):
                group.create_task(files.repeat(keys[start::IN_FLIGHT]))
        states = {one.source_key: one.state async for one in client.documents(KILLED)}
    report.count("documents", len(files.sent))
    passages = books.passages(KILLED)
    report.count("passages", sum(map(len, passages.values())))
    report.count("attempts", sum(int(str(epoch)) for (epoch,) in books.ask(_EPOCHS)))
    await server.close()
    report.tell(request)
    assert report.counts["kills"] >= form.count
    assert set(states) == set(files.sent)
    assert books.ask(_UNFINISHED) == []
    assert set(passages) == set(files.sent)
    assert passages == books.passages(CALM)


_LEFT = "SELECT count(DISTINCT document_id) FROM responsa.passage WHERE tenant_id = %(tenant)s AND NOT live"
_EPOCHS = """SELECT o.epoch FROM responsa.operation AS o JOIN responsa.document AS d ON d.tenant_id = o.tenant_id AND d.id = o.document_id
    JOIN responsa.collection AS c ON c.tenant_id = d.tenant_id AND c.id = d.collection_id
    WHERE o.tenant_id = %(tenant)s AND c.slug = 'killed'"""
_UNFINISHED = """SELECT id FROM responsa.operation WHERE tenant_id = %(tenant)s AND (stage <> 'done' OR error_reason IS NOT NULL)
    UNION ALL SELECT id FROM responsa.document WHERE tenant_id = %(tenant)s AND state <> 'ready'"""
_STANDING = """SELECT id::text, stage, epoch, update_time::text FROM responsa.operation WHERE tenant_id = %(tenant)s AND stage <> 'done'"""
_JOBS = """SELECT id, task_name, status::text, attempts, scheduled_at::text, worker_id, now()::text FROM procrastinate.procrastinate_jobs
    WHERE args ->> 'tenant_id' = %(tenant)s AND status::text NOT IN ('succeeded')"""
