"""The default model of an installation, as a server assembles it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from responsa_server.app.default_model import DefaultModels
from responsa_server.app.embedders import ConfiguredEmbedders
from responsa_server.app.settings import Settings
from responsa_server.identity.tokens import Secret
from responsa_server.providers.table import ProviderTable
from responsa_server.search.embedder import Embedder
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.default_model import PostgresDefaultModel


def build_default_models(
    settings: Settings,
    table: ProviderTable,
    database: Database,
    secret: bytes = bytes(32),
) -> DefaultModels:
    """Nothing is embedded with the model on the server's machine, so it has only a name."""
    embedded = cast("Embedder", SimpleNamespace(name="minilm"))
    embedders = ConfiguredEmbedders(embedded, settings.retrieval.embedding, settings.models, table.providers)
    return DefaultModels(settings, table, embedders, PostgresDefaultModel(database), Secret(secret))
