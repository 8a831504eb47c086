"""What a parsing process may use, and the rlimits (setrlimit(2)) that hold it there."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """Bounds for one document.

    input_bytes: the file; memory_bytes: address space on top of what the fresh process has; cpu_seconds: processor
    time; wall_seconds: from the start of the process to its last byte of result; result_bytes: the encoded result.
    """

    input_bytes: int = 64 * MIB
    memory_bytes: int = 512 * MIB
    cpu_seconds: int = 20
    wall_seconds: float = 30.0
    result_bytes: int = 192 * MIB

    def __post_init__(self) -> None:
        if (
            min(self.input_bytes, self.memory_bytes, self.cpu_seconds, self.result_bytes) <= 0
            or self.wall_seconds <= 0
        ):
            raise ValueError("every parse limit must be positive")


def apply_rlimits(memory_bytes: int, cpu_seconds: int) -> None:
    """Limit this process for good: soft and hard alike.

    A processor limit reached ends the process with SIGXCPU; memory beyond the limit is a MemoryError or an abort.
    RLIMIT_NPROC does not bind root: there seccomp alone stops forks.
    """
    address_space = _virtual_bytes() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    # The hard limit a second later kills what ignores SIGXCPU.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    for limit, value in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bound, bound))


def _virtual_bytes() -> int:
    """This process's address space; proc(5), statm, in pages."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
