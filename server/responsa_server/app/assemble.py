"""Builds the parts of a server: documents and search, agents, turns. Each function builds one group from earlier
groups.

Only this module and `front` choose adapters. The caller passes an exit stack, which closes the parts that must be
closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import structlog

from responsa_formats.sandbox.pool import ParserPool
from responsa_server.agents.config.build import BuildContext
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import AgentFolders, Watch, read_prompts
from responsa_server.agents.config.live import AgentsBroken, LiveAgents, LiveOptions
from responsa_server.agents.config.problems import clause
from responsa_server.agents.config.tools import LiveTools
from responsa_server.agents.engine.asking import Asker
from responsa_server.agents.engine.background_model import BackgroundModel
from responsa_server.agents.engine.config import DEFAULT_MODEL, PASSAGES, Traits
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.prompts import PromptError, PromptSet
from responsa_server.app.caches import Caches
from responsa_server.app.default_model import DefaultModels
from responsa_server.app.embedders import ConfiguredEmbedders
from responsa_server.app.layout import Layout
from responsa_server.app.models import by_name, doubles, list_models, model_table, open_reranker
from responsa_server.app.processes import memory_mib
from responsa_server.app.resources import database_urls, new_id, read_secret, redis_url, relay_key
from responsa_server.app.settings import Settings, SettingsError
from responsa_server.app.tools import live_tools, make_folder
from responsa_server.app.vector_stores import open_store
from responsa_server.calls.frames import AskFrames
from responsa_server.domain.agents import Agent
from responsa_server.domain.breakers import Breakers
from responsa_server.domain.counters import Counters
from responsa_server.domain.faults import Faults
from responsa_server.domain.limits import MessageGate
from responsa_server.domain.models import ChatModel, Models
from responsa_server.domain.parts import NOT_PAUSED, Pause
from responsa_server.domain.passages import VectorStore
from responsa_server.domain.relay import Reload
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.tenants import TenantKeeper
from responsa_server.identity.tokens import Secret
from responsa_server.identity.users import Erasing
from responsa_server.ingest.analysing import Analysing
from responsa_server.ingest.describing import Describer, Topics
from responsa_server.ingest.formats import FORMATS
from responsa_server.ingest.indexing import Indexers
from responsa_server.ingest.jobs import Ingest, KnowledgeJobs
from responsa_server.ingest.parsing import parser_pool
from responsa_server.ingest.rebuilding import Rebuild
from responsa_server.ingest.reindexing import Reindex
from responsa_server.ingest.rereading import Rereading
from responsa_server.ingest.settings import IngestionSettings
from responsa_server.ingest.shipped_vectors import ShippedVectors
from responsa_server.ingest.watching import Watching
from responsa_server.library.library import Library
from responsa_server.library.pages import PageImages
from responsa_server.outbound.connector import Connector
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.providers.minilm import load as load_minilm
from responsa_server.providers.table import ProviderTable
from responsa_server.routing.stored import KeptClassifiers
from responsa_server.search.answering import LibraryEvidence
from responsa_server.search.hits import KnowledgeSearch
from responsa_server.search.reranking import Reranking
from responsa_server.search.resident import Residents
from responsa_server.search.retrieve import Retriever
from responsa_server.stores.cached import entries_of
from responsa_server.stores.postgres.agent_versions import PostgresAgentVersions
from responsa_server.stores.postgres.audit import PostgresAuditTrail
from responsa_server.stores.postgres.collections import CollectionStore
from responsa_server.stores.postgres.conversations import PostgresConversationStore, PostgresSummaries
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.default_model import PostgresDefaultModel
from responsa_server.stores.postgres.documents import DocumentStore
from responsa_server.stores.postgres.erasing import PostgresErasing
from responsa_server.stores.postgres.experiments import PostgresExperiments
from responsa_server.stores.postgres.generations import GenerationBuildStore, GenerationStore
from responsa_server.stores.postgres.jobs import JobQueue, places
from responsa_server.stores.postgres.mail import Outbox
from responsa_server.stores.postgres.operations import IngestionStore, OperationStore
from responsa_server.stores.postgres.passages import PassageWordsStore, PostgresLexicalIndex
from responsa_server.stores.postgres.resident import ResidentStore
from responsa_server.stores.postgres.resources import TEACHERS, ResourceTable
from responsa_server.stores.postgres.tenants import PostgresTenants
from responsa_server.stores.postgres.turn_log import NamedQueries
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.stores.redis import RedisCache
from responsa_server.stores.redis_relay import RedisRelay
from responsa_server.system.fixable import Fixable
from responsa_server.system.machine import visible
from responsa_server.telemetry.stages import OFF, Traces
from responsa_server.turns.runtime import Runtime
from responsa_server.turns.service import Turns
from responsa_server.turns.settings import TurnOptions

# Of the connections of the large pool.
_RERANKING_SECONDS: Final = 4.0
"""The longest time for the reranking model; then the search's own order stays."""
_BACKGROUND_SECONDS: Final = 30.0
"""The longest time of one call of a model for background work."""
_SHARE_OF_TURNS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Documents and search. queue: the queue of all jobs. embedder: the embedded model, which also classifies
    questions. embedders: all embedding models. jobs: the jobs that ingest documents, or None if this process does not
    ingest documents. vectors: the vector store outside the database, or None. reranking: the reranking model, or None.
    parser: reads documents in a sandbox. warming: the start of the parser, which a process that ingests awaits before
    it takes turns and jobs; it raises ParserUnavailable."""

    embedder: MiniLmEmbedder
    embedders: ConfiguredEmbedders
    retriever: Retriever
    collections: CollectionStore
    documents: DocumentStore
    library: Library
    evidence: LibraryEvidence
    queue: JobQueue
    jobs: KnowledgeJobs | None
    vectors: VectorStore | None
    parser: ParserPool
    warming: asyncio.Task[None] | None
    reranking: Reranking | None


async def build_knowledge(
    settings: Settings,
    layout: Layout,
    database: Database,
    caches: Caches,
    models: ProviderTable,
    stack: AsyncExitStack,
) -> Knowledge:
    """Build documents and search. Every role loads the embedded embedding model, because each search may embed its question with it.

    Raises SettingsError, and Fixable if a model for ingestion is not available.
    """
    threads = settings.retrieval.embedding_threads or visible().cpus
    parser = _parser(settings, stack, layout)
    warming: asyncio.Task[None] | None = None
    if settings.role.runs_jobs:  # other processes only draw pages, so the parser starts with the first page
        warming = asyncio.create_task(parser.start(), name="parser")
        stack.callback(warming.cancel)
    embedder = await asyncio.to_thread(load_minilm, layout.data / "models", threads=threads)
    stack.callback(embedder.close)
    embedders = ConfiguredEmbedders(
        embedder, settings.retrieval.embedding, settings.models, models.providers, models.learned
    )
    stack.push_async_callback(embedders.close)
    seconds = settings.retrieval.search_seconds
    vectors = open_store(settings)
    if vectors is not None:
        stack.push_async_callback(vectors.close)
    lexical = PostgresLexicalIndex(
        database, search_seconds=seconds, breadth=settings.retrieval.hnsw_ef_search
    )
    residents = Residents(
        ResidentStore(database, search_seconds=seconds), memory_mib(settings, visible()) << 20
    )
    stack.push_async_callback(residents.close)
    retriever = Retriever(
        lexical,
        embedders,
        caches.vectors,
        caches.searches,
        embedding_seconds=settings.retrieval.embedding_seconds,
        outside=vectors,
        residents=residents,
        database_searches=max(1, settings.database_pool // 2),
    )
    reranking = await _reranking(settings, models, stack)
    ingestion = settings.ingestion
    queue = JobQueue(
        database_urls(settings, layout).log,
        concurrency=ingestion.concurrency,
    )
    external = vectors is not None
    documents = DocumentStore(
        database,
        queue,
        new_id,
        external_vectors=external,
        kept_versions=settings.ingestion.kept_versions,
        parsers=[parser.parsed_by for parser in FORMATS],
    )
    operations = OperationStore(database, queue, external_vectors=external)
    collections = CollectionStore(database, queue if external else None)
    watching = Watching(operations)
    library = Library(
        collections,
        documents,
        operations,
        KnowledgeSearch(retriever, reranking),
        watching,
        PageImages(documents, parser, settings.ingestion),
        embedders=embedders,
        generations=GenerationStore(database, queue, new_id),
        spool_dir=layout.data,
    )
    evidence = LibraryEvidence(retriever, reranking)
    jobs: KnowledgeJobs | None = None
    if settings.role.runs_jobs:
        ingestions = IngestionStore(database, queue, vectors=vectors)
        indexers = Indexers(embedders, ShippedVectors(ingestions), new_id)
        describer = Describer(ingestion_model(settings.ingestion, models, "metadata_model"))
        topics = Topics(ingestion_model(settings.ingestion, models, "chunking_model"))
        ingest = Ingest(
            ingestions,
            parser,
            indexers,
            watching,
            describer=describer,
            topics=topics,
        )
        builds = GenerationBuildStore(database, queue, vectors)
        reindex = Reindex(
            builds,
            indexers,
            watching.report_end,
            errors=queue.errors,
        )
        words = PassageWordsStore(database)
        beside = {
            "words of passages": Analysing(words, lexical, retriever.index, queue.errors).run,
            "documents to read again": Rereading(documents, words, queue.errors).run,
        }
        jobs = KnowledgeJobs(
            queue, ingest, documents, operations, vectors=vectors, reindex=reindex, beside=beside
        )
    return Knowledge(
        embedder,
        embedders,
        retriever,
        collections,
        documents,
        library,
        evidence,
        queue,
        jobs,
        vectors,
        parser,
        warming,
        reranking,
    )


async def _reranking(settings: Settings, models: ProviderTable, stack: AsyncExitStack) -> Reranking | None:
    """Raises SettingsError if the settings name a reranking model that cannot be used."""
    retrieval = settings.retrieval
    model = await open_reranker(
        retrieval.reranker,
        settings.models,
        models,
        retrieval.embedding_threads or visible().cpus,
        stack,
    )
    if model is None:
        return None
    return Reranking(
        model,
        seconds=_RERANKING_SECONDS,
        limit=retrieval.reranked,
        most_bytes=retrieval.reranked_bytes,
        breakers=models.breakers,
    )


def ingestion_model(settings: IngestionSettings, models: Models, key: str) -> BackgroundModel | None:
    """Return the model that the setting `key` names, or None if it names no model. Raises Fixable if the model is not available."""
    name = str(getattr(settings, key))
    return background_model(f"ingestion.{key}", name, models, "document", ingestion_prompts)


def background_model(
    key: str, name: str, models: Models, subject: str, prompts: Callable[[], PromptSet]
) -> BackgroundModel | None:
    """Return the model that the setting `key` names, for background work on texts of others, or None if it names no
    model. Raises Fixable if the model is not available."""
    model = _model_of(key, name, models)
    return None if model is None else BackgroundModel(model, subject, prompts, seconds=_BACKGROUND_SECONDS)


def citation_model(name: str, models: Models) -> Asker | None:
    """Return what asks the model that judges citations, or None if it has no name. Raises Fixable if the setting names
    a model that is not available."""
    judge = _model_of("citations.judge", name, models)
    if judge is None:
        return None
    return Asker(judge, citation_prompts(), Traits(), lambda model="": models.price(model or name))


def _model_of(key: str, name: str, models: Models) -> ChatModel | None:
    if not name:
        return None
    if (problem := models.problem(name)) is not None:
        raise Fixable(
            f"The setting {key} (RESPONSA_{key.upper().replace('.', '__')}) names “{name}”, which is not available: {clause(problem)}",
            "correct that, or name another model in this setting, and start again",
        )
    return models.chain([name])


def ingestion_prompts() -> PromptSet:
    """Read the prompts of ingestion. Raises OSError, and PromptError if a file's front matter is broken."""
    return _prompts("ingest")


