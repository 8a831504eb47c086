"""Previews of hostile mappings take little of the server's memory, and nothing from other tenants."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import grpc
import psutil
import pytest

from responsa.admin.v1.admin_service_pb2 import PreviewSourceRequest
from tests.callers import Credential, Registry, Tenant
from tests.instance import PATIENCE, Instance, eventually
from tests.transports import Json, Ways, stub_of

MOST: Final = 100 << 20
NESTED: Final = f"'[' || replace(hex(zeroblob(8400)), '0', '{'[' * 30}{']' * 30},') || '0]'"


def mapping(cell: str, kind: str, cells_each: int = 1) -> str:
    """A mapping of rows with so many such cells."""
    names = [f"c{number}" for number in range(cells_each)]
    cells = ", ".join(f"{cell} AS {name}" for name in names)
    columns = "".join(f'{name} = "{kind}"\n' for name in names)
    documents = '[documents.d]\nquery = "q"\nkey = "k"\ntext = "t"\n'
    return (
        f'connection = "large"\ncollection = "rows"\n[queries.q]\nsql = """SELECT {cells} FROM '
        f'one"""\n[queries.q.columns]\n{columns}{documents}'
    )


QUICK: Final = mapping("1", "integer")
ENDLESS: Final = mapping(
    "(WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n)", "integer"
)


@pytest.fixture(scope="module")
def large(instance: Instance) -> Iterator[None]:
    """A connection of all tenants to a table with twelve rows."""
    folder = instance.home / "connections"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "large.db")) as connection, connection:
        connection.execute("CREATE TABLE one (id integer)")
        connection.executemany("INSERT INTO one VALUES (?)", [(number,) for number in range(12)])
    (folder / "large.toml").write_text('kind = "sqlite"\nfile = "large.db"\ntenants = ["*"]\nseconds = 60\n')
    yield
    shutil.rmtree(folder)


def memory(instance: Instance, name: str) -> int:
    """A figure of the memory of the server's process, in bytes."""
    pid = instance.processes()["server"].pid
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def able(ways: Ways, tenant: Tenant) -> Mapping[str, str]:
    """The headers of an administrator who has the collection of the mappings."""
    headers = tenant.headers(Credential.ADMIN)
    assert ways.call("KnowledgeService/CreateCollection", {"collectionId": "rows"}, headers).message
    return headers


def previewed(ways: Ways, headers: Mapping[str, str], text: str) -> Sequence[Json]:
    """The first row of a preview."""
    found = ways.call("AdminService/PreviewSource", {"mapping": text, "rows": 1}, headers).message
    return list[Json](found["rows"])


@pytest.mark.usefixtures("large")
def test_previews_of_a_tenant_leave_sessions_for_others(
    instance: Instance, registry: Registry, tenant: Tenant, ways: Ways
) -> None:
    other = registry.new_tenant()
    hostile, friendly = able(ways, tenant), able(ways, other)
    server = instance.processes()["server"]

    def sessions() -> int:
        found = 0
        for child in server.children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it has ended since
                found += "sqlite_process" in " ".join(child.cmdline())
        return found

    with grpc.insecure_channel(instance.target) as channel:
        preview = stub_of(channel, "AdminService").PreviewSource
        request = PreviewSourceRequest(mapping=ENDLESS)
        running = [
            preview.future(request, metadata=tuple(hostile.items()), timeout=PATIENCE) for _ in range(8)
        ]
        try:
            eventually(lambda: sessions() > 0, "a session of the hostile tenant")
            for _ in range(8):
                assert previewed(ways, friendly, QUICK)
            assert not any(one.done() for one in running)
        finally:
            for one in running:
                one.cancel()
    eventually(lambda: sessions() == 0, "the end of the sessions that nobody waits for")


@pytest.mark.usefixtures("large")
def test_a_preview_of_large_rows_takes_little_memory(instance: Instance, tenant: Tenant, ways: Ways) -> None:
    headers = able(ways, tenant)
    assert previewed(ways, headers, QUICK)
    server = instance.processes()["server"]
    request = PreviewSourceRequest(mapping=mapping(NESTED, "json", cells_each=4), rows=1)

    def taken() -> int:
        # It resets the peak.
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")
        before = memory(instance, "VmRSS")
        with grpc.insecure_channel(instance.target) as channel:
            preview = stub_of(channel, "AdminService").PreviewSource.future(
                request, metadata=tuple(headers.items()), timeout=PATIENCE
            )
            # Whether the sandbox can hold the nested lists, and in time, depends on the machine.
            if (refusal := preview.exception()) is None:
                assert preview.result().rows[0].row.keys() >= {"c0"}
            else:
                assert preview.code() is grpc.StatusCode.FAILED_PRECONDITION, refusal
        assert instance.processes()["server"] == server
        return memory(instance, "VmHWM") - before

    # Meanwhile, the server may do other work that takes memory.
    assert any(taken() <= MOST for _ in range(3))
