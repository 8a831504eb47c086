"""How other programs are started in confinement."""

from __future__ import annotations

import os
import resource
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

LAUNCHER: Final = Path(__file__).parents[1] / "tools" / "launcher.py"
# Each identity has another user, so that two programs can neither signal nor trace each other. The range is above those
# that systems and containers use.
_FIRST_USER: Final = 1_700_000_000
_USERS: Final = 100_000_000


def user_of(identity: str) -> int:
    """The user id of a program if the server runs as root."""
    return _FIRST_USER + zlib.crc32(identity.encode()) % _USERS


def launcher_of(
    identity: str, memory_bytes: int, file_bytes: int, cpu_seconds: int = resource.RLIM_INFINITY
) -> Sequence[str]:
    """What stands before the absolute path of a program and its arguments. memory_bytes: the largest address space.
    file_bytes: the largest file that it may write. cpu_seconds: of each of its processes; a program that serves for
    ever has no limit."""
    confined = (user_of(identity), memory_bytes, file_bytes, cpu_seconds, os.getpid())
    return [sys.executable, "-I", "-S", str(LAUNCHER), *map(str, confined)]
