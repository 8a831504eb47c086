"""`python -m bench.sync`: a source with many rows, compared with the upload of the same number of like texts, and how much memory a run needs beyond what the server needs when idle.

A real instance reads another database of the PostgreSQL that belongs to it. Both sides are measured alternately, each until all its documents are searchable; ratio is the sync's documents a
second divided by those of the uploads. By default, texts are short, because the embedding of long ones would hide everything else, and differ, because the vectors of a known text are not
computed again. With `--provider`, another process makes the vectors, which are most of the work and the same on both sides. ROWS sets the number of rows of each run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from bench.embedding import embedding_server
from bench.figures import Comparison
from bench.interleaved import interleaved
from bench.memory_ingest import Peak
from bench.processes import leave_in_order
from responsa_client.aio.client import AsyncResponsa
from responsa_server.embedded import EmbeddedPostgres, Layout
from tests.instance import Instance, instance_in

AIM_RATIO: Final = 0.95
AIM_MB: Final = 150
_AT_ONCE: Final = 16
_POLL_SECONDS: Final = 0.1
_WORDS: Final = ("heron", "harbour", "keeper", "lamp", "market", "bridge", "river", "stone", "boat", "tide")
_MAPPING: Final = """connection = "rows"
collection = "{name}"
[queries.notes]
sql = "SELECT id, person, body FROM {name}"
columns = {{ id = "integer", person = "text", body = "text" }}
[documents.note]
query = "notes"
key = "{{{{ id }}}}"
text = "{{{{ body }}}}"
"""
_BY_PERSON: Final = 'subject = "{{ person }}"\n'


class Bench:
    """An instance with a database that sources read."""

    def __init__(
        self,
        instance: Instance,
        rows: int,
        of_a_person: int,
        until: int,
        sentences: int = 1,
        minutes: float = 0,
    ) -> None:
        """of_a_person: the number of rows that are about the same person, and are published together; 0 if no row is about a person. until, minutes: the number of documents that a run has
        made when it is cancelled, and the time after which it is cancelled; 0 if it runs to its end. sentences: the number of sentences of a text; all but the first differ in length.
        """
        self._instance = instance
        self._rows = rows
        self._of_a_person = of_a_person
        self._until = until or sys.maxsize
        self._minutes = minutes
        self.made = 0
        """The number of documents of the newest run."""
        self._sentences = sentences
        layout = Layout.of(instance.home)
        self._dsn = EmbeddedPostgres(layout).dsn("superuser")
        self._source = make_conninfo(self._dsn, dbname="rows")
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute("CREATE DATABASE rows")
            connection.execute("CREATE USER rows_reader PASSWORD 'good'")
        folder = Path(instance.settings["RESPONSA_SOURCES__FOLDER"])
        (folder / "password").write_text("good", encoding="utf-8")
        (folder / "rows.toml").write_text(
            f'kind = "postgresql"\nhost = "{layout.postgres_run}"\ndatabase = "rows"\nuser = "rows_reader"\npassword = {{ file = "password" }}\ntls = "off"\n'
            f'tenants = ["*"]\nseconds = 600\nrows = {max(rows, 100_000)}\n',
            encoding="utf-8",
        )

    def _texts(self, seed: str) -> list[str]:
        dice = random.Random(seed)
        return [
            " ".join(
                f"{' '.join(dice.choices(_WORDS, k=dice.randint(1, 20) if sentence else 6)).capitalize()} {seed} {number}{f' {sentence}' if sentence else ''}."
                for sentence in range(self._sentences)
            )
            for number in range(self._rows)
        ]

    def warm(self) -> None:
        """Make a few documents on both ways."""
        rows, self._rows, minutes, self._minutes = self._rows, 50, self._minutes, 0
        self.synced(-1)
        self.uploaded(-1)
        self._rows, self._minutes = rows, minutes

    def synced(self, number: int) -> float:
        """Documents a second of a run."""
        name = f"synced{number + 1}"
        with psycopg.connect(self._source) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, person text, body text)".encode())
            with cursor.copy(f"COPY {name} FROM STDIN".encode()) as copy:
                for id_, text in enumerate(self._texts(f"s{number}")):
                    copy.write_row((id_, f"p{id_ // max(self._of_a_person, 1)}", text))
            cursor.execute(f"GRANT SELECT ON {name} TO rows_reader".encode())
        return asyncio.run(self._sync(name))

    async def _sync(self, name: str) -> float:
        async with AsyncResponsa(self._instance.url, self._instance.key) as client:
            await client.create_collection(name)
            mapping = _MAPPING.format(name=name) + (_BY_PERSON if self._of_a_person else "")
            await client.create_source(name, mapping)
            began = time.monotonic()
            run = await client.sync_source(name)
            if self._minutes or self._until < self._rows:
                self.made = await asyncio.to_thread(self._until_made, name, began)
                await client.cancel_operation(run.name)
                seconds = time.monotonic() - began
                print(
                    f"{name}: {self.made} documents searchable after {seconds:.0f} s, {self.made / seconds:.1f} documents/s",
                    flush=True,
                )
                return self.made / seconds
            async for state in client.watch_operation(run):
                if state.operation.done and state.operation.error.message:
                    raise SystemExit(f"the run ended: {state.operation.error.message}")
            return self._rate(name, began)

    def uploaded(self, number: int) -> float:
        """Documents a second of uploads."""
        return asyncio.run(self._upload(f"uploaded{number + 1}", self._texts(f"u{number}")))

    async def _upload(self, name: str, texts: Sequence[str]) -> float:
        async with AsyncResponsa(self._instance.url, self._instance.key) as client:
            await client.create_collection(name)
            left = iter(enumerate(texts))

            async def feed() -> None:
                for id_, text in left:
                    await client.create_document(text, collection=name, source_key=f"{id_}.md")

            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(feed())
            await asyncio.to_thread(self._until_idle)
            return self._rate(name, began)

    def _until_made(self, name: str, began: float) -> int:
        """Wait until the run has made enough documents, or its time is over. Returns how many are searchable."""
        query = """SELECT count(*) FROM responsa.document AS d JOIN responsa.collection AS c ON c.tenant_id = d.tenant_id AND c.id = d.collection_id
            WHERE d.version > 0 AND c.slug = %s"""
        most = self._minutes * 60 or float("inf")
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while True:
                made = connection.execute(query, (name,)).fetchall()[0][0]
                if made >= min(self._until, self._rows) or time.monotonic() - began >= most:
                    return made
                time.sleep(1)

    def _until_idle(self) -> None:
        query = "SELECT 1 FROM responsa.operation WHERE kind = 'ingest' AND stage <> 'done' LIMIT 1"
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while connection.execute(query).fetchone():
                time.sleep(_POLL_SECONDS)

    def _rate(self, name: str, began: float) -> float:
        seconds = time.monotonic() - began
        with psycopg.connect(self._dsn) as connection:
            row = connection.execute(
                "SELECT count(*) FROM responsa.document WHERE version > 0 AND collection_id IN (SELECT id FROM responsa.collection WHERE coalesce(slug, id) = %s)",
                (name,),
            ).fetchone()
        if row != (self._rows,):
            raise SystemExit(f"{name} has {row} documents, not {self._rows}")
        self.made = self._rows
        print(f"{name}: {self._rows / seconds:.1f} documents/s", flush=True)
        return self._rows / seconds


def _cpu(instance: Instance) -> float:
    """The CPU time of all processes of the instance so far, in seconds, with that of processes which have ended."""
    total = 0.0
    for one in instance.processes()["guard"].children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def main(given: Sequence[str] | None = None) -> int:
    """Measure and report. Returns 1 if a figure misses its aim."""
    parser = argparse.ArgumentParser(prog="python -m bench.sync", description=__doc__)
    parser.add_argument("--rows", type=int, default=int(os.environ.get("ROWS") or 10_000), help="rows a run")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; 0 measures one run and no upload")
    parser.add_argument("--of-a-person", type=int, default=0, help="rows about the same person")
    parser.add_argument(
        "--until", type=int, default=0, help="cancel the run after so many documents; with --rounds 0"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=0,
        help="cancel the run after this number of minutes; with --rounds 0",
    )
    parser.add_argument("--sentences", type=int, default=1, help="sentences a text")
    parser.add_argument(
        "--provider",
        action="store_true",
        help="take the vectors from a local server that speaks a provider's protocol, not from the model in the server",
    )
    options = parser.parse_args(given)
    leave_in_order()
    with tempfile.TemporaryDirectory(prefix="rsp-") as folder, ExitStack() as stack:
        connections = Path(folder) / "connections"
        connections.mkdir()
        settings = {"RESPONSA_DOCS": "none", "RESPONSA_SOURCES__FOLDER": str(connections)}
        if options.provider:
            settings["RESPONSA_MODELS__SERVERS__LAB__URL"] = stack.enter_context(embedding_server())
            settings["RESPONSA_MODELS__EMBEDDINGS"] = '{"lab:short": {"max_tokens": 8192}}'
            settings["RESPONSA_RETRIEVAL__EMBEDDING"] = "lab:short"
        instance = stack.enter_context(instance_in(Path(folder), **settings))
        bench = Bench(
            instance, options.rows, options.of_a_person, options.until, options.sentences, options.minutes
        )
        # The first documents load what is loaded only once.
        bench.warm()
        server = instance.processes()["server"]
        idle = [one.memory_info().rss for one in (server, *server.children(recursive=True))]
        peaks = list[Peak]()
        seconds = [0.0, 0.0]

        def counted(side: int, measure: Callable[[], float]) -> float:
            before = _cpu(instance)
            rate = measure()
            seconds[side] += _cpu(instance) - before
            return rate

        rates = list[Sequence[float]]()

        def synced(number: int) -> float:
            with ExitStack() as measuring:
                # The parser's processes read documents apart from the server.
                for one in (server, *server.children(recursive=True)):
                    peaks.append(Peak(one))
                    measuring.enter_context(peaks[-1].measured())
                return counted(0, lambda: bench.synced(number))

        def uploaded(number: int) -> float:
            return counted(1, lambda: bench.uploaded(number))

        if options.rounds:
            rates = list(interleaved(options.rounds, synced, uploaded))
        else:
            synced(0)
    over = max(one.bytes for one in peaks if one.process == server) / 1e6 - idle[0] / 1e6
    parsers = max((one.bytes for one in peaks if one.process != server), default=0) / 1e6
    print(
        f"{options.rows} rows: server idle {idle[0] / 1e6:.0f} MB, over idle {over:.0f} MB (aim {AIM_MB}); its largest helper {parsers:.0f} MB, idle {max(idle[1:], default=0) / 1e6:.0f} MB"
    )
    missed = over > AIM_MB
    if not rates:
        print(f"CPU time per document, all processes together: {1000 * seconds[0] / bench.made:.1f} ms")
    if rates:
        found = Comparison.of(*rates)
        print(
            f"ratio {found.ratio.median:.2f} ({found.ratio.low:.2f} to {found.ratio.high:.2f}; aim {AIM_RATIO}): "
            f"sync {found.ours.median:.1f}, uploads {found.peer.median:.1f} documents/s"
        )
        documents = options.rounds * options.rows
        print(
            f"CPU time per document, all processes together: sync {1000 * seconds[0] / documents:.1f} ms, uploads {1000 * seconds[1] / documents:.1f} ms"
        )
        missed = missed or found.ratio.median < AIM_RATIO
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
