"""The settings of ingestion, in the section `ingestion`."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, Field

from responsa_server.ingest.containers import MIB


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """Limits for one document.

    input_bytes: the maximum size of the file. memory_bytes: the maximum growth of the process's address space.
    cpu_seconds: the maximum processor time. wall_seconds: the maximum time from the start of the process to the last byte of its
    result. result_bytes: the maximum size of the encoded result.
    """

    memory_bytes: int
    cpu_seconds: int
    wall_seconds: float
    input_bytes: int = 64 * MIB
    result_bytes: int = 192 * MIB

    def __post_init__(self) -> None:
        if (
            min(self.input_bytes, self.memory_bytes, self.cpu_seconds, self.result_bytes) <= 0
            or self.wall_seconds <= 0
        ):
            raise ValueError("every parse limit must be positive")


class IngestionSettings(BaseModel, extra="forbid"):
    """Ingestion: reading, splitting and embedding documents."""

    concurrency: int = Field(
        default=2,
        ge=1,
        le=64,
        description=(
            "The maximum number of documents that are parsed and embedded at the same time. In "
            "addition, the server may ingest up to the same number of small documents (at most 1 MiB "
            "each) of users who have no other document in progress, and one small document of a "
            "tenant that has none in progress."
        ),
    )
    own_process: bool | None = Field(
        default=None,
        description=(
            "Whether `responsa up` ingests documents in a process of its own, so that this does not "
            "slow down answers. Empty: from four cores on."
        ),
    )
    max_losses: int = Field(
        default=1,
        ge=0,
        le=100,
        description=(
            "How many times in succession a job may lose its worker and be begun again, if it "
            "ingests a document, runs a source or builds a generation; the next loss ends its "
            "operation with WORKER_LOST."
        ),
    )
    parser_seconds: float = Field(
        default=20.0, ge=1, le=600, description="The maximum time for parsing one document."
    )
    ocr: bool = Field(
        default=False,
        description=(
            "Whether the pages of PDF files that have pictures and no text, such as scans, are read "
            "by OCR (text recognition). `make ocr` installs what that needs."
        ),
    )
    ocr_seconds: float = Field(
        default=240.0,
        ge=1,
        le=3_600,
        description=(
            "The maximum time for reading the pages of one document by OCR, in addition to "
            "`parser_seconds`. A full page takes about 5 seconds of processor time."
        ),
    )
    document_seconds: float = Field(
        default=600.0,
        ge=1,
        le=86_400,
        description=(
            "The maximum time for ingesting one document of up to 1 MiB: parsing it, splitting it, "
            "and computing and storing its vectors. A larger document gets this time for each MiB. "
            "After that, the document is refused with DOCUMENT_PARSER_LIMIT."
        ),
    )
    parser_memory_mib: int = Field(
        default=512,
        ge=128,
        le=16_384,
        description="The maximum memory for parsing one document, in addition to what the parser itself uses.",
    )
    page_seconds: float = Field(
        default=10.0, ge=1, le=600, description="The maximum time for drawing one page of a PDF."
    )
    drawings: int = Field(
        default=2,
        ge=1,
        le=64,
        description="The maximum number of pages that a server draws at the same time, in addition to the documents that it parses.",
    )
    kept_versions: int = Field(
        default=10,
        ge=0,
        le=1_000,
        description=(
            "How many older versions of a document are kept, so that they can be compared and "
            "restored. Versions that an answer cites are kept in any case."
        ),
    )
    mails: bool = Field(
        default=True,
        description=(
            "Whether administrators get a mail when documents could not be ingested. At most one "
            "such mail is sent in an hour. The mail says how many documents failed. Mails need the "
            "settings `mail`."
        ),
    )
    metadata_model: str = Field(
        default="",
        description=(
            "The language model that writes summaries and keywords of documents, as provider:model. "
            "It reads at most the first 12 KiB of each new text. If empty, a summary consists of "
            "sentences of the text, and the keywords are words of the text."
        ),
    )
    chunking_model: str = Field(
        default="",
        description=(
            "The language model that finds the places where a document's subject changes, as "
            "provider:model. Passages end at these places. The model reads the first words of up to "
            "about 400 blocks of each new text. If empty, passages follow only the structure of the "
            "text."
        ),
    )
    model_seconds: float = Field(
        default=30.0,
        ge=1,
        le=600,
        description=(
            "The maximum time of one call of `metadata_model` or `chunking_model`. After that, the "
            "document is ingested without the model."
        ),
    )
    allow_unconfined: bool | None = Field(
        default=None,
        description=(
            "Whether documents are parsed on a kernel that lacks Landlock or seccomp. If a malicious "
            "document takes over the parser on such a kernel, only resource limits and a separate "
            "user confine the parser. If empty, documents are parsed on such a kernel only in "
            "development, and each start says so."
        ),
    )

    @property
    def page_limits(self) -> ParseLimits:
        return ParseLimits(
            memory_bytes=self.parser_memory_mib * MIB,
            cpu_seconds=max(1, int(self.page_seconds)),
            wall_seconds=self.page_seconds * 1.5,
            result_bytes=16 * MIB,
        )

    @property
    def parse_limits(self) -> ParseLimits:
        seconds = self.parser_seconds + (self.ocr_seconds if self.ocr else 0)
        return ParseLimits(
            memory_bytes=self.parser_memory_mib * MIB,
            cpu_seconds=max(1, int(seconds)),
            wall_seconds=seconds * 1.5,
        )
