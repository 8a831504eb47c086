"""What counts as standing still, and the end of a process whose log nobody reads."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

import pytest

from responsa_server.app.watchdog import EXIT_STOOD_STILL, Stillness
from tests.tied import tied

STANDS_STILL = """import asyncio, time
from responsa_server.app.process import run
from responsa_server.app.watchdog import watched

async def main():
    with watched(0.6):
        time.sleep(600)

run(main())
"""


def test_only_time_that_the_process_had_counts() -> None:
    stillness = Stillness(now=100.0)
    assert stillness.after(1, 100.5) == 0.0
    assert stillness.after(1, 101.0) == pytest.approx(0.5)
    assert stillness.after(1, 101.3) == pytest.approx(0.8)
    # An hour in which the process was stopped is worth one look.
    assert stillness.after(1, 3701.3) == pytest.approx(1.3)
    assert stillness.after(2, 3701.8) == 0.0
    assert stillness.after(2, 3702.0) == pytest.approx(0.2)


def test_a_process_ends_although_nobody_reads_its_log() -> None:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.write(writing, b"\n" * fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ))
    try:
        done = subprocess.run(tied(sys.executable, "-c", STANDS_STILL), stderr=writing, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    assert done.returncode == EXIT_STOOD_STILL
