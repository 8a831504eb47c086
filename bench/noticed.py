"""`python -m bench.noticed`: how long after `NotifySubjectChanged` a changed row can be searched, once while nothing else waits and once behind uploads of the same tenant.

A real instance reads a SQLite database of people with three documents each, which are published together. Each measurement changes a row, calls, and searches until a word finds the new text.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from bench.figures import median, percentile
from bench.processes import leave_in_order
from responsa.knowledge.v1 import knowledge_service_pb2
from responsa_client.aio.client import AsyncResponsa
from tests.instance import instance_in

AIM_SECONDS: Final = 2.0
_PEOPLE: Final = 50
_POLL_SECONDS: Final = 0.02
_WAITING: Final = 400
"""The number of uploads that wait when the second half begins."""
_KIND: Final = """[documents.{kind}]
query = "people"
key = "{{{{ id }}}}"
subject = "{{{{ person }}}}"
text = "The {kind} of {{{{ person }}}} is {{{{ word }}}}, and this is the whole {kind}."
"""
_MAPPING: Final = """connection = "people"
collection = "people"
[queries.people]
sql = "SELECT id, person, word FROM people"
one_subject = "SELECT id, person, word FROM people WHERE person = :subject"
columns = { id = "integer", person = "text", word = "text" }
""" + "".join(_KIND.format(kind=kind) for kind in ("profile", "skill", "career"))


class Bench:
    """A source, and its database."""

    def __init__(self, client: AsyncResponsa, database: Path) -> None:
        self._client = client
        self._database = database
        self._changes = 0

    async def begin(self) -> None:
        """Make the source, and run it once."""
        with closing(sqlite3.connect(self._database)) as rows, rows:
            rows.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, person TEXT, word TEXT)")
            rows.executemany(
                "INSERT INTO people (person, word) VALUES (?, ?)",
                [(f"p{number}@example.org", f"first{number}") for number in range(_PEOPLE)],
            )
        await self._client.create_collection("people")
        await self._client.create_source("people", _MAPPING)
        async for state in self._client.watch_operation(await self._client.sync_source("people")):
            if state.operation.error.message:
                raise SystemExit(state.operation.error.message)

    async def load(self) -> None:
        """Upload documents, which wait to be indexed."""
        await self._client.create_collection("load")
        async with asyncio.TaskGroup() as group:
            for number in range(_WAITING):
                text = " ".join(f"The heron {number} stands in the harbour {line}." for line in range(20))
                group.create_task(
                    self._client.create_document(text, collection="load", source_key=f"{number}.md")
                )

    async def seconds(self) -> float:
        """Change a row, call, and return the seconds until all three documents have the new word."""
        self._changes += 1
        person, word = f"p{self._changes % _PEOPLE}@example.org", f"changed{self._changes}x"
        with closing(sqlite3.connect(self._database)) as rows, rows:
            rows.execute("UPDATE people SET word = ? WHERE person = ?", (word, person))
        began = time.monotonic()
        await self._client.notify_subject_changed(person, ["people"])
        while True:
            hits = await self._client.search(
                word, ["people"], mode=knowledge_service_pb2.SEARCH_MODE_TEXT, rerank=False
            )
            if sum(word in hit.passage.text for hit in hits) == 3:
                return time.monotonic() - began
            await asyncio.sleep(_POLL_SECONDS)


def _told(name: str, seconds: Sequence[float]) -> bool:
    """Print a line, and return whether all times are within the aim."""
    print(
        f"{name}: {len(seconds)} changes, p50 {median(seconds):.2f} s, p95 {percentile(seconds, 0.95):.2f} s, max {max(seconds):.2f} s (aim {AIM_SECONDS:.0f} s)",
        flush=True,
    )
    return max(seconds) <= AIM_SECONDS


async def _measured(url: str, key: str, database: Path, changes: int) -> bool:
    async with AsyncResponsa(url, key) as client:
        bench = Bench(client, database)
        await bench.begin()
        await bench.seconds()  # loads what is loaded only once
        alone = _told("alone", [await bench.seconds() for _ in range(changes)])
        await bench.load()
        behind = _told(f"behind {_WAITING} uploads", [await bench.seconds() for _ in range(changes)])
        return alone and behind


def main(given: Sequence[str] | None = None) -> int:
    """Measure and report. Returns 1 if a change takes longer than the aim."""
    parser = argparse.ArgumentParser(prog="python -m bench.noticed", description=__doc__)
    parser.add_argument("--changes", type=int, default=30, help="changes in each half")
    options = parser.parse_args(given)
    leave_in_order()
    with tempfile.TemporaryDirectory(prefix="rsp-") as folder:
        connections = Path(folder) / "connections"
        connections.mkdir()
        (connections / "people.toml").write_text(
            'kind = "sqlite"\nfile = "people.db"\ntenants = ["*"]\n', encoding="utf-8"
        )
        settings = {"RESPONSA_DOCS": "none", "RESPONSA_SOURCES__FOLDER": str(connections)}
        with instance_in(Path(folder), **settings) as instance:
            within = asyncio.run(
                _measured(instance.url, instance.key, connections / "people.db", options.changes)
            )
    return int(not within)


if __name__ == "__main__":
    sys.exit(main())
