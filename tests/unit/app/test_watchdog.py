"""What counts as standing still, and the end of a process whose log nobody reads."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys

import pytest

from responsa_server.app.watchdog import EXIT_STOOD_STILL
from responsa_server.system.stillness import Stillness, ThreadTimes, read_main_thread
from tests.instance import eventually
from tests.tied import tied

STANDS_STILL = """import asyncio, sys, time
from responsa_server.app.process import run
from responsa_server.app.watchdog import watch

async def main():
    with watch(0.6):
        time.sleep(600) if "--hang" in sys.argv else [... for _ in iter(int, 1)]

run(main())
"""


def test_a_thread_that_waits_for_a_core_does_not_stand_still() -> None:
    starved = Stillness(100.0, ThreadTimes(1.0, 0.0, runnable=True), 0.5)
    for look in range(1, 1000):
        # It gets a core for 5 ms of each half second; what it waits is counted when it gets one.
        reading = ThreadTimes(1.0 + look * 0.005, max(0.0, (look - 1) * 0.495), runnable=True)
        seconds, how = starved.after(0, 100.0 + look / 2, reading)
        assert (seconds, how) == (pytest.approx(look * 0.005), "spin")
    # Off the cores at last, and what it had waited is counted now.
    seconds, how = starved.after(0, 600.0, ThreadTimes(5.995, 494.5, runnable=False))
    assert (seconds, how) == (pytest.approx(4.995), "spin")


def test_a_spin_and_a_hang_are_told_apart_and_a_beat_ends_both() -> None:
    stillness = Stillness(100.0, ThreadTimes(1.0, 2.0, runnable=False), 0.5)
    assert stillness.after(1, 100.5, ThreadTimes(1.0, 2.0, runnable=False)) == (0.0, "spin")
    assert stillness.after(1, 101.0, ThreadTimes(1.0, 2.0, runnable=False)) == (pytest.approx(0.5), "hang")
    assert stillness.after(1, 101.3, ThreadTimes(1.1, 2.1, runnable=False)) == (pytest.approx(0.6), "hang")
    # An hour in which whoever looks was stopped is worth one look.
    assert stillness.after(1, 3701.3, ThreadTimes(1.1, 2.1, runnable=False)) == (pytest.approx(1.1), "hang")
    assert stillness.after(1, 3703.8, ThreadTimes(3.6, 2.1, runnable=True)) == (pytest.approx(2.6), "spin")
    assert stillness.after(2, 3704.3, ThreadTimes(4.1, 2.1, runnable=True)) == (0.0, "spin")


def test_what_the_kernel_does_not_say_is_time_off_the_cores() -> None:
    assert read_main_thread(2**22 + 1) == ThreadTimes(0.0, 0.0, runnable=False)


def test_a_process_ends_although_nobody_reads_its_log() -> None:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.write(writing, b"\n" * fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ))
    try:
        done = subprocess.run(tied(sys.executable, "-c", STANDS_STILL, "--hang"), stderr=writing, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    assert done.returncode == EXIT_STOOD_STILL


def test_a_process_says_how_it_stood_still() -> None:
    command = tied(sys.executable, "-c", STANDS_STILL, "--spin")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_STOOD_STILL
    # tests/system/test_outage.py shows a hang of a server.
    assert re.search(r"The event loop stood still for \d+ s \(spin\)", done.stderr)


def test_a_process_whose_thread_sleeps_or_runs_is_read_so() -> None:
    sleeps = subprocess.Popen(tied(sys.executable, "-c", "import time; time.sleep(600)"))
    spins = subprocess.Popen(tied(sys.executable, "-c", "for _ in iter(int, 1): pass"))
    with sleeps, spins:
        try:
            eventually(lambda: read_main_thread(spins.pid).ran > 0.2, "it runs")
            assert read_main_thread(spins.pid).runnable
            eventually(lambda: not read_main_thread(sleeps.pid).runnable, "it sleeps")
        finally:
            sleeps.kill()
            spins.kill()
