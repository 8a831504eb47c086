"""Runs all stages of `make test`, with the cheap checks first. Stops at the first stage that fails, and reports this stage.

Usage: python tools/run_tests.py [--static]   (--static runs only formatting, lint, types and imports)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PYTHON_SOURCES = ("server", "clients/python", "tests", "tools", "bench")


def stage(name: str, command: Sequence[str | Path]) -> None:
    """Runs one stage and shows its output unchanged."""
    print(f"── {name}", flush=True)
    began = time.monotonic()
    done = subprocess.run([str(part) for part in command], cwd=ROOT, check=False)
    if done.returncode != 0:
        sys.exit(f"── {name}: failed with exit code {done.returncode}")
    print(f"── {name}: {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    """Runs the stages in order."""
    static_only = "--static" in sys.argv[1:]
    if not static_only and not any(shutil.which(name) for name in BROWSERS):
        sys.exit(
            "Chromium is missing, and the tests of the page need it: install it (Debian: apt-get install chromium)"
        )
    stage("format", [BIN / "ruff", "format", "--check", "--quiet", *PYTHON_SOURCES])
    stage("lint", [BIN / "ruff", "check", "--quiet", *PYTHON_SOURCES])
    stage("imports", [BIN / "lint-imports", "--no-cache"])
    stage("types", ["node_modules/.bin/pyright", "--warnings"])
    stage(
        "page: types and unit tests", ["npm", "run", "--silent", "test:all", "--workspace", "@responsa/web"]
    )
    if not static_only:
        stage(
            "tests",
            [
                BIN / "python",
                "-m",
                "pytest",
                "--cov",
                "--cov-report=term:skip-covered",
                "--cov-fail-under=85",
                "-q",
                # Most tests wait for processes, so four tests at a time keep two cores busy. tests/groups.py defines the groups of tests and their order.
                "-n",
                "4",
                "--dist",
                "loadfile",
                "--durations=25",
            ],
        )


if __name__ == "__main__":
    main()
