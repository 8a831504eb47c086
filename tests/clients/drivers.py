"""The programs of the clients of this repository: the drivers for the conformance kit (clients/conformance), and the examples."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

from tests.instance import ROOT

DRIVERS: Mapping[str, Sequence[str]] = {
    "python": (sys.executable, f"{ROOT}/clients/python/conformance.py"),
    "python-asyncio": (sys.executable, f"{ROOT}/clients/python/conformance.py", "--asyncio"),
    "typescript": ("node", f"{ROOT}/clients/typescript/conformance.mjs"),
}
"""The command of each driver, by the name of its client."""
EXAMPLES: Mapping[str, Sequence[str]] = {
    "python": (sys.executable, f"{ROOT}/clients/python/example.py"),
    "typescript": ("node", f"{ROOT}/clients/typescript/example.mjs"),
}
"""The command of each client's example."""
BUILT: Mapping[str, str] = {"typescript": "clients/typescript/dist/index.js"}
"""What `make` builds of a client before its programs can run."""


def build(client: str) -> None:
    """Build what the programs of a client need, unless it is new enough."""
    if client in BUILT:
        subprocess.run(["make", "--silent", BUILT[client]], cwd=ROOT, check=True)
