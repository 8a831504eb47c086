"""The drivers of the clients of this repository for the conformance kit (clients/conformance)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

from tests.instance import ROOT

DRIVERS: Mapping[str, Sequence[str]] = {
    "python": (sys.executable, f"{ROOT}/clients/python/conformance.py"),
    "python-asyncio": (sys.executable, f"{ROOT}/clients/python/conformance.py", "--asyncio"),
    "typescript": ("node", f"{ROOT}/clients/typescript/conformance/driver.mjs"),
}
"""The command of each driver, by the name of its client."""
BUILT: Mapping[str, str] = {"typescript": "clients/typescript/dist/index.js"}
"""What `make` builds of a client before its driver can run."""


def command(client: str) -> Sequence[str]:
    """The command of a client's driver, which can run now."""
    if client in BUILT:
        subprocess.run(["make", "--silent", BUILT[client]], cwd=ROOT, check=True)
    return DRIVERS[client]
