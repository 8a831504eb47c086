"""What a parser needs late, or why it fails, is no riddle: the first document of a pool is read as any later one, and a
failure says its place in the code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from responsa_formats.parsers.table import FORMATS
from responsa_formats.rejections import Cause, Rejected
from responsa_formats.sandbox.pool import ParserPool
from responsa_server.ingest.parsing import parser_pool
from responsa_server.telemetry.instruments import LATE_IMPORTS, PARSER_FAILURES, Instrument
from tests.security import rich_documents
from tests.security.first_documents import EVENTS, SETTINGS, computing, drawing, parsing, run_first
from tests.security.late_parsers import SECRET, WITHOUT
from tests.security.sandboxed import HERE

ROOT = HERE.parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture
async def late() -> AsyncIterator[ParserPool]:
    pool = parser_pool(
        concurrency=1, limits=SETTINGS.parse_limits, formats="late_parsers:FORMATS", import_paths=[HERE]
    )
    yield pool
    await pool.close()


async def log_of(pool: ParserPool, text: str) -> tuple[str, Sequence[Mapping[str, Any]]]:
    """What a document becomes, a title or the reason of its rejection, and the lines of the log."""
    with capture_logs() as lines:
        try:
            result, message = (await pool.parse(text.encode(), "a.txt")).title, ""
        except Rejected as error:
            result, message = error.reason.value, error.message
    assert SECRET not in f"{message} {lines}"
    return result, [line for line in lines if line["event"] in EVENTS]


def imported(*modules: str) -> Sequence[Mapping[str, Any]]:
    return [{"event": "late_import", "log_level": "warning", "module": module} for module in modules]


@pytest.fixture
def counts() -> AsyncIterator[list[tuple[Instrument, Mapping[str, str]]]]:
    counted: list[tuple[Instrument, Mapping[str, str]]] = []
    for instrument in (LATE_IMPORTS, PARSER_FAILURES):
        instrument.connect(lambda _, labels, instrument=instrument: counted.append((instrument, labels)))
    yield counted
    for instrument in (LATE_IMPORTS, PARSER_FAILURES):
        instrument.connect(None)


async def test_a_late_import_is_no_fault_of_the_document(
    late: ParserPool, counts: list[tuple[Instrument, Mapping[str, str]]]
) -> None:
    assert await log_of(late, "import wave") == ("wave", imported("wave"))
    assert counts == [(LATE_IMPORTS, {"module": "wave"})]
    assert await log_of(late, "import wave") == ("wave", [])
    # A library that does without the module gives another result, so the module counts all the same.
    assert await log_of(late, "try colorsys") == ("colorsys", imported("colorsys"))
    assert await log_of(late, "import stringprep\nimport tabnanny") == (
        "tabnanny",
        imported("stringprep", "tabnanny"),
    )
    assert await log_of(late, "decode mac_croatian") == ("a", imported("encodings.mac_croatian"))


async def test_only_modules_of_parsers_are_imported(late: ParserPool) -> None:
    for deed in ("try", "decode"):
        for name in ("no_such_module", "antigravity", "responsa_server.app.serve", "pytest"):
            assert await log_of(late, f"{deed} {name}") == (WITHOUT, []), (deed, name)


async def test_a_failure_says_its_place_and_nothing_of_the_document(
    late: ParserPool, counts: list[tuple[Instrument, Mapping[str, str]]]
) -> None:
    result, (line,) = await log_of(late, "fail")
    assert (result, line["format"], line["error"], line["module"]) == (
        Cause.MALFORMED.value,
        "TEXT",
        "ArithmeticError",
        "late_parsers",
    )
    source = (HERE / "late_parsers.py").read_text(encoding="utf-8").splitlines()
    assert "raise ArithmeticError" in source[line["line"] - 1]
    assert counts == [(PARSER_FAILURES, {"format": "TEXT", "error": "ArithmeticError"})]
    # A panic of a library in Rust is no Exception.
    result, (line,) = await log_of(late, "panic")
    assert (result, line["error"]) == (Cause.MALFORMED.value, "KeyboardInterrupt")
    result, (line,) = await log_of(late, "refused")
    assert (result, line["error"]) == (Cause.PARSER_LIMIT.value, "PermissionError")
    result, (line,) = await log_of(late, "crash")
    assert (result, line["error"]) == (Cause.MALFORMED.value, "Aborted")
    # A module that nobody has is the parser's own failure.
    result, (line,) = await log_of(late, "import no_such_module")
    assert (line["error"], line["module"]) == ("ModuleNotFoundError", "late_parsers")


@pytest.mark.parametrize("name", [*rich_documents.DOCUMENTS, *rich_documents.COMPUTED, "page"])
async def test_the_first_document_of_a_pool_is_read_without_late_imports(name: str) -> None:
    if name == "page":
        job = drawing(rich_documents.DOCUMENTS["rates.pdf"], "PDF")
    elif name in rich_documents.COMPUTED:
        job = computing(name, rich_documents.COMPUTED[name])
    else:
        job = parsing(rich_documents.DOCUMENTS[name], name)
    assert await run_first(job, strict=True) == []


def test_there_is_a_rich_document_of_each_format() -> None:
    suffixes = {Path(name).suffix[1:] for name in rich_documents.DOCUMENTS}
    assert [row.name for row in FORMATS if suffixes.isdisjoint(row.suffixes)] == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_each_file_is_read_as_the_first_of_its_pool(version: str, tmp_path: Path) -> None:
    """Files of the tests, the samples and, if they are next to the checkout, of the public data sets, on each Python of the machine."""
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"this machine has no Python {version}")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    own = tmp_path / "venv" / "bin" / "python"
    shutil.copy(Path(sys.executable).with_name("uv"), own.parent)
    locks = ("-r", ROOT / "locks/requirements.lock", "-r", ROOT / "locks/requirements-ocr.lock")
    subprocess.run([own, ROOT / "tools" / "install.py", "--require-hashes", "--no-deps", *locks], check=True)
    folders = (*ROOT.glob("tests/fixtures"), *ROOT.glob("samples"), *SHARED.glob("troubles*/raw"))
    folders += (*SHARED.glob("files/raw"), *SHARED.glob("first"))
    suffixes = {f".{suffix}" for row in FORMATS for suffix in row.suffixes}
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix.lower() in suffixes]
    paths = (ROOT, ROOT / "server", ROOT / "clients" / "python", ROOT / "generated" / "python")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [own, "-m", "tests.security.first_documents", *files]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(f"Python {version}: {done.stdout.splitlines()[-1] if done.stdout else ''}")
    assert done.returncode == 0, done.stdout + done.stderr
