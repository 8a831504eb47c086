"""A database whose connections are lost at critical moments."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from psycopg.pq.abc import PGresult

from responsa_server.domain.people import Reader
from responsa_server.stores.postgres.database import Connection, Database, Statement, unavailable
from responsa_server.stores.postgres.wire import Bound

Pools = TypeVar("Pools", bound=Database)


@asynccontextmanager
async def opened(pools: Pools) -> AsyncGenerator[Pools]:
    """These pools, which are open during the block."""
    await pools.open()
    try:
        yield pools
    finally:
        await pools.close()


class CutDatabase(Database):
    """Reports a lost connection after a successful COMMIT, so that the caller does not know the outcome of the COMMIT.
    cut: the number of commits whose success is hidden in this way. skip: the number of commits before them whose success
    is visible.
    """

    cut = 0
    skip = 0

    @asynccontextmanager
    async def log(self) -> AsyncGenerator[Connection]:
        async with super().log() as connection:
            yield connection
        self._maybe_cut()

    @asynccontextmanager
    async def log_statements(self) -> AsyncGenerator[Connection]:
        async with super().log_statements() as connection:
            yield connection
        self._maybe_cut()

    @asynccontextmanager
    async def writer(self) -> AsyncGenerator[Connection]:
        async with super().writer() as connection:
            yield connection
        self._maybe_cut()

    @asynccontextmanager
    async def reading(self, reader: Reader) -> AsyncGenerator[Connection]:
        async with super().reading(reader) as connection:
            yield connection
        self._maybe_cut()

    async def together(
        self, reader: Reader | str, statements: Sequence[Statement]
    ) -> Sequence[Sequence[dict[str, Any]]]:
        rows = await super().together(reader, statements)
        self._maybe_cut()
        return rows

    async def turns(
        self, parts: Sequence[tuple[Reader | str, Sequence[Bound]]], *, patient: bool = False
    ) -> Sequence[Sequence[PGresult]]:
        results = await super().turns(parts, patient=patient)
        self._maybe_cut()
        return results

    def _maybe_cut(self) -> None:
        if self.cut and self.skip:
            self.skip -= 1
        elif self.cut:
            self.cut -= 1
            raise unavailable()
