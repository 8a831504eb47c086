"""This server's own turns, log, chain and services with a different source of evidence. With this peer, the bench measures
the machinery of turns without the cost of search.

python -m bench.peers.durable --listen unix:PATH [--evidence library|memory|deltas|paced]
"""

from __future__ import annotations

import asyncio

import structlog

from bench.agents import DEFAULT, AgentTable
from bench.embedders import OneEmbedder
from bench.peers.alone import Alone
from bench.peers.parts import Parts, opened
from bench.peers.process import PeerArguments, arguments, until_told
from responsa_etl.extension import build_folders, source_administration
from responsa_etl.services.sources import ProfileService, SourceService
from responsa_etl.sources.crawling import Crawler
from responsa_etl.sources.sandbox import SourceSandboxes
from responsa_etl.sources.service import SubjectProfiles
from responsa_etl.stores.profiles import PostgresProfiles
from responsa_formats.sandbox.pool import ParserPool
from responsa_server import __version__
from responsa_server.agents.config.tools import LiveTools
from responsa_server.app.accounts import AccountServices
from responsa_server.app.default_model import DefaultModels
from responsa_server.app.embedders import ConfiguredEmbedders
from responsa_server.app.models import model_table
from responsa_server.app.process import freeze, run
from responsa_server.app.resources import database_urls, new_id, redis_url, relay_key
from responsa_server.calls.contract import calls_of
from responsa_server.calls.frames import AskFrames
from responsa_server.calls.health import PartReports
from responsa_server.calls.interceptors.lasting import CredentialWatch
from responsa_server.calls.methods import SERVICES
from responsa_server.calls.services.administration.experiments import ExperimentService
from responsa_server.calls.services.parts import Services
from responsa_server.domain.agents import AgentCard
from responsa_server.domain.counters import Counters
from responsa_server.domain.parts import Installation
from responsa_server.domain.quotas import QuotaRules
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.limits import LimitBook, QuotaAdministration
from responsa_server.identity.settings import LimitSettings
from responsa_server.identity.tenants import TenantAdministration
from responsa_server.identity.tokens import Secret
from responsa_server.identity.users import Erasing, UserAdministration
from responsa_server.ingest.watching import Watching
from responsa_server.insight.reports import Insight
from responsa_server.library.library import Library
from responsa_server.library.pages import PageImages
from responsa_server.outbound.connector import Connector
from responsa_server.search.hits import KnowledgeSearch
from responsa_server.stores.postgres.collections import CollectionStore
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.default_model import PostgresDefaultModel
from responsa_server.stores.postgres.documents import DocumentStore
from responsa_server.stores.postgres.erasing import PostgresErasing
from responsa_server.stores.postgres.experiments import PostgresExperiments
from responsa_server.stores.postgres.generations import GenerationStore
from responsa_server.stores.postgres.insight import PostgresInsight
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.limits import PostgresLimits
from responsa_server.stores.postgres.operations import OperationStore
from responsa_server.stores.postgres.patterns import PATTERN, PostgresPatterns
from responsa_server.stores.postgres.quotas import PostgresQuotas
from responsa_server.stores.postgres.resources import ResourceTable
from responsa_server.stores.postgres.tenants import PostgresTenants
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.stores.postgres.users import PostgresUsers
from responsa_server.stores.redis_relay import RedisRelay
from responsa_server.transports.grpc.server import RpcServer
from responsa_server.turns.conversations import Conversations
from responsa_server.turns.runtime import Runtime
from responsa_server.turns.service import Turns
from responsa_server.turns.settings import TurnOptions


