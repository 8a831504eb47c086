"""The settings of taking in documents, `ingestion`."""

from __future__ import annotations

from pydantic import BaseModel, Field


class IngestionSettings(BaseModel, extra="forbid"):
    """Taking in documents."""

    concurrency: int = Field(
        default=2, ge=1, le=64, description="Documents that are read and embedded at a time."
    )
    parser_seconds: float = Field(
        default=20.0, ge=1, le=600, description="The longest that reading one document may take."
    )
    parser_memory_mib: int = Field(
        default=512,
        ge=128,
        le=16_384,
        description="Memory that reading one document may take beyond the parser's own.",
    )
    allow_unconfined: bool | None = Field(
        default=None,
        description="Whether documents are read on a kernel without Landlock or without seccomp, where a parser that a document has taken over is held by resource limits and another user alone; empty means not in production, and anywhere else.",
    )
