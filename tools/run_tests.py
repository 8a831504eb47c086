"""Runs all stages of `make test`, with the cheap checks first. Stops when a stage fails, and reports it.

Usage: python tools/run_tests.py [--static | --coverage]

--static runs only formatting, lint, types and imports. --coverage also measures the coverage of the tests, and fails below 85 %. Measuring more
than doubles the CPU time of Python code, so `make test` does not measure.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COVERAGE = ("--cov", "--cov-report=term:skip-covered", "--cov-fail-under=85")
PYTHON_SOURCES = ("server", "clients/python", "tests", "tools", "bench")


# Hundreds of processes import our modules. If the machine's environment forbids Python to keep compiled modules, each process compiles them again.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def stages(**commands: Sequence[str | Path]) -> None:
    """Runs stages at the same time, by name, and shows their output unchanged. If one of them fails, stops the others and exits."""
    began = time.monotonic()
    running: dict[str, subprocess.Popen[bytes]] = {}
    with ThreadPoolExecutor(len(commands)) as pool:
        for name, command in commands.items():
            print(f"── {name}", flush=True)
            running[name] = subprocess.Popen([str(part) for part in command], cwd=ROOT, env=ENVIRONMENT)
        codes = {pool.submit(process.wait): name for name, process in running.items()}
        for ended in as_completed(codes):
            if (code := ended.result()) != 0:
                for process in running.values():
                    if process.poll() is None:
                        process.send_signal(signal.SIGINT)
                sys.exit(f"── {codes[ended]}: failed with exit code {code}")
            print(f"── {codes[ended]}: {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    """Runs the stages in order."""
    static_only = "--static" in sys.argv[1:]
    if not static_only and not any(shutil.which(name) for name in BROWSERS):
        sys.exit(
            "Chromium is missing, and the tests of the page need it: install it (Debian: apt-get install chromium)"
        )
    first: dict[str, Sequence[str | Path]] = {}
    if not static_only:
        # Collecting once writes pytest's compiled tests. Otherwise, in a clean clone, each of the four test processes would compile all tests.
        collect = 'said=$("$0" -m pytest --collect-only -qq -n 0 2>&1) || { echo "$said"; exit 1; }'
        first["collect"] = ["sh", "-c", collect, BIN / "python"]
    stages(
        **first,
        format=[BIN / "ruff", "format", "--check", "--quiet", *PYTHON_SOURCES],
        lint=[BIN / "ruff", "check", "--quiet", *PYTHON_SOURCES],
        imports=[BIN / "lint-imports", "--no-cache"],
    )
    # `make test` has built the page before, which checks its types.
    of_page = "test:all" if static_only else "test"
    rest: dict[str, Sequence[str | Path]] = {
        "types": ["node_modules/.bin/pyright", "--warnings"],
        "page": ["npm", "run", "--silent", of_page, "--workspace", "@responsa/web"],
    }
    if not static_only:
        rest["tests"] = [
            BIN / "python",
            "-m",
            "pytest",
            *(COVERAGE if "--coverage" in sys.argv[1:] else ()),
            "-q",
            # Most tests wait for processes, so four tests at a time keep two cores busy. tests/groups.py defines the groups of tests and their order.
            "-n",
            "4",
            "--dist",
            "loadfile",
            "--durations=25",
        ]
    # Pyright uses only one core, so the tests begin meanwhile.
    stages(**rest)


if __name__ == "__main__":
    main()
