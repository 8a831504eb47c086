"""What tests of the parsers' sandbox share."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest

from responsa_formats.containers import MIB
from responsa_formats.rejections import Cause, Rejected
from responsa_formats.sandbox.computation import ParseLimits
from responsa_formats.sandbox.confinement import capabilities

HERE = Path(__file__).resolve().parent
LIMITS = ParseLimits(memory_bytes=256 * MIB, cpu_seconds=1, wall_seconds=10, result_bytes=8 * MIB)

needs_seccomp = pytest.mark.skipif(not capabilities().seccomp, reason="this kernel has no seccomp")
needs_landlock = pytest.mark.skipif(not capabilities().landlock_abi, reason="this kernel has no Landlock")


def zygotes() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if any("sandbox.zygote" in part for part in child.cmdline())
    ]


@contextlib.contextmanager
def rejecting(*reasons: Cause, match: str | None = None) -> Generator[pytest.ExceptionInfo[Rejected]]:
    """Check that the block raises Rejected for one of these reasons."""
    with pytest.raises(Rejected, match=match) as caught:
        yield caught
    assert caught.value.reason in reasons
