"""Every line of the log about a call, a turn, an operation or a job names its tenant."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SERVER = Path(__file__).resolve().parents[2] / "server"
LEVELS = frozenset({"debug", "info", "warning", "error", "exception"})
ELSEWHERE = frozenset({"transports/ws/bridge.py"})
"""A socket is open before its caller is known; its calls have their own lines."""
OF_TENANTS = frozenset({"turn", "operation", "job", "mail", "call_id"})
"""The fields of lines about one tenant's work."""


def without_tenant(source: str) -> Iterator[int]:
    """The lines of the calls of loggers that have one of these fields and no tenant. A call with `**` gets its fields from a function."""
    if not re.search(rf"\b(?:{'|'.join(sorted(OF_TENANTS))})=", source):
        return
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS | {"bind"}
        ):
            names = {keyword.arg for keyword in node.keywords}
            if (
                names & OF_TENANTS
                and not names & {"tenant", None}
                and "log" in ast.unparse(node.func.value).lower()
            ):
                yield node.lineno


def test_a_line_without_a_tenant_is_found() -> None:
    assert list(
        without_tenant('log.info("x", turn=1)\nlog.info("x", turn=1, tenant="a")\nlog.info("x")')
    ) == [1]


def test_every_line_about_a_tenants_work_names_the_tenant() -> None:
    lines = [
        f"{path.relative_to(SERVER)}:{line}"
        for path in sorted(SERVER.rglob("*.py"))
        if str(path.relative_to(SERVER)).removeprefix("responsa_server/") not in ELSEWHERE
        for line in without_tenant(path.read_text(encoding="utf-8"))
    ]
    assert lines == []
