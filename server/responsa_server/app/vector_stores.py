"""The table of vector stores. A new one is a file behind the port `VectorIndex`, with its own settings, and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Final

from responsa_server.app.settings import SettingsError
from responsa_server.domain.passages import OpenedVectors
from responsa_server.search.settings import RetrievalSettings
from responsa_server.stores.postgres.database import Database

Opener = Callable[["VectorStoreContext"], OpenedVectors]

VECTOR_STORES: Final[Mapping[str, str]] = {
    "postgres": "responsa_server.stores.postgres.vectors:open_vectors",
}
"""By the scheme of the setting `retrieval.vector_store`: the module and the function that opens it. The module is imported when it is chosen."""


@dataclass(frozen=True, slots=True)
class VectorStoreContext:
    """What a vector store may use. settings.vector_store: the whole setting; a store reads its own settings from the URL after its scheme."""

    database: Database
    settings: RetrievalSettings


def open_vectors(database: Database, settings: RetrievalSettings) -> OpenedVectors:
    """Open the chosen vector store. Raises SettingsError for a name that the table does not have."""
    place = VECTOR_STORES.get(settings.vector_store.partition(":")[0])
    if place is None:
        known = ", ".join(sorted(VECTOR_STORES))
        raise SettingsError(
            f"retrieval.vector_store is {settings.vector_store!r}; the vector stores are: {known}"
        )
    opener: Opener = resolve_name(place)
    return opener(VectorStoreContext(database, settings))
