"""Reads cases.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_TABLE: Final = json.loads(
    re.sub(r"(?m)^#.*$", "", Path(__file__).with_name("cases.yaml").read_text(encoding="utf-8"))
)
EVENTS: Final[Mapping[str, Any]] = _TABLE["events"]
"""The TurnEvents in proto-JSON, by name."""
CASES: Final[Mapping[str, Any]] = {case["name"]: case for case in _TABLE["cases"] + _TABLE["client_cases"]}
"""All cases, by name."""


def kinds(case: Mapping[str, Any]) -> set[tuple[int, str]]:
    """The seq and the kind of each event that the server sends in a case. The kind is spelt as in protobuf, such as "tool_call"."""
    found: set[tuple[int, str]] = set()
    for call in case["calls"]:
        for _, _, *names in [*call.get("frames", ()), *call.get("after_cancel", ())]:
            for event in (EVENTS[name] for name in names):
                event = event["snapshot"]["terminalEvent"] if "snapshot" in event else event
                found |= {
                    (event.get("seq", 0), _snake(kind)) for kind in event if kind not in ("seq", "attempt")
                }
    return found


def _snake(name: str) -> str:
    return re.sub(r"(?=[A-Z])", "_", name).lower()
