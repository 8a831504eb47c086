"""Builds and tests the clients whose languages `make test` does not need: `make clients`.

Usage: python -m tools.clients.check

It first names the toolchains that are missing. Then it builds each client and runs its own tests. The tests marked
`toolchain` then play the conformance kit's cases with each client, ask a real instance the questions of all transports,
ask it over connections that are cut at random, and run the example.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Language:
    """A client's language.

    folder: the client's folder.
    programs: the programs that it needs, each with what to install.
    builds: the commands that build the client, its driver and its example.
    tests: the commands of its own tests.
    """

    folder: Path
    programs: Mapping[str, str]
    builds: Sequence[Sequence[str]]
    tests: Sequence[Sequence[str]]

    def missing(self) -> list[str]:
        """What to install."""
        return [remedy for program, remedy in self.programs.items() if shutil.which(program) is None]

    def build(self) -> None:
        """Build what has changed. Raises CalledProcessError, or FileNotFoundError without the toolchain."""
        self.run(self.builds)

    def run(self, commands: Sequence[Sequence[str]]) -> None:
        """Run commands in the client's folder. Raises CalledProcessError."""
        for command in commands:
            subprocess.run(command, cwd=self.folder, check=True)


LANGUAGES: Final[Mapping[str, Language]] = {
    "go": Language(
        folder=ROOT / "clients" / "go",
        programs={"go": "Go 1.25 (go.dev)"},
        builds=[("go", "build", "-o", f"{ROOT}/build/clients/go/", "./conformance", "./example")],
        tests=[("go", "vet", "./..."), ("go", "test", "./...")],
    ),
    "rust": Language(
        folder=ROOT / "clients" / "rust",
        programs={"cargo": "Rust 1.88 (rust-lang.org)"},
        builds=[("cargo", "build", "--quiet", "--locked", "--examples")],
        tests=[("cargo", "test", "--quiet", "--locked", "--lib")],
    ),
    "java": Language(
        folder=ROOT / "clients" / "java",
        programs={"javac": "Java 17 (openjdk.org)", "mvn": "Maven 3.8 (maven.apache.org)"},
        builds=[("mvn", "--batch-mode", "--quiet", "compile")],
        tests=[("mvn", "--batch-mode", "--quiet", "test")],
    ),
}
"""The languages, by name."""
TESTS: Final = (
    "tests/clients/test_conformance.py",
    "tests/system/test_conformance_cuts.py",
    "tests/system/test_every_transport.py",
)


def main() -> None:
    """Exit with 1 if a toolchain is missing or a client is wrong."""
    if missing := [what for language in LANGUAGES.values() for what in language.missing()]:
        sys.exit(f"make clients: install {', '.join(dict.fromkeys(missing))}, and run it again")
    try:
        for name, language in LANGUAGES.items():
            with _timed(f"{name}: build"):
                language.build()
            with _timed(f"{name}: tests"):
                language.run(language.tests)
    except subprocess.CalledProcessError as failed:
        sys.exit(f"make clients: {' '.join(failed.cmd)} failed; its words are above")
    with _timed("conformance kit, cuts, transports and examples"):
        command = (sys.executable, "-m", "pytest", "-n", "0", "-q", "-m", "toolchain and not soak", *TESTS)
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            sys.exit(1)


@contextmanager
def _timed(what: str) -> Generator[None]:
    began = time.monotonic()
    yield
    print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)


if __name__ == "__main__":
    main()
