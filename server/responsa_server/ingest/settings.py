"""The settings of taking in documents, `ingestion`."""

from __future__ import annotations

from pydantic import BaseModel, Field


class IngestionSettings(BaseModel, extra="forbid"):
    """Taking in documents."""

    concurrency: int = Field(
        default=2, ge=1, le=64, description="The number of documents that are parsed and embedded at a time."
    )
    parser_seconds: float = Field(
        default=20.0, ge=1, le=600, description="The longest time that parsing one document may take."
    )
    parser_memory_mib: int = Field(
        default=512,
        ge=128,
        le=16_384,
        description="The memory that parsing one document may use, in addition to the parser's own.",
    )
    allow_unconfined: bool | None = Field(
        default=None,
        description="Whether documents are parsed on a kernel that lacks Landlock or seccomp. There, only resource limits and a separate user confine a parser that a document has taken over. Empty: everywhere except in production.",
    )
