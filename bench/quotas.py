"""`python -m bench.quotas`: the CPU time that quotas add to the accept and the finish of a turn, on a real PostgreSQL.

Each figure is the time of this process and of PostgreSQL together, for one accept and one finish of a turn, at one turn at a time and at 16. The kinds of turns are measured
alternately. With `--before PATH`, the same turns without a model are also measured with the code in another working copy, alternately with this code.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil
from uuid_utils.compat import uuid7

from responsa_server.domain.events import Usage
from responsa_server.domain.people import Principal, Role, User
from responsa_server.domain.turns import (
    Claim,
    Conclusion,
    Ending,
    LogRow,
    NewTurn,
    OpenTurn,
    Question,
    TurnState,
)
from responsa_server.embedded import EmbeddedPostgres, Layout, purge
from responsa_server.embedded.postgres import postgres_processes
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.migrate import migrate
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.people import people_of
from tests.plain_codec import PlainCodec

ROUNDS: Final = 6
TURNS: Final = 300
AT_ONCE: Final = (1, 16)
PLAIN, FREE, LIMITED = "no model", "a model, no quota", "a model and a quota"


class Bench:
    """The store, and users who ask. users: as many as turns run at once."""

    def __init__(self, layout: Layout, database: Database, users: list[User]) -> None:
        self._database = database
        self._users = [Principal("acme", one.id, Role.USER, "api_key") for one in users]
        self._layout = layout
        self._stores = {PLAIN: PostgresTurnStore(database, PlainCodec())}
        self._demand: object = None

    @property
    def kinds(self) -> list[str]:
        """The kinds of turns."""
        return list(self._stores)

    def with_quotas(self) -> None:
        """Add the kinds of turns that a working copy without quotas does not have."""
        from decimal import Decimal

        from responsa_server.domain.quotas import Demand, Quota, QuotaRules

        self._demand = Demand(1000, 0, Decimal(1), 20)
        rules = QuotaRules({Role.USER: Quota(tokens_per_day=10**12, cost_micros_per_month=10**12)})
        self._stores[FREE] = self._stores[PLAIN]
        self._stores[LIMITED] = PostgresTurnStore(self._database, PlainCodec(), rules=rules)

    async def measure(self, kind: str, at_once: int, turns: int = TURNS) -> float:
        """The milliseconds of CPU for each turn."""
        begin = self._cpu()
        await asyncio.gather(*(self._ask(kind, self._users[one], turns // at_once) for one in range(at_once)))
        return (self._cpu() - begin) / (turns // at_once * at_once) * 1000

    async def _ask(self, kind: str, who: Principal, turns: int) -> None:
        store = self._stores[kind]
        used = Usage(5) if kind == PLAIN else Usage(5, 300, 100, 700)
        for _ in range(turns):
            new = NewTurn(
                uuid7(),
                uuid7(),
                Question("How long?"),
                None,
                "agents/x/versions/1",
                uuid7(),
                60.0,
                b"x",
                1000,
                8,
            )
            claim = Claim(new.id, "acme", 1, 60.0)
            if kind != PLAIN:
                new = replace(new, demand=self._demand)
            accepted = await store.accept(who, new, _never)
            if kind == LIMITED:
                claim = replace(claim, grant=accepted.grant)
            await store.finish(
                claim, [LogRow(2, 2, False, b"end")], Conclusion(TurnState.FAILED, b"end", used)
            )

    def _cpu(self) -> float:
        total = sum(os.times()[:2])
        for one in postgres_processes(self._layout):
            try:
                times = one.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total


def _never(turn: OpenTurn) -> Ending:
    raise AssertionError(f"{turn} is interrupted")


async def serve(layout: Layout, postgres: EmbeddedPostgres, *, quotas: bool) -> None:
    """Measure what standard input asks for, one line each: a kind and a number of turns at once."""
    await migrate(postgres.dsn("owner"))
    database = Database(postgres.dsn("app"), postgres.dsn("log"), size=10)
    await database.open()
    try:
        people = people_of(database)
        await people.identity.create_tenant("acme", "Acme")
        users = [
            await people.identity.create_user("acme", f"u{place}", f"u{place}@example.org", Role.USER)
            for place in range(max(AT_ONCE))
        ]
        store = PostgresTurnStore(database, PlainCodec())
        await store.make_partitions(14)
        bench = Bench(layout, database, users)
        if quotas:
            bench.with_quotas()
        for kind in bench.kinds:
            await bench.measure(kind, 4, 100)
        print("ready", flush=True)
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            kind, _, number = line.rpartition("|")
            print(await bench.measure(kind, int(number)), flush=True)
    finally:
        await database.close()


class Side:
    """A process with its own database, which measures with the code of one working copy."""

    def __init__(self, folder: Path, *, quotas: bool) -> None:
        paths = os.pathsep.join(
            str(folder / one) for one in ("", "server", "clients/python", "generated/python")
        )
        arguments = [sys.executable, "-m", "bench.quotas", "--side", *(["--quotas"] if quotas else [])]
        self._process = subprocess.Popen(
            arguments,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"

    def ask(self, kind: str, at_once: int) -> float:
        """The milliseconds of CPU for each turn."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{kind}|{at_once}\n")
        self._process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def compare(before: Path | None) -> None:
    """Print the medians, and the ratios of each round."""
    here = Side(Path.cwd(), quotas=True)
    there = None if before is None else Side(before, quotas=False)
    try:
        for at_once in AT_ONCE:
            found: dict[str, list[float]] = {}
            for _ in range(ROUNDS):
                if there is not None:
                    found.setdefault("before", []).append(there.ask(PLAIN, at_once))
                for kind in (PLAIN, FREE, LIMITED):
                    found.setdefault(kind, []).append(here.ask(kind, at_once))
            base = found.get("before", found[PLAIN])
            for kind, values in found.items():
                ratio = statistics.median(one / other for one, other in zip(values, base, strict=True))
                print(f"{at_once} at once, {kind}: {statistics.median(values):.2f} ms ({ratio:.3f})")
    finally:
        here.close()
        if there is not None:
            there.close()


def main() -> None:
    """Measure on a throw-away database."""
    parser = argparse.ArgumentParser(prog="python -m bench.quotas", description=__doc__)
    parser.add_argument("--before", type=Path, help="a working copy without quotas, for comparison")
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--quotas", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.side:
        compare(given.before)
        return
    with tempfile.TemporaryDirectory(prefix="rsp-quotas-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        layout = Layout.of(folder / "home").prepare()
        postgres = EmbeddedPostgres(layout)
        postgres.start()
        try:
            asyncio.run(serve(layout, postgres, quotas=given.quotas))
        finally:
            postgres.stop()
            purge(layout)


if __name__ == "__main__":
    main()
