"""An instance that a test started ends together with the test's process, even if that process is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from tests.instance import ROOT, eventually

STARTING = """
import sys, time
from pathlib import Path
from tests.instance import Instance
waiting = (sys.executable, "-c", "import time; time.sleep(600)")
print(Instance(Path(sys.argv[1]), 1, within=waiting).start().process.pid, flush=True)
time.sleep(600)
"""
"""A test process whose instance never becomes ready."""


def runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_killed_test_process_leaves_no_instance(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTING, str(tmp_path / "home")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as test:
        assert test.stdout is not None
        instance = psutil.Process(int(test.stdout.readline()))
        assert runs(instance)
        test.kill()
    try:
        eventually(lambda: not runs(instance), "an end of the instance")
    finally:
        if runs(instance):
            instance.kill()
