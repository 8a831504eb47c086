"""Tests notice small changes: of the mutants in `SETS`, which were drawn once, each that a test has caught is caught.

The mutants are in `mutants.json` (the core, 300) and `doors.json` (what surrounds it, 60), except those of code that
has been removed. Those with a reason (`survives`) need not be caught. Their lines are executed by tests in the same
process as the server's code; what a case asks of an instance runs elsewhere and catches none of them. `soak/mutants`
keeps what was measured and tried on the same code and tests, so a campaign that was stopped goes on, and has the
result of each mutant. `python -m tests.mutants.test_mutants SET` draws another set.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from coverage import CoverageData

from tests import seeds
from tests.faults.forms import Form, Report, forms
from tests.mutants.changes import Mutant, mutants_of
from tests.mutants.running import RESULTS, ROOT, SECONDS, SERVER

HERE: Final = Path(__file__).parent


class Drawn(NamedTuple):
    """A set of mutants. packages: where they are drawn. folders: the tests whose lines are measured. files: from how many
    files at most the tests of a mutant are."""

    name: str
    packages: Sequence[str]
    folders: Sequence[str]
    count: int
    seed: int
    files: int

    @property
    def path(self) -> Path:
        """Where the mutants are stored."""
        return HERE / f"{self.name}.json"


def server(*names: str) -> Sequence[str]:
    """Packages of the server."""
    return [f"responsa_server/{name}" for name in names]


SETS: Final = (
    Drawn(
        "mutants",
        (
            *("responsa_etl", "responsa_formats"),
            *server("agents", "calls", "domain", "identity", "ingest", "insight", "library", "outbound"),
            *server("providers", "routing", "search", "stores", "telemetry", "text", "tools", "turns"),
            *server("transports"),
        ),
        ("tests/unit", "tests/formats", "tests/contract", "tests/etl", "tests/lab"),
        count=300,
        seed=1,
        files=1000,
    ),
    Drawn(
        "doors",
        server("app", "calls", "cli", "identity", "transports"),
        (
            *(f"tests/unit/{name}" for name in ("app", "calls", "cli", "identity", "transports")),
            *(f"tests/contract/test_{name}.py" for name in ("identity", "tokens")),
        ),
        count=60,
        seed=2,
        files=5,
    ),
)
CAUGHT: Final = {"caught", "timed out"}
TIMES: Final = "times.json"
Tests = Mapping[int, Set[str]]
"""The tests that execute each line of a file."""


@pytest.mark.parametrize("drawn", SETS, ids=[drawn.name for drawn in SETS])
@forms(long=max(drawn.count for drawn in SETS))
def test_mutants(form: Form, drawn: Drawn, request: pytest.FixtureRequest) -> None:
    report = Report(drawn.name, form)
    entries = json.loads(drawn.path.read_text(encoding="utf-8"))[: form.count]
    reasons = {
        Mutant(**{name: entry[name] for name in Mutant._fields}): entry.get("survives") for entry in entries
    }
    fates = tried(measured(drawn), list(reasons), drawn.files)
    for mutant, reason in reasons.items():
        report.count(fate := fates[mutant])
        if fate not in CAUGHT:
            print(f"{fate}: {mutant} ({reason or 'no reason'})")
    report.tell(request)
    assert not [mutant for mutant, reason in reasons.items() if fates[mutant] not in CAUGHT and not reason]


def measured(drawn: Drawn) -> Path:
    """The folder of the present code and tests, with the lines and the seconds of each test. It measures them the first time."""
    state = hashlib.sha256(repr(drawn.folders).encode())
    for command in (("ls-files", "--stage"), ("diff",)):
        among = ("--", "server", "tests", f":!{HERE.relative_to(ROOT)}")
        state.update(
            subprocess.run(["git", *command, *among], cwd=ROOT, check=True, capture_output=True).stdout
        )
    folder = ROOT / "soak" / "mutants" / state.hexdigest()[:12]
    if not (folder / TIMES).exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Without the settings of coverage, whose branches would take gigabytes with each test.
        measuring = ("--cov=responsa_server", "--cov-config=/dev/null", "--cov-context=test", "--cov-report=")
        measuring += ("--hypothesis-seed=0", f"--times={folder / TIMES}")
        _pytest(folder, "-n", "2", "--dist", "loadfile", *measuring, *drawn.folders)
    return folder


def tried(folder: Path, mutants: Sequence[Mutant], limit: int) -> Mapping[Mutant, str]:
    """What became of each mutant. Those that have no line in the folder's results are tried first, by the tests of at
    most so many files."""
    seconds = json.loads((folder / TIMES).read_text(encoding="utf-8"))
    plan: list[tuple[Mapping[str, object], list[str]]] = []
    fates = _fates(folder)
    for mutant in mutants:
        if mutant not in fates:
            line = dict(_sites(ROOT / mutant.file)).get(mutant, 0)
            tests: list[str] = []
            among: set[str] = set()
            left = float(SECONDS)
            # What fails or is skipped without a mutant has no time.
            fit = _tests(folder, ROOT / mutant.file).get(line, set()) & seconds.keys()
            for test in sorted(fit, key=lambda test: (seconds[test], test)):
                file = test.partition("::")[0]
                if (file in among or len(among) < limit) and (left := left - seconds[test]) > 0:
                    among.add(file)
                    tests.append(test)
            plan.append((mutant._asdict(), tests))
    if plan:
        (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        files = sorted({test.partition("::")[0] for _, tests in plan for test in tests})
        _pytest(folder, "-x", "-n", "0", "-p", "tests.mutants.running", f"--mutants={folder}", *files)
    return _fates(folder)


def _fates(folder: Path) -> Mapping[Mutant, str]:
    file = folder / RESULTS
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    results = [json.loads(line) for line in lines]
    return {Mutant(**{name: result[name] for name in Mutant._fields}): result["fate"] for result in results}


def _pytest(folder: Path, *arguments: str) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in {seeds.FOLDER, "RESPONSA_SOAK_COUNT"}
    }
    # A fork has only one thread, so the others of numpy would be missing in it.
    environment |= {"COVERAGE_FILE": str(folder / "coverage"), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    with (
        tempfile.TemporaryDirectory(prefix="rt-", dir="/dev/shm") as memory,
        (folder / "log").open("ab") as log,
    ):
        Path(memory).chmod(0o1777)  # PostgreSQL runs under another account if root runs the tests
        environment["TMPDIR"] = memory
        subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False)


def _tests(folder: Path, path: Path) -> Tests:
    data = CoverageData(str(folder / "coverage"))
    data.read()
    # A context is a test with its part, such as `|run`; it is empty for what is executed between tests.
    lines = data.contexts_by_lineno(str(path))
    return {line: {test.rpartition("|")[0] for test in tests if test} for line, tests in lines.items()}


def _sites(path: Path) -> Iterator[tuple[Mutant, int]]:
    source = path.read_text(encoding="utf-8") if path.exists() else ""
    for mutant, line, _ in mutants_of(ast.parse(source), source, str(path.relative_to(ROOT))):
        yield mutant, line


def draw(drawn: Drawn) -> None:
    """Draw mutants: first lines that tests execute, each of them equally often, then a change of each."""
    folder = measured(drawn)
    sites: dict[tuple[Path, int], list[Mutant]] = {}
    for path in sorted(path for package in drawn.packages for path in SERVER.glob(f"{package}/**/*.py")):
        tests = _tests(folder, path)
        for mutant, line in _sites(path):
            if tests.get(line):
                sites.setdefault((path, line), []).append(mutant)
    dice = random.Random(drawn.seed)
    entries = [dice.choice(sites[site])._asdict() for site in dice.sample(list(sites), drawn.count)]
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    drawn.path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    draw(next(drawn for drawn in SETS if drawn.name == sys.argv[1]))
