"""Every client conforms to the resume protocol, as the kit in clients/conformance checks it, and the kit finds a client that does not."""

from __future__ import annotations

import sys

from clients.conformance.__main__ import table
from clients.conformance.cases import CASES
from clients.conformance.runner import run_cases
from tests.clients.drivers import DRIVERS, build, each

# A driver that sees nothing, whatever happens.
BLIND = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"events": [], "text": "", "sha256": "", "citations": 0, "terminal": "", "error": None}), flush=True)
"""


@each(DRIVERS)
async def test_a_client_conforms(client: str) -> None:
    build(client)
    verdicts = await run_cases(DRIVERS[client])
    assert not any(verdict.problems for verdict in verdicts), table(verdicts)


async def test_the_kit_finds_clients_that_do_not_conform() -> None:
    verdicts = await run_cases([sys.executable, "-c", BLIND])
    assert {case for case in CASES if "host" not in CASES[case]} <= {verdict.case for verdict in verdicts}
    assert all(verdict.problems for verdict in verdicts), table(verdicts)
    (verdict,) = await run_cases([sys.executable, "-c", "print(1)"], ["one stream"])
    assert "not valid" in verdict.problems[0]
    (verdict,) = await run_cases([sys.executable, "-c", ""], ["one stream"])
    assert "gave no result" in verdict.problems[0]
