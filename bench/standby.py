"""Measures what a standby takes from the primary: whose CPU time a search of a documentation of 705 kB takes. No question comes twice."""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg
from uuid_utils.compat import uuid7

from bench.documentation import pages, questions
from bench.report import Line
from responsa_server.domain.people import Principal, Role
from responsa_server.embedded import EmbeddedPostgres, Layout, purge
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.migrate import migrate
from tests.contract.shelf import Shelf, made, retriever_of
from tests.standby import standby_of

TITLE: Final = "A search of a documentation of 705 kB, without and with a standby"
_PASSAGE: Final = 1500
_MICROSECONDS: Final = 1_000_000


class _Vectors:
    """An embedding model that costs nothing: what PostgreSQL does with vectors does not depend on what they mean."""

    name, dimensions, max_tokens, languages, texts_a_call = "bench", 384, 256, None, 64

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]

    def embed_sync(self, texts: Sequence[str]) -> Any:
        seeds = (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts)
        found = np.stack([np.random.default_rng(seed).normal(size=384) for seed in seeds]).astype(np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    async def embed(self, texts: Sequence[str]) -> Any:
        return self.embed_sync(texts)


def measure(*, quick: bool, say: Callable[[str], None]) -> list[Line]:
    """Measures searches in this process, one after the other, alternately with both."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rsb-")))
        layout = Layout.of(folder / "primary").prepare()
        stack.callback(purge, layout)
        primary = EmbeddedPostgres(layout)
        primary.start()
        stack.callback(primary.stop)
        asyncio.run(migrate(primary.dsn("owner")))
        say("standby: storing the documentation")
        user = asyncio.run(_fill(primary))
        say("standby: a base backup")
        standby = stack.enter_context(standby_of(layout, folder / "standby"))
        say("standby: searches")
        return asyncio.run(_measured(primary, standby, user, rounds=1 if quick else 6, searches=40))


async def _fill(primary: EmbeddedPostgres) -> Principal:
    user = Principal("acme", uuid7(), Role.USER, "api_key")
    with psycopg.connect(primary.dsn("superuser")) as connection:
        connection.execute("INSERT INTO responsa.tenant (id, display_name) VALUES ('acme', 'Acme')")
        connection.execute(
            "INSERT INTO responsa.app_user (id, tenant_id, display_name, role) VALUES (%s, 'acme', 'x', 'user')",
            (user.user_id,),
        )
    model: Any = _Vectors()
    database = Database(primary.dsn("app"), primary.dsn("log"), size=2, ready=0)
    await database.open()
    shelf = Shelf(database, model)
    await shelf.open()
    for name, text in pages().items():
        document, parts = uuid7(), _parts(text)
        new = [
            made(model, part, document=document, title=name, ordinal=place)
            for place, part in enumerate(parts)
        ]
        async with database.tenant("acme") as connection:
            await shelf.table.write(connection, "acme", new)
        await shelf.publish(document, 1)
    await database.close()
    with psycopg.connect(primary.dsn("superuser"), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return user


def _parts(text: str) -> list[str]:
    parts = [""]
    for paragraph in re.split(r"\n{2,}", text):
        if len(parts[-1]) > _PASSAGE:
            parts.append("")
        parts[-1] += f"{paragraph}\n\n"
    return [part for part in parts if part.strip()]


async def _measured(
    primary: EmbeddedPostgres, standby: EmbeddedPostgres, user: Principal, *, rounds: int, searches: int
) -> list[Line]:
    fresh = questions(1)
    model: Any = _Vectors()
    times: dict[tuple[str, str], list[float]] = {}
    for number in range(1 + rounds):
        for side, url in (("without", ""), ("with", _marked(standby.dsn("app")))):
            database = Database(
                _marked(primary.dsn("app")), primary.dsn("log"), size=2, ready=0, standby_url=url
            )
            await database.open()
            retriever = retriever_of(database, model)
            for count in (8, searches):  # the first searches make connections and plans
                servers = (primary, standby)
                before, began = [_used(server) for server in servers], time.process_time()
                for _ in range(count):
                    await retriever.search(user, [next(fresh)])
                used = [_used(server) - then for server, then in zip(servers, before, strict=True)]
            used.append(time.process_time() - began)
            await database.close()
            for part, seconds in zip(("the primary", "the standby", "the server"), used, strict=True):
                if number:
                    times.setdefault((side, part), []).append(seconds / searches * _MICROSECONDS)
    return [
        Line.alone(TITLE, f"{side} a standby: CPU of {part}", "µs", values, measured=rounds * searches)
        for (side, part), values in times.items()
    ]


def _marked(url: str) -> str:
    return f"{url}&application_name=bench"


def _used(server: EmbeddedPostgres) -> float:
    """CPU seconds of the sessions that search."""
    with psycopg.connect(server.dsn("superuser"), autocommit=True) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'bench'")
        return sum(
            int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
            for (pid,) in rows
        )
