"""The table of vector stores. To add a store, write one file that implements `VectorStore` (domain/passages.py), and
add one row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from responsa_server.app.settings import SettingsError
from responsa_server.domain.passages import OpenedVectors
from responsa_server.search.settings import RetrievalSettings
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.vectors import PostgresVectorIndex


def _postgres(database: Database, settings: RetrievalSettings) -> OpenedVectors:
    index = PostgresVectorIndex(
        database, search_seconds=settings.search_seconds, breadth=settings.hnsw_ef_search
    )
    return OpenedVectors(index, None)


VECTOR_STORES: Final[Mapping[str, Callable[[Database, RetrievalSettings], OpenedVectors]]] = {
    "postgres": _postgres,
}
"""The functions that open a vector store. Each key is a scheme: the part before the colon in the setting
`retrieval.vector_store`. A store reads its own settings from the text after the scheme.
"""


def open_vectors(database: Database, settings: RetrievalSettings) -> OpenedVectors:
    """Open the vector store that the settings choose. Raises SettingsError if the scheme in the setting is not in the
    table.
    """
    opener = VECTOR_STORES.get(settings.vector_store.partition(":")[0])
    if opener is None:
        known = ", ".join(sorted(VECTOR_STORES))
        raise SettingsError(
            f"retrieval.vector_store is {settings.vector_store!r}; the vector stores are: {known}"
        )
    return opener(database, settings)
