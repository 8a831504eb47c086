"""The settings of search, `retrieval`."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field, model_validator


class RetrievalSettings(BaseModel, extra="forbid"):
    """Searching passages and choosing what supports an answer."""

    vector_store: str = Field(
        default="postgres",
        description="Where the vectors of passages are stored and searched. postgres: in the database, by the transactions that write the passages.",
    )
    hnsw_m: int = Field(
        default=16,
        ge=2,
        le=100,
        description="Links of a node in the vector index; another value builds it anew at the next start.",
    )
    hnsw_ef_construction: int = Field(
        default=64,
        ge=4,
        le=1000,
        description="Breadth while the vector index is built, at least twice hnsw_m; another value builds it anew at the next start.",
    )
    hnsw_ef_search: int = Field(
        default=100,
        ge=10,
        le=1000,
        description="Breadth of a vector search; more finds more and takes longer.",
    )
    support_threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Least support that an answer needs, else it is refused; empty takes the calibrated one. 0 never refuses what has any passage.",
    )
    search_seconds: float = Field(
        default=4.0,
        ge=0.1,
        le=30,
        description="How long one statement of a search may take in the database, waiting for locks included; then words alone are searched, which may take as long, and then the search counts as failed.",
    )
    embedding_threads: int = Field(
        default=0, ge=0, le=64, description="Threads of the embedding model; 0 takes one a core."
    )

    @model_validator(mode="after")
    def _broad_enough(self) -> Self:
        if self.hnsw_ef_construction < 2 * self.hnsw_m:
            raise ValueError("hnsw_ef_construction must be at least twice hnsw_m")
        return self