def insight_prompts() -> PromptSet:
    """Read the prompts of insight. Raises OSError, and PromptError if a file's front matter is broken."""
    return _prompts("insight")


def citation_prompts() -> PromptSet:
    """Read the prompt of the model that judges citations. Raises OSError, and PromptError if the file's front matter is broken."""
    return _prompts("agents")


def _prompts(package: str) -> PromptSet:
    prompts = read_prompts(Path(str(files(f"responsa_server.{package}"))), f"{package}/")
    for problem in prompts.problems:
        raise PromptError(problem.file, problem.line, problem.message)
    return PromptSet(prompts.prompts, prompts.partials)


def open_models(settings: Settings, layout: Layout, stack: AsyncExitStack) -> ProviderTable:
    """Return the available language models. Raises Fixable if a default model is not available."""
    models = model_table(settings.models, layout)
    stack.push_async_callback(models.close)
    require_default_models(models, settings.models.default)
    return models


def _parser(settings: Settings, stack: AsyncExitStack, layout: Layout) -> ParserPool:
    if settings.ingestion.ocr and find_spec("rapidocr") is None:
        raise SettingsError(
            "ingestion.ocr is turned on, but text recognition is not installed: run `responsa setup --ocr`."
        )
    parser = parser_pool(
        concurrency=places(settings.ingestion.concurrency),
        limits=settings.ingestion.parse_limits,
        allow_unconfined=settings.allows_unconfined_parsing,
        spool_dir=layout.data,
        ocr=settings.ingestion.ocr,
    )
    stack.push_async_callback(parser.close)
    return parser


