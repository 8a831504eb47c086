"""The table of vector stores outside the database. To add a store, write one file that implements `VectorStore` (domain/passages.py), and
add one row here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from responsa_server.app.settings import Settings, SettingsError
from responsa_server.domain.passages import VectorStore

_POSTGRES: Final = "postgres"
_PREFIX: Final = re.compile(r"[a-z0-9_]{1,40}")


def _qdrant(address: str, settings: Settings) -> VectorStore:
    if find_spec("qdrant_client") is None:
        raise SettingsError(
            'retrieval.vector_store is qdrant, but its client is not installed: run `pip install "responsa[qdrant]"`'
        )
    # Imported late, because the client is optional and its import is slow.
    from responsa_server.stores.qdrant import QdrantOptions, QdrantVectors, Quantization, connect

    parts = urlsplit(address)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    quantization, prefix = options.pop("quantization", "int8"), options.pop("prefix", "responsa")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
        problem = "is not qdrant: and an http or https address, such as qdrant:http://127.0.0.1:6333; QDRANT_API_KEY holds the key"
    elif options:
        problem = f"has the unknown option {min(options)}; the options are quantization and prefix"
    elif quantization not in set(Quantization):
        problem = f"has the unknown quantization {quantization!r}; it is one of {', '.join(Quantization)}"
    elif not _PREFIX.fullmatch(prefix):
        problem = f"has the prefix {prefix!r}; it is 1 to 40 characters of a-z, 0-9 and underscore"
    else:
        key, search = settings.qdrant_api_key, settings.retrieval
        return QdrantVectors(
            connect(parts._replace(query="").geturl(), key.get_secret_value() if key else ""),
            QdrantOptions(
                prefix,
                search.search_seconds,
                search.hnsw_m,
                search.hnsw_ef_construction,
                search.hnsw_ef_search,
                Quantization(quantization),
            ),
        )
    raise SettingsError(f"retrieval.vector_store (RESPONSA_RETRIEVAL__VECTOR_STORE) {problem}")


VECTOR_STORES: Final[Mapping[str, Callable[[str, Settings], VectorStore]]] = {"qdrant": _qdrant}
"""The functions that open a vector store. Each key is a scheme: the part before the colon in the setting
`retrieval.vector_store`. A store reads its own settings from the text after the scheme.
"""


def open_store(settings: Settings) -> VectorStore | None:
    """Open the vector store that the settings choose; None if PostgreSQL holds the vectors. Nothing is asked of it yet.
    Raises SettingsError if the scheme in the setting is not in the table, or the rest of the setting is wrong.
    """
    scheme, _, rest = settings.retrieval.vector_store.partition(":")
    if settings.retrieval.vector_store == _POSTGRES:
        return None
    opener = VECTOR_STORES.get(scheme)
    if opener is None:
        known = ", ".join(sorted([_POSTGRES, *VECTOR_STORES]))
        raise SettingsError(
            f"retrieval.vector_store is {settings.retrieval.vector_store!r}; the vector stores are: {known}"
        )
    return opener(rest, settings)
