"""Whatever calls of different users wait for is in the table of `domain/sharing.py`."""

from __future__ import annotations

import ast
from pathlib import Path

from responsa_server.domain.sharing import SHARED

SERVER = Path(__file__).resolve().parents[2] / "server"
POOLS = {"Semaphore", "BoundedSemaphore", "ThreadPoolExecutor", "ProcessPoolExecutor", "Pool", "Scheduler"}


def test_the_table_names_each_module_that_makes_a_pool_a_semaphore_or_a_thread() -> None:
    made = {
        ".".join(path.relative_to(SERVER).with_suffix("").parts).removeprefix("responsa_server.")
        for path in SERVER.rglob("*.py")
        if any(
            isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in POOLS
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
        )
    }
    named = {module for part in SHARED.values() for module in part.modules}
    # A command of the command line serves its only user.
    assert {
        module for module in made if not module.startswith(("cli.", "responsa_lab.", "responsa_local."))
    } == named
