"""Sources: their connections, which the owner declares, and the databases and websites that they read."""

from __future__ import annotations

from responsa_server.app.resources import new_id
from responsa_server.app.settings import Settings
from responsa_server.app.tools import read_secret
from responsa_server.databases.reading import SqlDatabases
from responsa_server.domain.notifications import NotifiedEvent
from responsa_server.library.library import Library
from responsa_server.outbound.connector import Connector
from responsa_server.sources.crawling import Crawler
from responsa_server.sources.declarations import DeclaredConnections
from responsa_server.sources.notifying import Delivering, Notifier
from responsa_server.sources.sandbox import SourceSandbox
from responsa_server.sources.service import SourceAdministration
from responsa_server.sources.syncing import Scheduling, Sync
from responsa_server.sources.webhooks import DeclaredWebhooks
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.deliveries import PostgresDeliveries
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.mail import Outbox
from responsa_server.stores.postgres.source_runs import PostgresSourceRuns
from responsa_server.stores.postgres.sources import PostgresSources


def source_administration(
    settings: Settings,
    database: Database,
    queue: JobQueue,
    library: Library,
    crawler: Crawler,
) -> SourceAdministration:
    """Return what administrators can do with sources."""
    return SourceAdministration(
        PostgresSources(database, queue, new_id),
        PostgresSourceRuns(database, queue, new_id),
        DeclaredConnections(settings.connections_folder),
        _databases(settings),
        crawler,
        crawler.sandbox,
        library.collections,
        PostgresDeliveries(database, queue, new_id),
    )


def notifier_on(settings: Settings, database: Database, queue: JobQueue) -> Notifier:
    """Return what announces runs that have ended and ingestions that failed."""
    mails = set[NotifiedEvent]()
    if settings.mail.configured:
        if settings.sources.mails:
            mails |= {NotifiedEvent.FAILED, NotifiedEvent.CONFIRMATION_WANTED}
        if settings.sources.success_mails:
            mails.add(NotifiedEvent.SUCCEEDED)
        if settings.ingestion.mails:
            mails.add(NotifiedEvent.INGESTION_FAILED)
    deliveries = PostgresDeliveries(database, queue, new_id, Outbox(queue, new_id))
    return Notifier(deliveries, DeclaredWebhooks(settings.webhooks_folder), mails=mails)


def source_job(
    settings: Settings,
    database: Database,
    queue: JobQueue,
    library: Library,
    crawler: Crawler,
    notifier: Notifier,
    *,
    external_vectors: bool,
) -> Sync:
    """Return the job that runs sources. external_vectors: whether a `VectorStore` holds the vectors."""
    runs = PostgresSourceRuns(database, queue, new_id, external_vectors=external_vectors)
    connections = DeclaredConnections(settings.connections_folder)
    return Sync(
        runs,
        connections,
        _databases(settings),
        crawler,
        crawler.sandbox,
        library,
        library.ended,
        notifier,
        queue.errors,
    )


def delivery_job(settings: Settings, database: Database, queue: JobQueue, connector: Connector) -> Delivering:
    """Return the job that delivers events to webhooks."""
    folder = settings.webhooks_folder
    deliveries = PostgresDeliveries(database, queue, new_id)
    return Delivering(
        deliveries, DeclaredWebhooks(folder), connector, lambda place: read_secret(place, folder)
    )


def schedule_job(database: Database, queue: JobQueue, sandbox: SourceSandbox) -> Scheduling:
    """Return the job that begins the runs of schedules."""
    return Scheduling(PostgresSourceRuns(database, queue, new_id), sandbox)


def _databases(settings: Settings) -> SqlDatabases:
    return SqlDatabases(
        lambda place: read_secret(place, settings.connections_folder),
        allow_unconfined=settings.allows_unconfined_parsing,
    )
