"""The bench measures all that it names. Its figures are not checked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.instance import ROOT, plain_environment


@pytest.mark.soak
def test_all_sections_of_the_bench_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick"],
        cwd=ROOT,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
