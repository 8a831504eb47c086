"""Pages of documents as images."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final
from uuid import UUID

from responsa_formats.rejections import ParserUnavailable, Rejected
from responsa_formats.sandbox.pool import ParserPool
from responsa_formats.text.drawn import DrawnPage, png
from responsa_server.domain import names
from responsa_server.domain.cache import LruCache
from responsa_server.domain.errors import (
    DocumentRejected,
    InvalidRequest,
    Precondition,
    Reason,
    Unavailable,
)
from responsa_server.domain.knowledge import DocumentVersion, PageImage
from responsa_server.domain.people import Reader
from responsa_server.domain.sharing import Scheduler
from responsa_server.ingest.formats import FORMATS
from responsa_server.ingest.parsing import document_error
from responsa_server.ingest.settings import IngestionSettings
from responsa_server.stores.postgres.documents import DocumentStore

MAX_IMAGE_BYTES: Final = 3 * 1024 * 1024
# The maximum size of the images that are kept.
_DRAWINGS: Final = 2
"""The most pages that a server renders at a time."""
_CACHE_BYTES: Final = 16 * 1024 * 1024
_PIECE_BYTES: Final = 1024 * 1024
# Each attempt halves the size of the image at least, so a page of noise fits after three.
_ATTEMPTS: Final = 4
_SMALLER: Final = 0.7


_Key = tuple[str, UUID, int, int, int]


class PageImages:
    """Draws pages, a few at a time, and keeps the images drawn last.

    Drawing has its own bound, so a page does not wait for the documents that are being ingested. The bound also covers
    the reading of the originals.
    """

    def __init__(
        self, documents: DocumentStore, drawer: ParserPool, settings: IngestionSettings | None = None
    ) -> None:
        settings = settings or IngestionSettings()
        self._documents = documents
        self._drawer = drawer
        self._limits = settings.page_limits
        self._slots = Scheduler("drawings", _DRAWINGS)
        self._cache: LruCache[_Key, PageImage] = LruCache(_CACHE_BYTES)

    async def draw(
        self, reader: Reader, document_id: UUID, version: int | None, page: int, width: int
    ) -> tuple[DocumentVersion, PageImage]:
        """A page as an image of at most 3 MiB, and its version.

        version: None means the searchable version. page: the page's number, from 1. width: the wanted width in pixels;
        the image may be narrower. Raises NotFound, Precondition (PAGES_UNSUPPORTED), InvalidRequest
        (PAGE_OUT_OF_RANGE), DocumentRejected, Exhausted (OVERLOADED), Unavailable.
        """
        document_version = await self._documents.version(reader, document_id, version)
        format_name = self._drawable(document_version)
        key = (reader.tenant_id, document_id, document_version.version, page, width)
        cached = self._cache.get(key)
        if cached is not None:
            return document_version, cached
        async with self._slots.turn():
            image = await self._image(reader, document_version, format_name, page, width)
        self._cache.put(key, image, len(image.png))
        return document_version, image

    def _drawable(self, version: DocumentVersion) -> str:
        """The name of the version's format. Raises Precondition if its pages cannot be drawn."""
        own_format = FORMATS.with_media_type(version.media_type)
        if own_format is not None and own_format.drawer:
            return own_format.name
        drawable = ", ".join(item.display_name for item in FORMATS if item.drawer)
        raise Precondition(
            Reason.PAGES_UNSUPPORTED,
            (
                f"The server can render pages only for documents in these formats: {drawable}. Read the "
                "document's text, or download the original."
            ),
            {
                "document_version": names.document_version(version.document_id, version.version),
                "media_type": version.media_type,
            },
        )

    async def _original(self, reader: Reader, version: DocumentVersion) -> AsyncGenerator[bytes]:
        """The bytes of a version, in pieces, because it may have 64 MiB."""
        for start in range(0, version.size_bytes, _PIECE_BYTES):
            yield await self._documents.original(
                reader, version.document_id, version.version, start, _PIECE_BYTES
            )

    async def _image(
        self, reader: Reader, version: DocumentVersion, format_name: str, page: int, width: int
    ) -> PageImage:
        for _ in range(_ATTEMPTS):
            drawn = await self._draw_page(version, self._original(reader, version), format_name, page, width)
            if not drawn.pixels:
                raise _out_of_range(version, page, drawn.page_count)
            image = await asyncio.to_thread(png, drawn)
            if len(image) <= MAX_IMAGE_BYTES:
                return PageImage(image, drawn.width, drawn.height, drawn.page_count, drawn.label)
            width = max(1, int(drawn.width * min(_SMALLER, math.sqrt(MAX_IMAGE_BYTES / len(image)))))
        raise _too_expensive(version)

    async def _draw_page(
        self,
        version: DocumentVersion,
        original: AsyncIterator[bytes],
        format_name: str,
        page: int,
        width: int,
    ) -> DrawnPage:
        try:
            return await self._drawer.draw(original, format_name, page, width, self._limits)
        except ParserUnavailable as error:
            raise Unavailable(
                Reason.PART_UNAVAILABLE,
                "The page cannot be rendered at the moment; try again later.",
                {"part": "parser"},
            ) from error
        except Rejected as rejected:
            error = document_error(rejected, version.source_key)
            raise (
                _too_expensive(version) if error.reason is Reason.DOCUMENT_PARSER_LIMIT else error
            ) from rejected


def _out_of_range(version: DocumentVersion, page: int, page_count: int) -> InvalidRequest:
    pages = "1 page" if page_count == 1 else f"{page_count} pages"
    return InvalidRequest(
        Reason.PAGE_OUT_OF_RANGE,
        f"The document has {pages}, so it has no page {page}; name a page from 1 to {page_count}.",
        {
            "document_version": names.document_version(version.document_id, version.version),
            "page_count": str(page_count),
        },
    )


def _too_expensive(version: DocumentVersion) -> DocumentRejected:
    return DocumentRejected(
        Reason.DOCUMENT_PARSER_LIMIT,
        "Rendering this page takes more time or memory than is allowed. Download the original instead.",
        {"source_key": version.source_key},
    )
