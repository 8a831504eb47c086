"""A plugin of pytest, `-p tests.mutants.running`, that tries mutants: `--mutants FOLDER` tries what stands in `plan.json`,
and adds what became of each mutant to `results.jsonl`.

The process has imported all tests. For each mutant it forks, and the fork gives the functions of the mutant's module
their changed code: no file is changed, and nothing is imported again. What has caught a mutant must pass without it, so
another fork runs the same tests in the same order on the unchanged code.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

import psutil
import pytest
from hypothesis import settings

from tests import seeds
from tests.mutants.changes import Mutant, mutated

ROOT: Final = Path(__file__).resolve().parents[2]
SERVER: Final = ROOT / "server"
RESULTS: Final = "results.jsonl"
SECONDS: Final = 60
"""The time of a mutant's tests."""
PASSED, FAILED, OVER = "passed", "failed", "over"
Codes = Mapping[tuple[str, int], CodeType]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutants", type=Path, required=True, metavar="FOLDER")


def pytest_configure() -> None:
    # The same examples in each run, and no memory of those that have failed with a mutant.
    settings.register_profile("mutants", settings.get_profile("responsa"), database=None, derandomize=True)
    settings.load_profile("mutants")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    assert len(psutil.Process().threads()) == 1, "a fork would lack the threads of a module"
    _fork(seeds.models)
    folder: Path = session.config.getoption("--mutants")
    items = {item.nodeid: item for item in session.items}
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    with (folder / RESULTS).open("a", encoding="utf-8", buffering=1) as results:
        for mutant, tests in plan:
            result = _try(session, Mutant(**mutant), [items[test] for test in tests])
            results.write(json.dumps({**mutant, **result}, ensure_ascii=False) + "\n")
    return True


def _try(session: pytest.Session, mutant: Mutant, tests: Sequence[pytest.Item]) -> Mapping[str, Any]:
    """The fate of a mutant. tests: the number of tests that have begun. by: the last of them. unreliable: the tests that
    fail without the mutant too."""
    codes = mutated(mutant, ROOT / mutant.file)
    unreliable: list[str] = []
    while codes and tests:
        end, begun, seconds = _run(session, tests, mutant, codes)
        if not begun:
            return {"fate": "not applied"}
        result = {"tests": len(begun), "seconds": round(seconds, 1), "unreliable": unreliable}
        if end == PASSED:
            return {"fate": "survived", **result}
        usual_end, usual, usual_seconds = _run(session, tests[: len(begun)], mutant, {})
        if usual_end == FAILED:
            unreliable.append(usual[-1])
            tests = [test for test in tests if test.nodeid != usual[-1]]
        elif end == FAILED:
            return {"fate": "caught", "by": begun[-1], **result}
        elif usual_seconds < SECONDS / 2:
            return {"fate": "timed out", "by": begun[-1], **result}
        else:
            return {"fate": "survived", **result}
    return {"fate": "without tests" if codes else "gone", "unreliable": unreliable}


def _run(
    session: pytest.Session, tests: Sequence[pytest.Item], mutant: Mutant, codes: Codes
) -> tuple[str, Sequence[str], float]:
    """Run tests in a fork until one fails or the time is over: how it has ended (`PASSED`, `FAILED` or `OVER`), which tests
    have begun, and the seconds."""

    def in_fork() -> None:
        os.environ["TMPDIR"] = tempfile.tempdir = name
        if codes:
            _change(mutant, codes)
        with lines.open("w", encoding="utf-8", buffering=1) as file:
            for test, following in zip(tests, [*tests[1:], None], strict=True):
                file.write(f"{test.nodeid}\n")
                test.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
                if session.shouldfail:
                    break
            file.write(f"{FAILED if session.shouldfail else PASSED}\n")
        session._setupstate.teardown_exact(None)

    with tempfile.TemporaryDirectory(prefix="m", ignore_cleanup_errors=True) as name:
        lines = Path(name, "lines")
        lines.parent.chmod(0o1777)  # PostgreSQL runs under another account if root runs the tests
        seconds = _fork(in_fork)
        written = lines.read_text(encoding="utf-8").splitlines() if lines.exists() else []
    if written and written[-1] in {PASSED, FAILED}:
        return written[-1], written[:-1], seconds
    # A test has not ended, or has ended the process.
    return OVER if seconds >= SECONDS else FAILED, written, seconds


def _fork(work: Callable[[], object]) -> float:
    """Do something in a fork of this process, and then end all that it has left. Returns the seconds that it took, at
    most about `SECONDS`."""
    began = time.monotonic()
    if (fork := os.fork()) == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    process, ended = psutil.Process(fork), os.pidfd_open(fork)
    select.select([ended], [], [], SECONDS)
    seconds = time.monotonic() - began
    os.close(ended)
    for other in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            other.kill()
    os.waitpid(fork, 0)
    return seconds


def _change(mutant: Mutant, codes: Codes) -> None:
    """Give the functions of the mutant, and those within it, their changed code."""
    path = ROOT / mutant.file
    importlib.import_module(
        ".".join(path.relative_to(SERVER).with_suffix("").parts).removesuffix(".__init__")
    )
    changed = 0
    gc.unfreeze()
    for function in gc.get_objects():
        code = function.__code__ if isinstance(function, FunctionType) else None
        if (
            code
            and code.co_filename == str(path)
            and f"{code.co_qualname}.".startswith(f"{mutant.function}.")
        ):
            function.__code__ = codes[code.co_qualname, code.co_firstlineno]
            changed += 1
    gc.freeze()
    assert changed, f"nothing has the code of {mutant}"