@dataclass(frozen=True, slots=True)
class AgentServices:
    """The agents, the tools that they call, the teachers (the personas of agents), the counters that the agents update,
    the circuit breakers of models and tools, and the model that `default` stands for."""

    agents: LiveAgents
    tools: LiveTools
    teachers: ResourceTable
    counters: Counters
    breakers: Breakers
    default_model: DefaultModels


async def build_agents(
    settings: Settings,
    layout: Layout,
    database: Database,
    knowledge: Knowledge,
    models: ProviderTable,
    faults: Faults,
    announce_reload: Callable[[], None],
    stack: AsyncExitStack,
    breakers: Breakers,
) -> AgentServices:
    """Build the agents and read their files.

    announce_reload: a function that asks the other processes to read the agents' files again. breakers: the circuit
    breakers of models and tools.

    Raises Fixable if a required agent is broken, and Unavailable if the database cannot be reached.
    """
    teachers, counters = ResourceTable(database, TEACHERS, new_id), Counters()
    evidence = knowledge.evidence
    connector = Connector()
    stack.push_async_callback(connector.close)
    tools = live_tools(settings, evidence, connector, knowledge.parser)
    stack.push_async_callback(tools.close)
    default_model = DefaultModels(
        settings,
        models,
        knowledge.embedders,
        PostgresDefaultModel(database),
        Secret(read_secret(settings, layout)),
    )
    judge = lru_cache(maxsize=2)(partial(citation_model, models=models))
    judge(settings.citations.judge)

    def judge_name() -> str:
        return settings.citations.judge or default_model.judge

    parts = NodeParts(
        source=evidence,
        judge=evidence,
        citation_model=lambda: judge(judge_name()),
        judge_name=judge_name,
        sections=evidence,
        teachers=teachers,
        summaries=PostgresSummaries(database),
        tools=tools,
        breakers=breakers,
    )
    context = BuildContext(
        parts,
        models,
        counters,
        settings.models.default,
        KeptClassifiers(layout.data / "classifiers", knowledge.embedder),
        faults,
    )
    folders = AgentFolders(make_folder(settings.agents.folder or layout.home / "agents", "agents"))
    agents = LiveAgents(
        folders,
        PostgresAgentVersions(database),
        context,
        surroundings(models, settings),
        LiveOptions(
            default=settings.agents.default,
            coded=await _testing_agent(settings, faults, stack),
            notify=announce_reload,
            runs_turns=settings.role.runs_turns,
            tools=tools,
            models=default_model.refresh,
            check_prices=default_model.check_prices,
            experiments=PostgresExperiments(database),
        ),
    )
    try:
        await agents.start()
    except AgentsBroken as error:
        raise Fixable(
            str(error), "correct these files; `responsa agents check FOLDER` lists all problems"
        ) from error
    except OSError as error:
        raise Fixable(
            f"The agents' folders cannot be read ({error})", "make sure that this user may read them"
        ) from error
    stack.push_async_callback(agents.close)
    if settings.agents.watch:
        roots = [*folders.roots, *([tools.folder] if tools.folder and tools.folder.is_dir() else [])]
        watch = Watch(roots, lambda: agents.want_reload(notify=True))
        watch.start()
        stack.push_async_callback(watch.close)
    return AgentServices(agents, tools, teachers, counters, breakers, default_model)


