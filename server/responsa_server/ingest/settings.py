"""The settings of ingestion, in the section `ingestion`."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, Field

from responsa_formats.containers import MIB
from responsa_formats.sandbox.computation import ParseLimits
from responsa_server.system.limiting import limit

_PAGE_SECONDS: Final = 10
"""The longest time for rendering one page of a PDF."""
_PARSER_SECONDS: Final = 20
"""The longest time for parsing one document."""
_OCR_SECONDS: Final = 240
"""The longest time for OCR of one document, on top of that. A full page takes about 5 seconds of processor time."""


class IngestionSettings(BaseModel, extra="forbid"):
    """Ingestion: reading, splitting and embedding documents."""

    concurrency: int = Field(
        default=2,
        ge=1,
        le=64,
        description=(
            "The most documents that are parsed and embedded at a time. As many small ones (at most 1 "
            "MiB) of users who have none in progress are allowed in addition, and one of a tenant "
            "that has none."
        ),
    )
    own_process: bool | None = Field(
        default=None,
        description=(
            "Whether `responsa up` ingests documents in a process of its own. Empty: from four cores on."
        ),
    )
    ocr: bool = Field(
        default=False,
        description=(
            "Whether pages of PDF files with pictures and no text, such as scans, are read by OCR. "
            "`responsa setup --ocr` installs it."
        ),
    )
    parser_memory_mib: int = limit(
        512, 128, 16_384, "The most memory for parsing one document, beyond the parser's own."
    )
    kept_versions: int = Field(
        default=10,
        ge=0,
        le=1_000,
        description=(
            "How many older versions of a document are kept to show and restore. Those that an "
            "answer cites are kept anyway."
        ),
    )
    metadata_model: str = Field(
        default="",
        description=(
            "The model (`provider:model`) that writes summaries and keywords from the first 12 KiB of "
            "each new text. Empty: both are taken from the text."
        ),
    )
    chunking_model: str = Field(
        default="",
        description=(
            "The model (`provider:model`) that finds where a document's subject changes, so that "
            "passages end there; it reads the first words of up to about 400 blocks. Empty: passages "
            "follow only the structure."
        ),
    )
    allow_unconfined: bool | None = Field(
        default=None,
        description=(
            "Whether documents are parsed on a kernel without Landlock or seccomp, where only resource "
            "limits and a separate user confine a parser that a document has taken over. Empty: only in "
            "development."
        ),
    )

    @property
    def page_limits(self) -> ParseLimits:
        return ParseLimits(
            memory_bytes=self.parser_memory_mib * MIB,
            cpu_seconds=_PAGE_SECONDS,
            wall_seconds=_PAGE_SECONDS * 1.5,
            result_bytes=16 * MIB,
        )

    @property
    def parse_limits(self) -> ParseLimits:
        seconds = _PARSER_SECONDS + (_OCR_SECONDS if self.ocr else 0)
        return ParseLimits(
            memory_bytes=self.parser_memory_mib * MIB,
            cpu_seconds=seconds,
            wall_seconds=seconds * 1.5,
        )
