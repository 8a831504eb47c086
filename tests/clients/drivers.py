"""The drivers of the clients of this repository for the conformance kit (clients/conformance)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from tests.instance import ROOT

DRIVERS: Mapping[str, Sequence[str]] = {
    "python": (sys.executable, f"{ROOT}/clients/python/conformance.py"),
    "python-asyncio": (sys.executable, f"{ROOT}/clients/python/conformance.py", "--asyncio"),
}
"""The command of each driver, by the name of its client."""