def surroundings(models: Models, settings: Settings) -> Surroundings:
    """Return the names of the server's models and providers, for the check of agents' files."""
    known = list_models(settings.models)
    return Surroundings(
        models=models,
        suggested_models=(PASSAGES, DEFAULT_MODEL, *settings.models.default, *by_name(known)),
        providers=tuple(known),
    )


def require_default_models(models: Models, default: Sequence[str]) -> None:
    """Check the setting `models.default`. Raises Fixable if a model is not available; the message names the
    setting.
    """
    for index, name in enumerate(default):
        if name == PASSAGES and index < len(default) - 1:
            why = f"names “{PASSAGES}” before other models, but “{PASSAGES}” must be the last"
        elif (problem := models.problem(name)) is not None:
            why = f"names “{name}”, which is not available: {clause(problem)}"
        else:
            continue
        raise Fixable(
            f"The setting models.default (RESPONSA_MODELS__DEFAULT) {why}",
            "correct that, or name another model in this setting, and start again",
        )


async def _testing_agent(settings: Settings, faults: Faults, stack: AsyncExitStack) -> dict[str, Agent]:
    if not settings.testing.agent:
        return {}
    testing = settings.testing
    agent = await doubles().testing_agent(testing.model_url, testing.tool_url, faults, stack)
    return {doubles().TESTING: agent}


