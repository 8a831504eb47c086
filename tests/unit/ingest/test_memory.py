"""Freed memory goes back to the operating system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# The last block keeps the C library from returning the others by itself.
PROGRAM = """
import asyncio, psutil
from responsa_server.ingest.memory import FreeMemory

def resident():
    return psutil.Process().memory_info().rss >> 20

async def main():
    free, before = FreeMemory(), resident()
    blocks = [bytes(60_000) for _ in range(2_000)]
    kept = blocks.pop()
    del blocks
    assert resident() - before > 60, "the C library returns it by itself"
    free.give_back_soon()
    free.give_back_soon()
    while resident() - before > 20:
        await asyncio.sleep(0.05)
    free.close()

asyncio.run(asyncio.wait_for(main(), 60))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries return memory by themselves")
def test_memory_between_blocks_that_are_in_use_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
