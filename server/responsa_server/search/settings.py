"""The section `retrieval` of the settings: the settings of search."""

from __future__ import annotations

from typing import Final, Self

from pydantic import BaseModel, Field, model_validator

from responsa_server.domain.models import EMBEDDING_NAME

RERANKER_NAME: Final = r"^([a-z0-9][a-z0-9-]{0,31}:[^\x00-\x1f]{1,500})?\Z"
"""The pattern of the setting `reranker`, for Python's `re`."""
EMBEDDED_MODEL: Final = "embedded:minilm"
"""The embedding model that runs in the server."""


class RetrievalSettings(BaseModel, extra="forbid", regex_engine="python-re"):
    """How passages are searched."""

    vector_store: str = Field(
        default="postgres",
        description=(
            "The store of the passages' vectors. `postgres` keeps them in the database and writes "
            "them in the same transactions as the passages. `qdrant:` followed by an address keeps "
            "them in Qdrant; see docs/vectors.md."
        ),
    )
    hnsw_m: int = Field(
        default=16,
        ge=2,
        le=100,
        description=(
            "The number of links per node of the vector index. After a change of this value, the "
            "server rebuilds the index at its next start."
        ),
    )
    hnsw_ef_construction: int = Field(
        default=64,
        ge=4,
        le=1000,
        description=(
            "The size of the list of candidates while the vector index is built (pgvector's "
            "`ef_construction`), at least twice `hnsw_m`. After a change of this value, the server "
            "rebuilds the index at its next start."
        ),
    )
    hnsw_ef_search: int = Field(
        default=100,
        ge=10,
        le=1000,
        description=(
            "The size of the list of candidates in a vector search (pgvector's `hnsw.ef_search`). A "
            "larger value finds more passages and takes longer."
        ),
    )
    search_seconds: float = Field(
        default=4.0,
        ge=0.1,
        le=30,
        description=(
            "The maximum time in seconds for one statement of a search in the database, including "
            "waiting for locks. If a search with vectors takes longer, the server searches by words "
            "only, with the same limit. If the search by words exceeds the limit too, the whole "
            "search fails."
        ),
    )
    embedding: str = Field(
        default=EMBEDDED_MODEL,
        pattern=EMBEDDING_NAME,
        description=(
            "The embedding model of new collections, as `provider:model`. `embedded:minilm` runs in "
            "the server. An existing collection keeps its model until ReindexCollection changes it."
        ),
    )
    embedding_seconds: float = Field(
        default=4.0,
        ge=0.1,
        le=60,
        description=(
            "The maximum time in seconds for the vectors of a question. If an embedding model takes "
            "longer, a turn searches by words alone, and a call of `Search` fails."
        ),
    )
    memory_mib: int = Field(
        default=-1,
        ge=-1,
        le=1 << 20,
        description=(
            "How much memory a server may use to keep small collections for searches, in MiB. -1 "
            "means a tenth of the machine's memory, which `responsa up` divides among its servers; 0 "
            "means none."
        ),
    )
    embedding_threads: int = Field(
        default=0,
        ge=0,
        le=64,
        description=(
            "The number of threads of the embedding model that runs in the server, and of a "
            "reranking model in a folder. 0 means one thread per core; `responsa up` divides the "
            "cores among its processes."
        ),
    )

    reranker: str = Field(
        default="",
        pattern=RERANKER_NAME,
        description=(
            "The reranking model, which reads the question together with each of the best passages "
            "and orders them again: `cohere:…`, `jina:…`, `voyage:…`, `NAME:…` (your own server with "
            "`models.servers.NAME.rerank`) or `onnx:` followed by a folder. Empty: the search's own "
            "order stays."
        ),
    )
    reranking_seconds: float = Field(
        default=4.0,
        ge=0.1,
        le=60,
        description="The maximum time in seconds for the reranking model. If it takes longer or fails, the search's own order stays.",
    )
    reranked: int = Field(
        default=30,
        ge=1,
        le=100,
        description="The number of passages that the reranking model reads for a question.",
    )
    reranked_bytes: int = Field(
        default=4000,
        ge=200,
        le=100_000,
        description=(
            "The maximum number of bytes of a passage that the reranking model reads. Lower it for a "
            "server that refuses texts beyond its model's limit: 1,500 for a limit of 512 tokens."
        ),
    )

    @model_validator(mode="after")
    def _broad_enough(self) -> Self:
        if self.hnsw_ef_construction < 2 * self.hnsw_m:
            raise ValueError("hnsw_ef_construction must be at least twice hnsw_m")
        return self
