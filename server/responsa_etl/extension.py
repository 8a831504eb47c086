"""Sources: their connections, which the owner declares, and the databases and websites that they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import Final

from responsa_etl.databases.reading import SqlDatabases
from responsa_etl.domain import FolderKind
from responsa_etl.services.sources import ProfileService, SourceService
from responsa_etl.sources.budget import BudgetLimits
from responsa_etl.sources.crawling import Crawler
from responsa_etl.sources.declarations import DeclaredConnections
from responsa_etl.sources.folders import FolderLimits, FolderOpener, FolderReader
from responsa_etl.sources.git_folder import GitFolders
from responsa_etl.sources.local_folder import LocalFolders
from responsa_etl.sources.notifying import Delivering, Notifier
from responsa_etl.sources.sandbox import SourceSandboxes
from responsa_etl.sources.service import SourceAdministration, SourcesPart, SubjectProfiles
from responsa_etl.sources.syncing import Scheduling, Sync
from responsa_etl.sources.web_folders import WebFolders
from responsa_etl.sources.webhooks import DeclaredWebhooks
from responsa_etl.stores.deliveries import PostgresDeliveries
from responsa_etl.stores.profiles import PostgresProfiles
from responsa_etl.stores.source_runs import PostgresSourceRuns
from responsa_etl.stores.sources import PostgresSources
from responsa_server.app.extension import Extension, Jobs, Parts
from responsa_server.app.resources import new_id
from responsa_server.app.settings import Settings
from responsa_server.app.tools import read_secret
from responsa_server.calls.methods import NotInstalled
from responsa_server.domain.knowledge import JobKind, Work
from responsa_server.domain.notifications import NotifiedEvent
from responsa_server.domain.parts import NOT_PAUSED, Pause, ReportedPart
from responsa_server.domain.people import Principal
from responsa_server.identity.tokens import Secret
from responsa_server.library.library import Library
from responsa_server.outbound.addresses import read_allowed
from responsa_server.outbound.connector import Connector
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.mail import Outbox
from responsa_server.system import extras

_EXTRA: Final = "etl"


def etl(parts: Parts) -> Extension:
    """Sources and their runs, and what is announced of them. Without the packages of the extra, calls say so, and the
    jobs that read sources wait for a worker that has them."""
    settings, database, knowledge, queue = (
        parts.settings,
        parts.database,
        parts.knowledge,
        parts.knowledge.queue,
    )
    installed = extras.installed(_EXTRA)
    sandboxes = SourceSandboxes(knowledge.parser)
    crawler = Crawler(parts.connector, sandboxes)
    folders = build_folders(settings, parts.secret, parts.connector, sandboxes)

    def services() -> Sequence[object]:
        return (
            SourceService(
                source_administration(
                    settings, database, queue, knowledge.library, crawler, folders, parts.pause
                )
            )
            if installed
            else NotInstalled(_EXTRA, SourceService),
            ProfileService(SubjectProfiles(PostgresProfiles(database, knowledge.documents))),
        )

    def jobs() -> Jobs:
        deliveries = PostgresDeliveries(database, queue, new_id, Outbox(queue, new_id))
        webhooks = DeclaredWebhooks(settings.webhooks_folder)
        notifier = Notifier(deliveries, webhooks, mails=_events_to_mail(settings))
        runs = PostgresSourceRuns(database, queue, new_id, external_vectors=knowledge.vectors is not None)
        sync = Sync(
            runs,
            DeclaredConnections(settings.connections_folder),
            _databases(settings),
            crawler,
            folders,
            sandboxes,
            knowledge.library,
            knowledge.library.watching.report_end,
            notifier,
            build_budget(settings),
            queue.errors,
        )
        secret = partial(read_secret, folder=settings.webhooks_folder)
        delivering = Delivering(
            PostgresDeliveries(database, queue, new_id), webhooks, parts.connector, secret
        )
        # Ingestion announces its failures, too.
        work: dict[JobKind, Work] = {JobKind.DELIVER: delivering.work, JobKind.NOTICE: notifier.notice}
        if installed:
            work[JobKind.SYNC] = sync.work
            work[JobKind.SCHEDULE] = Scheduling(PostgresSourceRuns(database, queue, new_id), sandboxes).work
        return Jobs(work, {JobKind.SYNC: sync.give_up}, notifier.announce_end)

    def report_parts(asking: Callable[[], Principal | None]) -> Sequence[ReportedPart]:
        sources = PostgresSources(database, queue, new_id)
        return (
            (SourcesPart(sources, DeclaredConnections(settings.connections_folder), folders, asking),)
            if installed
            else ()
        )

    return Extension(services, jobs, parts=report_parts)


def source_administration(
    settings: Settings,
    database: Database,
    queue: JobQueue,
    library: Library,
    crawler: Crawler,
    folders: FolderReader,
    pause: Pause = NOT_PAUSED,
) -> SourceAdministration:
    """Return what administrators can do with sources. pause: the pause after a restore."""
    return SourceAdministration(
        PostgresSources(database, queue, new_id),
        PostgresSourceRuns(database, queue, new_id),
        DeclaredConnections(settings.connections_folder),
        _databases(settings),
        crawler,
        folders,
        crawler.sandboxes,
        library,
        PostgresDeliveries(database, queue, new_id),
        pause,
    )


def build_folders(
    settings: Settings, secret: Secret, connector: Connector, sandboxes: SourceSandboxes
) -> FolderReader:
    """Return what reads connected folders."""
    local = LocalFolders(
        settings.connectable_paths, settings.home, owners_only=settings.sources.paths is None
    )
    limits = FolderLimits(settings.sources.files)
    allowed = read_allowed(settings.sources.allow_private)
    web = WebFolders(connector, allowed, sandboxes)
    openers: Mapping[FolderKind, FolderOpener] = {
        FolderKind.PATH: local,
        FolderKind.GIT: GitFolders(allowed),
        FolderKind.WEBDAV: web,
        FolderKind.S3: web,
    }
    return FolderReader(local, openers, limits, secret)


def build_budget(settings: Settings) -> BudgetLimits:
    """Return what a run of a source may use, of whatever kind."""
    sources = settings.sources
    return BudgetLimits(sources.run_seconds, 10 * sources.files, 20 * sources.files, sources.run_bytes)


def _events_to_mail(settings: Settings) -> Set[NotifiedEvent]:
    if not (settings.mail.configured and settings.mail.notices):
        return frozenset()
    return {NotifiedEvent.FAILED, NotifiedEvent.CONFIRMATION_WANTED, NotifiedEvent.INGESTION_FAILED}


def _databases(settings: Settings) -> SqlDatabases:
    return SqlDatabases(
        lambda reference: read_secret(reference, settings.connections_folder),
        allow_unconfined=settings.allows_unconfined_parsing,
    )
