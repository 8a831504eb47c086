"""The processors and the memory that this process may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

NO_ROOM: Final = 16 << 20
"""A disk with fewer free bytes than this is full."""


@dataclass(frozen=True, slots=True)
class Machine:
    """cpus: the number of processors, at least 1. memory_bytes: the size of the memory."""

    cpus: int
    memory_bytes: int


def visible(root: Path = Path("/")) -> Machine:
    """What the affinity of this process and its control groups allow of the machine. A share of processors is rounded down.

    root: the folder with `proc` and `sys`.
    """
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    memory = psutil.virtual_memory().total
    for group in _groups(root):
        # Version 2 of control groups has one file with the time and its period, version 1 has two files.
        share = _numbers(group / "cpu.max") or [
            *_numbers(group / "cpu.cfs_quota_us"),
            *_numbers(group / "cpu.cfs_period_us"),
        ]
        if len(share) == 2:
            cpus = min(cpus, share[0] // share[1])
        memory = min([memory, *_numbers(group / "memory.max"), *_numbers(group / "memory.limit_in_bytes")])
    return Machine(max(1, cpus), memory)


def _groups(root: Path) -> Generator[Path]:
    """The folders of this process's control groups, and of the groups that contain them. In a container, the first ones may be missing."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        mount = root / "sys/fs/cgroup" / controllers
        group = mount / path.lstrip("/")
        yield from (group, *(parent for parent in group.parents if parent.is_relative_to(mount)))


def _numbers(file: Path) -> list[int]:
    """The numbers in a file of a control group; none if the file is missing or sets no limit."""
    try:
        words = file.read_text().split()
    except OSError:
        return []
    return [int(word) for word in words] if all(word.isdecimal() for word in words) else []


def free_space(path: Path) -> int:
    """The number of free bytes for this user on the disk of `path`; 2**62 if unknown. If `path` does not exist, its nearest
    existing parent counts.
    """
    for folder in (path, *path.parents):
        try:
            stats = os.statvfs(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            break
        return stats.f_bavail * stats.f_frsize
    return 1 << 62
