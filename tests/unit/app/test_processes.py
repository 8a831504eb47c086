"""What `responsa up` starts on a machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from responsa_server.app.processes import Processes, processes
from responsa_server.app.settings import load
from responsa_server.system.machine import Machine, visible

GIB = 1 << 30


def planned(cpus: int, memory_gib: float, connections: int | None = None, **settings: Any) -> Processes:
    return processes(load(**settings), Machine(cpus, int(memory_gib * GIB)), connections=connections)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("RESPONSA_", "DATABASE_"))]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("cpus", "servers", "ingests", "threads", "ingesting", "envoy", "connections", "buffers"),
    [
        (1, 1, False, 1, 1, 1, 300, 128),
        (2, 1, False, 2, 1, 2, 300, 128),
        (3, 2, False, 1, 1, 2, 300, 256),
        (4, 2, True, 1, 2, 2, 300, 256),
        (8, 4, True, 1, 4, 2, 300, 512),
        (16, 9, True, 1, 8, 4, 389, 1152),
    ],
)
def test_the_processors_are_divided(
    cpus: int,
    servers: int,
    ingests: bool,
    threads: int,
    ingesting: int,
    envoy: int,
    connections: int,
    buffers: int,
) -> None:
    found = Processes(
        servers, ingests, threads, ingesting, 64 * 1024 // 10 // servers, envoy, connections, buffers
    )
    assert planned(cpus, 64) == found


def test_memory_and_connections_bound_the_servers() -> None:
    assert [planned(16, memory).servers for memory in (1, 2, 4, 6, 8)] == [1, 2, 6, 9, 9]
    assert [planned(4, memory).ingests for memory in (1, 2)] == [False, True]
    # PostgreSQL's own default is 100.
    assert [planned(16, 64, most).servers for most in (100, 200, 300)] == [1, 2, 6]
    assert planned(16, 64, 120, database_pool=2).servers == 2


def test_settings_come_first() -> None:
    given = {"servers": 3, "ingestion": {"own_process": True}, "retrieval": {"embedding_threads": 5}}
    found = planned(2, 1, 100, **given)
    assert str(found) == "3 servers and a process that ingests documents"
    assert (found.embedding_threads, found.ingesting_threads) == (5, 5)
    assert not planned(16, 64, ingestion={"own_process": False}).ingests


@pytest.mark.parametrize(
    ("line", "files", "cpus", "memory"),
    [
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/b/memory.max": "max"}, None, None),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000", "memory.max": "4096"}, 1, 4096),
        ("0::/", {"cpu.max": "50000 100000"}, 1, None),
        ("3:cpu,cpuacct:/a", {"cpu,cpuacct/cpu.cfs_quota_us": "100000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 1, None),
        ("3:cpu,cpuacct:/a", {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"}, None, None),
        ("4:memory:/a", {"memory/a/memory.limit_in_bytes": "4096"}, None, 4096),
    ],
)  # fmt: skip
def test_limits_of_control_groups_count(
    tmp_path: Path, line: str, files: dict[str, str], cpus: int | None, memory: int | None
) -> None:
    for name, text in {
        "proc/self/cgroup": line,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    all_of_it = visible(tmp_path / "no such folder")
    assert visible(tmp_path) == Machine(cpus or all_of_it.cpus, memory or all_of_it.memory_bytes)
    assert all_of_it.cpus == len(os.sched_getaffinity(0))
