"""Runs all stages of `make test`, with the cheap checks first. Stops when a stage fails, and reports it.

Usage: python tools/run_tests.py [--static | --coverage | --slowest]

--static runs only formatting, lint, types and imports. --coverage also measures the coverage of the tests, and fails
below 85 %. Measuring more than doubles the CPU time of Python code, so `make test` does not measure. --slowest runs
nothing: it lists the slowest tests of the last run.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import version
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
COVERAGE = ("--cov", "--cov-report=term:skip-covered", "--cov-fail-under=85")
PYTHON_SOURCES = ("server", "clients", "tests", "tools", "bench")
# Prints only errors.
COLLECT = 'said=$("$0" -m pytest --collect-only -qq -n 0 "$@" 2>&1) || { echo "$said"; exit 1; }'


# Hundreds of processes import our modules. If the machine's environment forbids Python to keep compiled modules, each
# process compiles them again.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
TIMES = ROOT / "build" / "times.json"
"""The seconds of each test of the last run, the slowest first."""
SLOWEST = 30
took: dict[str, float] = {}
"""The seconds of each stage that has ended."""
MEMORY = Path("/dev/shm")
LOCK = "responsa-tests.lock"
"""A file in the folder of each run in memory, which the run holds locked as long as it lives."""
ROOM = 12 << 30
"""The number of bytes that must be free in memory for the files of the tests."""
DATABASES = Path("/var/lib/responsa")
"""Where instances that root starts keep their databases (`ROOT_PLACES` of `embedded/layout.py`)."""
# Only the tests see this mount. The kernel removes it, with all files in it, when the last process of the tests has ended.
MOUNT = f'mount -t tmpfs -o mode=755 tests {DATABASES} && exec "$@"'


@contextmanager
def in_memory() -> Generator[Sequence[str]]:
    """Keeps the files of the tests in memory if there is room: temporary files, and as root also the databases of
    instances. The tests start sixty PostgreSQL clusters, and making and removing their files on a disk takes CPU time
    too. Yields what must precede the tests' command.
    """
    # The size of /dev/shm is only a limit: the memory may be in use.
    if not MEMORY.is_dir() or min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) < ROOM:
        yield ()
        return
    remove_leftovers()
    within: tuple[str, ...] = ()
    if os.geteuid() == 0 and shutil.which("unshare"):
        # This folder stays: removing it would take the mount away from another run of the tests.
        DATABASES.mkdir(mode=0o755, exist_ok=True)
        alone = ("unshare", "--mount", "sh", "-c", MOUNT, "sh")
        if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0:
            within = alone
    with (
        tempfile.TemporaryDirectory(prefix="rt-", dir=MEMORY, ignore_cleanup_errors=True) as folder,
        Path(folder, LOCK).open("w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        Path(folder).chmod(0o1777)  # some tests run as other users
        ENVIRONMENT["TMPDIR"] = folder
        yield within


def remove_leftovers() -> None:
    """Removes the folders in memory of this user's runs that were killed."""
    for file in MEMORY.glob(f"rt-*/{LOCK}"):
        with suppress(OSError), file.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock.fileno()).st_uid == os.geteuid():
                shutil.rmtree(file.parent, ignore_errors=True)


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
            took[codes[ended]] = time.monotonic() - began
            print(f"── {codes[ended]}: {took[codes[ended]]:.0f} s", flush=True)


def uncompiled() -> Sequence[Path]:
    """The tests that are new or newer than what pytest has compiled."""
    tail = f"{sys.implementation.cache_tag}-pytest-{version('pytest')}.pyc"

    def is_compiled(test: Path) -> bool:
        compiled = test.parent / "__pycache__" / f"{test.stem}.{tail}"
        return compiled.exists() and compiled.stat().st_mtime >= test.stat().st_mtime

    return [test for test in sorted((ROOT / "tests").rglob("test_*.py")) if not is_compiled(test)]


def slowest() -> None:
    """Lists the slowest tests of the last run. A test's time includes the start and the end of what it shares with later ones."""
    if not TIMES.exists():
        sys.exit(f"There is no {TIMES.relative_to(ROOT)}: run make test first")
    times: dict[str, float] = json.loads(TIMES.read_text(encoding="utf-8"))
    for test, seconds in list(times.items())[:SLOWEST]:
        print(f"{seconds:6.1f} s  {test}")


def main() -> None:
    """Runs the stages in order."""
    if "--slowest" in sys.argv[1:]:
        slowest()
        return
    began = time.monotonic()
    static_only = "--static" in sys.argv[1:]
    first: dict[str, Sequence[str | Path]] = {
        "format": [BIN / "ruff", "format", "--check", "--quiet", *PYTHON_SOURCES],
        "lint": [BIN / "ruff", "check", "--quiet", *PYTHON_SOURCES],
        "imports": [BIN / "lint-imports", "--no-cache"],
    }
    if not static_only:
        # Each of these takes half a minute of CPU time in a clean clone, so they share the cores.
        first["build"] = [
            "make",
            "--no-print-directory",
            "clients/web/dist/index.html",
            "clients/typescript/dist/index.js",
        ]
        # Writes pytest's compiled tests. Otherwise, in a clean clone, each of the test processes would compile all tests.
        if changed := uncompiled():
            first["collect"] = ["sh", "-c", COLLECT, BIN / "python", *changed]
    stages(**first)
    # Building the page has checked its types.
    of_page = "test:all" if static_only else "test"
    rest: dict[str, Sequence[str | Path]] = {
        # With more room for new objects, Node collects garbage less often: 7 % less CPU time. Pyright takes a minute
        # and a half of it; with a low priority,
        # it takes the time in which the tests wait.
        "types": [
            *("nice", "-n", "10", "env", "NODE_OPTIONS=--max-semi-space-size=128"),
            *("node_modules/.bin/pyright", "--warnings"),
        ],
        "page": [
            "npm",
            "run",
            "--silent",
            of_page,
            "--workspace",
            "clients/web",
            "--workspace",
            "clients/typescript",
        ],
    }
    if not static_only:
        rest["tests"] = [
            *(BIN / "python", "-m", "pytest"),
            *(COVERAGE if "--coverage" in sys.argv[1:] else ()),
            "-q",
            # Most tests wait for processes, so several tests at a time keep two cores busy. tests/groups.py defines the
            # groups of tests and their order.
            *("-n", "5"),
            *("--dist", "loadfile"),
            # Each skipped test has a line with its name and the reason.
            *("--no-fold-skipped", f"--times={TIMES}"),
        ]
    with nullcontext(()) if static_only else in_memory() as within:
        if "tests" in rest:
            rest["tests"] = [*within, *rest["tests"]]
        stages(**rest)
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items())
    print(f"── {time.monotonic() - began:.0f} s: {parts} (several at the same time)")


if __name__ == "__main__":
    main()
