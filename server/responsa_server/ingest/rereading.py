"""Reads documents again whose searched version was read by an earlier version of their format's parser, or cut into
passages by earlier rules, while searches go on with that version.

It remembers nothing: it looks for such documents, and enqueues a job for each. A document whose job fails is not tried
again until somebody uploads it or asks for it.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.stores.postgres.documents import DocumentStore
from responsa_server.stores.postgres.passages import PassageWordsStore
from responsa_server.telemetry.unexpected import keep_going

_AT_ONCE: Final = 32
_BETWEEN_SECONDS: Final = 5.0
"""Jobs are enqueued about as fast as they are done, so that the queue does not fill with them."""
_LOOK_SECONDS: Final = 3600.0


class Rereading:
    """See the module. tenants: where their names are."""

    def __init__(
        self, documents: DocumentStore, tenants: PassageWordsStore, errors: UnexpectedErrors | None = None
    ) -> None:
        self._documents = documents
        self._tenants = tenants
        self._errors = errors or UnexpectedErrors()
        self._log: FilteringBoundLogger = structlog.get_logger("rereading")

    async def run(self) -> None:
        """Work until cancelled. If a round fails, searches use the earlier versions until the next round."""
        await keep_going(self._enqueue, _LOOK_SECONDS, self._log, "rereading", self._errors)

    async def _enqueue(self) -> None:
        """Enqueue a job for each document. Raises Unavailable."""
        begun = 0
        for tenant in await self._tenants.tenants():
            while some := await self._documents.read_outdated(tenant, _AT_ONCE):
                begun += some
                await asyncio.sleep(_BETWEEN_SECONDS)
        if begun:
            self._log.info("documents are read again by newer parsers or rules", documents=begun)
