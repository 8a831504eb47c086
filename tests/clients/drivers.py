"""The programs of the clients of this repository: the drivers for the conformance kit (clients/conformance), and the examples."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from tests.instance import ROOT

DRIVERS: Mapping[str, Sequence[str]] = {
    "python": (sys.executable, f"{ROOT}/clients/python/conformance.py"),
    "python-asyncio": (sys.executable, f"{ROOT}/clients/python/conformance.py", "--asyncio"),
}
"""The command of each driver, by the name of its client."""
EXAMPLES: Mapping[str, Sequence[str]] = {"python": (sys.executable, f"{ROOT}/clients/python/example.py")}
"""The command of each client's example."""