async def build_turns(
    settings: Settings,
    layout: Layout,
    database: Database,
    knowledge: Knowledge,
    models: ProviderTable,
    faults: Faults,
    stack: AsyncExitStack,
    *,
    turn_queries: NamedQueries | None = None,
    gate: MessageGate | None = None,
    breakers: Breakers | None = None,
    traces: Traces = OFF,
    pause: Pause = NOT_PAUSED,
) -> tuple[Turns, AgentServices]:
    """Build `Turns` and the agents that answer questions. The caller must close `Turns`.

    gate: the limits of users; None in a process that accepts no questions. breakers: the circuit breakers of
    models and tools. turn_queries: replaces the turn store's SQL in tests. traces: how turns are traced.
    pause: the pause after a restore. Raises the same errors as `build_agents`.
    """
    codec = AskFrames()
    relay = RedisRelay(redis_url(settings, layout), relay_key(settings, layout))
    agents = await build_agents(
        settings,
        layout,
        database,
        knowledge,
        models,
        faults,
        lambda: relay.tell_all(Reload()),
        stack,
        breakers or Breakers(),
    )

    conversations = PostgresConversationStore(database, knowledge.collections)

    async def prune() -> None:
        if deleted := await PostgresAuditTrail(database).prune(settings.audit.retention_days):
            structlog.get_logger("audit").info("audit_pruned", events=deleted)
        if days := settings.turns.conversation_days:
            deleted = await conversations.prune(days)
            structlog.get_logger("turns").info("conversations_pruned", conversations=deleted)

    turns = Turns(
        PostgresTurnStore(database, codec, rules=settings.quotas.rules, queries=turn_queries),
        conversations,
        agents.agents,
        relay,
        Runtime(
            new_id,
            codec,
            options(settings),
            faults=faults,
            log=structlog.get_logger("turns"),
            errors=knowledge.queue.errors,
            traces=traces,
            pause=pause,
        ),
        agents.agents.want_reload,
        prune,
        gate,
        database.presence.worker,
    )
    return turns, agents


async def rebuild_vectors(settings: Settings, layout: Layout) -> int:
    """Compute the vectors that the vector store outside the database lacks. Returns the number of passages. Raises
    SettingsError, Fixable, Unavailable, Precondition."""
    async with AsyncExitStack() as stack:
        store = open_store(settings)
        if store is None:
            raise SettingsError(
                "retrieval.vector_store is postgres: index a collection again with KnowledgeService.ReindexCollection instead"
            )
        stack.push_async_callback(store.close)
        urls = database_urls(settings, layout)
        database = Database(urls.app, urls.log, size=2)
        await database.open()
        stack.push_async_callback(database.close)
        threads = settings.retrieval.embedding_threads or visible().cpus
        embedder = load_minilm(layout.data / "models", threads=threads)
        stack.callback(embedder.close)
        models = open_models(settings, layout, stack)
        embedders = ConfiguredEmbedders(
            embedder, settings.retrieval.embedding, settings.models, models.providers, models.learned
        )
        stack.push_async_callback(embedders.close)
        queue = JobQueue(urls.log, concurrency=1)
        indexers = Indexers(embedders, ShippedVectors(IngestionStore(database, queue)), new_id)
        builds = GenerationBuildStore(database, queue, store)
        return await Rebuild(builds, PassageWordsStore(database), indexers).run()


def keeper(
    database: Database,
    turns: Turns,
    knowledge: Knowledge,
    cache: RedisCache,
    pause: Pause = NOT_PAUSED,
) -> TenantKeeper:
    """Return what stops suspended tenants and erases tenants, for a process that runs turns."""

    async def forget(tenant_id: str) -> int:
        return await cache.forget(entries_of(tenant_id))

    return TenantKeeper(
        PostgresTenants(database),
        turns.stop,
        forget,
        knowledge.vectors,
        errors=knowledge.queue.errors,
        pause=pause,
    )


def build_erasing(
    settings: Settings,
    database: Database,
    knowledge: Knowledge,
    turns: Turns,
    cache: CredentialCache | None = None,
) -> Erasing:
    """Build the erasing of users. cache: the cache of credentials of a process that takes calls."""
    queue = knowledge.queue
    outbox = Outbox(queue, new_id) if settings.mail.configured else None
    store = PostgresErasing(database, queue, AskFrames(), knowledge.collections, knowledge.documents, outbox)
    return Erasing(store, turns.cancel, cache)


def options(settings: Settings) -> TurnOptions:
    """Return the options for the turns of a process with the configured role."""
    # A turn that works takes a connection of the large pool, and calls that are no questions need some, too.
    slots = max(1, int(settings.database_pool * _SHARE_OF_TURNS))
    return TurnOptions(**asdict(settings.turns), works=settings.role.runs_turns, slots=slots)
