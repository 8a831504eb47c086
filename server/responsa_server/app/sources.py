"""Sources: their connections, which the owner declares, and the databases that they read."""

from __future__ import annotations

from pathlib import Path

from responsa_server.app.tools import read_secret
from responsa_server.databases.reading import SqlDatabases
from responsa_server.domain.knowledge import Collections
from responsa_server.sources.declarations import DeclaredConnections
from responsa_server.sources.service import SourceAdministration
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.sources import PostgresSources


def source_administration(folder: Path, database: Database, collections: Collections) -> SourceAdministration:
    """Return what administrators can do with sources. folder: that of the declarations of connections."""
    return SourceAdministration(
        PostgresSources(database),
        DeclaredConnections(folder),
        SqlDatabases(lambda place: read_secret(place, folder)),
        collections,
    )