def assembled(parts: Parts, peer_arguments: PeerArguments) -> tuple[Turns, RpcServer]:
    """The server's turns and its gRPC side, assembled as in `responsa_server.app.serve`, but without a worker that ingests documents."""
    database, options = parts.database, parts.settings.turns
    codec = AskFrames()
    conversations = PostgresConversationStore(database)
    collections = CollectionStore(database)
    agents = AgentTable({DEFAULT: parts.agent})
    turns = Turns(
        PostgresTurnStore(database, codec),
        conversations,
        agents,
        RedisRelay(redis_url(parts.settings, parts.layout), relay_key(parts.settings, parts.layout)),
        Runtime(
            new_id,
            codec,
            TurnOptions(
                lease_seconds=options.lease_seconds,
                max_running=options.max_running,
                merge_bytes=0,  # like the peer, which sends each event unchanged
            ),
            log=structlog.get_logger("turns"),
        ),
    )
    queue = JobQueue(
        database_urls(parts.settings, parts.layout).log,
        concurrency=parts.settings.ingestion.concurrency,
    )
    documents, operations = DocumentStore(database, queue, new_id), OperationStore(database, queue)
    parser = ParserPool(concurrency=1, limits=parts.settings.ingestion.parse_limits)
    library = Library(
        collections,
        documents,
        operations,
        KnowledgeSearch(parts.retriever),
        Watching(operations),
        PageImages(documents, parser),
        embedders=OneEmbedder(parts.embedder),
        generations=GenerationStore(database, queue, new_id),
        spool_dir=parts.layout.data,
    )
    cache = CredentialCache()
    people = AccountServices(parts.settings, parts.layout, database, queue, cache)
    limits = LimitBook(LimitSettings(), PostgresLimits(database), PostgresUsers(database))
    catalogue = Alone(AgentCard(DEFAULT, DEFAULT, "", parts.agent.version, is_default=True))
    calls = calls_of(
        Services(
            database=database,
            new_id=new_id,
            identity=people.identity,
            watch=CredentialWatch(people.identity),
            accounts=people.accounts,
            identities=people.identities,
            turns=turns,
            conversations=Conversations(conversations, documents, new_id),
            library=library,
            agents=agents,
            catalogue=catalogue,
            tools=LiveTools(None, {}, lambda _: (), (), lambda _: None),
            users=UserAdministration(PostgresUsers(database), new_id, cache),
            tenants=TenantAdministration(
                PostgresTenants(database), new_id, cache, parts.settings.accounts.registration
            ),
            cache=cache,
            quotas=QuotaAdministration(PostgresQuotas(database, QuotaRules()), limits),
            insight=Insight(
                PostgresInsight(database),
                PostgresPatterns(database, AskFrames()),
                ResourceTable(database, PATTERN, new_id),
                PostgresUsers(database),
            ),
            extensions=(
                SourceService(
                    source_administration(
                        parts.settings,
                        database,
                        queue,
                        library,
                        Crawler(Connector(), SourceSandboxes(parser)),
                        build_folders(
                            parts.settings, Secret(bytes(32)), Connector(), SourceSandboxes(parser)
                        ),
                    )
                ),
                ProfileService(SubjectProfiles(PostgresProfiles(database, documents))),
                ExperimentService(PostgresExperiments(database), catalogue, new_id),
            ),
            reports=PartReports([]),
            erasing=Erasing(
                PostgresErasing(database, queue, AskFrames(), collections, documents),
                turns.cancel,
                cache,
            ),
            limits=limits,
            counters=Counters(),
            installation=Installation(__version__, parts.embedder.name),
            models=DefaultModels(
                parts.settings,
                model_table(parts.settings.models),
                ConfiguredEmbedders(
                    parts.embedder,
                    parts.settings.retrieval.embedding,
                    parts.settings.models,
                    {},
                ),
                PostgresDefaultModel(database),
                Secret(bytes(32)),
            ),
        ),
        logger=structlog.get_logger("calls"),
    )
    return turns, RpcServer(calls, SERVICES, peer_arguments.address, reflects=False)


async def main() -> None:
    """Serves until a signal."""
    given = arguments(__doc__ or "")
    async with opened(given.evidence) as parts:
        turns, server = assembled(parts, given)
        await turns.start()
        await server.start()
        await server.ready()
        freeze()
        await until_told()
        await asyncio.gather(server.drain(1.0), turns.drain(1.0))
        await turns.close()


if __name__ == "__main__":
    run(main())
