"""The section `retrieval` of the settings: the settings of search."""

from __future__ import annotations

from typing import Final, Self

from pydantic import BaseModel, Field, model_validator

from responsa_server.domain.models import EMBEDDING_NAME
from responsa_server.system.limiting import limit

RERANKER_NAME: Final = r"^([a-z0-9][a-z0-9-]{0,31}:[^\x00-\x1f]{1,500})?\Z"
"""The pattern of the setting `reranker`, for Python's `re`."""
EMBEDDED_MODEL: Final = "embedded:minilm"
"""The embedding model that runs in the server."""


class RetrievalSettings(BaseModel, extra="forbid", regex_engine="python-re"):
    """How passages are searched."""

    vector_store: str = Field(
        default="postgres",
        description=(
            "Where the passages' vectors are: `postgres`, in the database and its transactions, or "
            "`qdrant:` and an address; see docs/retrieval.md."
        ),
    )
    hnsw_m: int = limit(
        16, 2, 100, "The links per node of the vector index. After a change, the next start rebuilds it."
    )
    hnsw_ef_construction: int = Field(
        default=64,
        ge=4,
        le=1000,
        description=(
            "pgvector's `ef_construction`, at least twice `hnsw_m`. After a change, the next start "
            "rebuilds the index."
        ),
    )
    hnsw_ef_search: int = limit(
        100, 10, 1000, "pgvector's `hnsw.ef_search`. A larger value finds more passages and takes longer."
    )
    search_seconds: float = Field(
        default=4.0,
        ge=0.1,
        le=30,
        description=(
            "The longest time for one statement of a search, with waiting for locks. A search with "
            "vectors that takes longer continues with words only, with the same limit; then it fails."
        ),
    )
    embedding: str = Field(
        default=EMBEDDED_MODEL,
        pattern=EMBEDDING_NAME,
        description=(
            "The embedding model of new collections, as `provider:model`. An existing collection keeps "
            "its model until ReindexCollection changes it."
        ),
    )
    embedding_seconds: float = Field(
        default=4.0,
        ge=0.1,
        le=60,
        description=(
            "The longest time for the vectors of a question, from the beginning of the work. Then a turn "
            "searches by words only, and a call of `Search` fails."
        ),
    )
    memory_mib: int = Field(
        default=-1,
        ge=-1,
        le=1 << 20,
        description=(
            "Memory of a server for searches of small collections, in MiB. -1: a tenth of the "
            "machine's, which `responsa up` divides among its servers; 0: none."
        ),
    )
    embedding_threads: int = Field(
        default=0,
        ge=0,
        le=64,
        description=(
            "The threads of the embedding model in the server, and of a reranking model in a folder. 0: "
            "one per core, which `responsa up` divides among its processes."
        ),
    )

    reranker: str = Field(
        default="",
        pattern=RERANKER_NAME,
        description=(
            "The model that orders the best passages again: `cohere:…`, `jina:…`, `voyage:…`, `NAME:…` "
            "(your own server with `models.servers.NAME.rerank`) or `onnx:` and a folder. Empty: none."
        ),
    )
    reranked: int = limit(30, 1, 100, "How many passages the reranking model reads for a question.")
    reranked_bytes: int = Field(
        default=4000,
        ge=200,
        le=100_000,
        description=(
            "How many bytes of a passage it reads. Lower it for a server that refuses longer texts: "
            "1,500 for a limit of 512 tokens."
        ),
    )

    @model_validator(mode="after")
    def _broad_enough(self) -> Self:
        if self.hnsw_ef_construction < 2 * self.hnsw_m:
            raise ValueError("hnsw_ef_construction must be at least twice hnsw_m")
        return self
