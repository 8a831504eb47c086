"""The engine of `responsa ingest --engine ray`: actors of a Ray cluster compute the vectors of documents before the command sends them.

An actor parses, cuts and embeds a document with the code of the server's workers, and returns vectors under the SHA-256
of their texts. The command stores them in the database's cache of vectors. The server then ingests the document as
always, and finds its vectors there. So passages, transactions, limits and errors are the server's own, an actor knows
no credential and no other document, and a lost one costs only time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Final
from uuid import UUID

from responsa.knowledge.v1 import collection_pb2
from responsa_client.aio import AsyncResponsa
from responsa_formats.rejections import Rejected
from responsa_formats.sandbox.computation import ParseLimits
from responsa_local.commands.failures import FAILED, USAGE
from responsa_local.embedded import LocalLayout
from responsa_server.app.resources import database_urls, new_id, refusal
from responsa_server.app.settings import SettingsError, environment, load
from responsa_server.cli.output import CommandFailed
from responsa_server.cli.sources import LocalDocument
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.knowledge import Chunking
from responsa_server.ingest.formats import FORMATS
from responsa_server.ingest.indexing import DocumentIdentity, Indexer
from responsa_server.ingest.jobs import name_of, title_of
from responsa_server.ingest.parsing import parser_pool
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.providers.minilm import load as load_minilm
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.operations import IngestionStore
from responsa_server.system.fixable import Fixable

_PASSED_ON: Final = ("HOME", "LANG", "PATH", "TMPDIR", "VIRTUAL_ENV")
"""The variables that a cluster gets which the command starts, with those of Ray itself. The others may hold credentials."""


@dataclass(frozen=True, slots=True)
class Unembedded:
    """A document as the command sends it. chunking: the way in which its collection is cut."""

    source_key: str
    title: str
    media_type: str
    content: bytes
    chunking: Chunking


@dataclass(slots=True)
class _Collected:
    """A `VectorCache` of one document. new: the vectors since the last batch."""

    vectors: dict[bytes, bytes]
    new: dict[bytes, bytes]

    async def find_cached(self, tenant_id: str, model: str, hashes: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return {digest: self.vectors[digest] for digest in hashes if digest in self.vectors}

    async def cache_vectors(self, tenant_id: str, model: str, vectors: Mapping[bytes, bytes]) -> None:
        self.vectors |= vectors
        self.new |= vectors


class VectorMaker:
    """Computes vectors in one process: an actor on one processor."""

    def __init__(self, embedding: str, limits: ParseLimits, allow_unconfined: bool, ocr: bool) -> None:
        """embedding: the `Embedder.name` of the model. Raises ValueError if this node has another one."""
        with TemporaryDirectory(prefix="responsa-model-") as folder:
            self._embedder: MiniLmEmbedder = load_minilm(Path(folder), threads=1)
        if self._embedder.name != embedding:
            raise ValueError(
                f"the collection needs the model {embedding}, and a node of Ray has "
                f"{self._embedder.name}: install the same release of Responsa on all nodes"
            )
        self._parser = parser_pool(concurrency=1, limits=limits, allow_unconfined=allow_unconfined, ocr=ocr)

    async def vectors(self, document: Unembedded) -> AsyncGenerator[Mapping[bytes, bytes]]:
        """The vectors of the document's texts, in batches; as in `VectorCache`. None for a document that the parser
        rejects: the server says why."""
        try:
            parsed = await self._parser.read(
                _pieces(document.content), document.source_key, document.media_type
            )
        except Rejected:
            return
        with closing(parsed):
            format_ = FORMATS.with_name(parsed.format)
            if format_ is None:
                return
            collected = _Collected({}, {})
            indexer = Indexer(self._embedder, collected, new_id)
            cut = await indexer.cut(parsed, document.chunking, format_.media_type)
            title = title_of(document.title, document.source_key, parsed)
            name = name_of(document.title, document.source_key)
            identity = DocumentIdentity("", "", UUID(int=0), 1, title, "", name)
            async for _ in indexer.passages(identity, cut, len(document.content)):
                new, collected.new = collected.new, {}
                yield new


async def _pieces(content: bytes) -> AsyncGenerator[bytes]:
    yield content


class RayEngine:
    """A cluster's actors, and the cache that gets their vectors."""

    def __init__(
        self, actors: Sequence[Any], chunking: Chunking, tenant: str, embedding: str, cache: IngestionStore
    ) -> None:
        self.actors = len(actors)
        self.vectors = 0
        """The number of vectors that were computed so far."""
        self._idle: asyncio.Queue[Any] = asyncio.Queue()
        for actor in actors:
            self._idle.put_nowait(actor)
        self._chunking = chunking
        self._tenant = tenant
        self._embedding = embedding
        self._cache = cache

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, client: AsyncResponsa, collection: collection_pb2.Collection
    ) -> AsyncGenerator[RayEngine]:
        """Connect to the cluster of RAY_ADDRESS, or start one on this machine for the block; and to the server's
        database, whose credentials stay in this process.

        Raises CommandFailed if the collection's model does not run in the server, or the database or the cluster cannot be reached.
        """
        if ":" in collection.embedding:  # provider:model
            raise CommandFailed(
                f"--engine ray computes vectors of the embedded model, but this collection uses {collection.embedding}.",
                "Run the command without --engine.",
                FAILED,
            )
        try:
            settings = load()
            urls = database_urls(settings, LocalLayout.of(settings.home))
        except (SettingsError, Fixable) as error:
            raise CommandFailed(str(error), "", USAGE) from error
        if reason := await asyncio.to_thread(refusal, urls.app):
            raise CommandFailed(
                f"--engine ray stores vectors in the server's database, which cannot be reached ({reason}).",
                "Run the command on the server's machine, or set DATABASE_URL.",
                FAILED,
            )
        tenant = (await client.me()).tenant.removeprefix("tenants/")
        ray = import_module("ray")
        database = Database(urls.app, urls.log, size=2)
        await database.open()
        try:
            _connect(ray)
            remote = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=3)(VectorMaker)
            limits, unconfined = settings.ingestion.parse_limits, settings.allows_unconfined_parsing
            actors = [
                remote.remote(collection.embedding, limits, unconfined, settings.ingestion.ocr)
                for _ in range(max(1, int(ray.cluster_resources()["CPU"])))
            ]
            queue = JobQueue(urls.log, concurrency=1)
            chunking = Chunking(collection.chunking.max_tokens, collection.chunking.overlap_tokens)
            yield cls(actors, chunking, tenant, collection.embedding, IngestionStore(database, queue))
        except (ray.exceptions.RayError, Unavailable) as error:
            raise CommandFailed(
                f"--engine ray has stopped: {str(error).strip().splitlines()[-1]}",
                "Fix the cause, and run the command again; loaded documents stay.",
                FAILED,
            ) from error
        finally:
            await asyncio.to_thread(ray.shutdown)
            await database.close()

    async def prepare(self, document: LocalDocument) -> None:
        """Compute the document's vectors on an idle actor, and cache them. Raises OSError, Unavailable, and RayError."""
        actor = await self._idle.get()
        try:
            content = (
                document.text.encode()
                if document.path is None
                else await asyncio.to_thread(document.path.read_bytes)
            )
            media_type = "text/markdown" if document.path is None else ""
            task = Unembedded(document.source_key, document.title, media_type, content, self._chunking)
            async for reference in actor.vectors.options(num_returns="streaming").remote(task):
                vectors = await reference
                if vectors:
                    await self._cache.cache_vectors(self._tenant, self._embedding, vectors)
                    self.vectors += len(vectors)
        finally:
            self._idle.put_nowait(actor)


def _connect(ray: ModuleType) -> None:
    """Blocks, because Ray wants the main thread."""
    local = {"address": "local", "_node_ip_address": "127.0.0.1", "include_dashboard": False}
    options: dict[str, Any] = {} if "RAY_ADDRESS" in environment() else local
    try:
        with _clear_environment():
            ray.init(configure_logging=False, log_to_driver=False, **options)
    except Exception as error:  # Ray raises bare exceptions
        raise CommandFailed(
            f"There is no Ray cluster: {str(error).strip().splitlines()[0]}",
            "Start a cluster (ray start --head), and set RAY_ADDRESS to its address (auto for this machine).",
            FAILED,
        ) from error


@contextmanager
def _clear_environment() -> Generator[None]:
    """Without the variables that a cluster does not need, and without Ray's reports to its maker."""
    variables = environment()
    before = dict(variables)
    try:
        for name in before:
            if name not in _PASSED_ON and not name.startswith("RAY_"):
                del variables[name]
        variables["RAY_USAGE_STATS_ENABLED"] = "0"
        yield
    finally:
        variables.clear()
        variables.update(before)
