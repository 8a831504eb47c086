"""The programs of the clients of this repository: the drivers for the conformance kit (clients/conformance)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import pytest

from tests.instance import ROOT
from tools.clients.check import LANGUAGES

JAVA = ("java", "-XX:TieredStopAtLevel=1", f"@{ROOT}/build/clients/java/client.args")
"""Runs a source file with the Java client."""
DRIVERS: Mapping[str, Sequence[str]] = {
    "python": (sys.executable, f"{ROOT}/clients/python/conformance.py"),
    "python-asyncio": (sys.executable, f"{ROOT}/clients/python/conformance.py", "--asyncio"),
    "typescript": ("node", f"{ROOT}/clients/typescript/conformance.mjs"),
    "go": (f"{ROOT}/build/clients/go/conformance",),
    "rust": (f"{ROOT}/build/clients/rust/debug/examples/conformance",),
    "java": (*JAVA, f"{ROOT}/clients/java/conformance/Driver.java"),
}
"""The command of each driver, by the name of its client."""
BUILT: Mapping[str, str] = {"typescript": "clients/typescript/dist/index.js"}
"""What `make` builds of a client before its programs can run."""


def each(clients: Iterable[str]) -> Any:
    """Parametrises a test with clients. `make clients` runs the tests of those whose toolchains `make test` does not need."""
    return pytest.mark.parametrize(
        "client",
        [
            pytest.param(client, marks=pytest.mark.toolchain) if client in LANGUAGES else client
            for client in clients
        ],
    )


@cache
def build(client: str) -> None:
    """Build what the programs of a client need, unless it is new enough: once, because Maven and others take seconds to find that."""
    if client in LANGUAGES:
        LANGUAGES[client].build()
    elif client in BUILT:
        subprocess.run(["make", "--silent", BUILT[client]], cwd=ROOT, check=True)
