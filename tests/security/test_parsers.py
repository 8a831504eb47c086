"""Every parser of somebody else's bytes has a row in `parsers.py`, and those of the server's own
process withstand nested and long texts."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator

from tests.instance import ROOT
from tests.security.parsers import PARSERS, Parser, RunsIn

SERVER = ROOT / "server"
# What of the standard library reads a language.
OF_PYTHON = frozenset(
    {"ast", "bz2", "configparser", "csv", "email", "gzip", "html", "json", "lzma", "marshal", "pickle", "plistlib", "re"}
    | {"shelve", "shlex", "sqlite3", "ssl", "tarfile", "tomllib", "xml", "zipfile", "zlib", "zoneinfo"}
)  # fmt: skip
LEAST_SHAPES, LEAST_PARSERS = 10, 20
NO_PARSERS = {
    **dict.fromkeys(("Stemmer", "sentencex", "text_to_num", "tokenizers"), "reads plain text word by word"),
    **dict.fromkeys(("argon2", "bcrypt"), "hashes"),
    **dict.fromkeys(("numpy", "onnxruntime", "safetensors", "xllamacpp"), "reads numbers and shipped models"),
    **dict.fromkeys(
        ("pgvector", "psycopg", "psycopg_pool", "procrastinate", "redis", "limits", "qdrant_client"),
        "speaks to the installation's own stores",
    ),
    **dict.fromkeys(("aiosmtplib", "opentelemetry", "prometheus_client"), "speaks to servers that the settings name"),
    **dict.fromkeys(("grpc", "grpc_health", "grpc_reflection"), "carries messages of `google.protobuf`, behind Envoy"),
    **dict.fromkeys(("google", "protovalidate", "responsa", "mcp_types"), "is made of messages that are read already"),
    **dict.fromkeys(("rich", "typer", "watchfiles"), "belongs to commands"),
    "_typeshed": "is for types",
    **dict.fromkeys(("aiolimiter", "anyio", "langchain_core", "langgraph", "psutil", "structlog", "uuid_utils", "uvloop"), "reads nothing"),
}  # fmt: skip
"""The other libraries that are imported, and why they are no parsers."""


def imports() -> Iterator[tuple[str, str]]:
    """The modules that each file imports from outside, with the file."""
    for file in SERVER.glob("responsa_*/**/*.py"):
        if "responsa_lab" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Import():
                    names = [name.name for name in node.names]
                case ast.ImportFrom(module=str(module), level=0):
                    names = [module]
                case _:
                    names = []
            for name in names:
                yield name, file.relative_to(SERVER).as_posix().removeprefix("responsa_server/")


def fits(row: Parser, module: str, file: str) -> bool:
    patterns = (re.escape(one).replace(r"\*\*", ".*").replace(r"\*", "[^/]*") for one in row.files)
    of_library = module == row.library or module.startswith(f"{row.library}.")
    return of_library and any(re.fullmatch(pattern, file) for pattern in patterns)


def test_each_import_of_a_parser_has_a_row() -> None:
    missing, used = set[tuple[str, str]](), set[int]()
    for module, file in imports():
        first = module.partition(".")[0]
        if first.startswith("responsa_") or (first in sys.stdlib_module_names and first not in OF_PYTHON):
            continue
        rows = [number for number, row in enumerate(PARSERS) if fits(row, module, file)]
        used.update(rows)
        if not rows and first not in NO_PARSERS:
            missing.add((module, file))
    assert not missing, "add rows to tests/security/parsers.py, or say here why these are no parsers"
    assert [PARSERS[number] for number in range(len(PARSERS)) if number not in used] == []


def test_no_nested_or_long_text_hurts_the_server() -> None:
    program = [sys.executable, "-m", "tests.security.parser_probes"]
    done = subprocess.run(program, capture_output=True, text=True, check=True, cwd=ROOT)
    *found, last = map(json.loads, done.stdout.splitlines())
    assert not found, done.stderr[-2000:]
    few = [shape for shape in last["shapes"] if shape[-1] < LEAST_SHAPES]
    assert not few, "add a function to parser_probes.py"
    assert len(last["shapes"]) >= LEAST_PARSERS
    assert max(last["unbounded"]) < 0, "the probes do not see what overflows a stack"


def test_each_parser_of_the_server_has_a_bound() -> None:
    assert [row for row in PARSERS if row.runs is RunsIn.SERVER and not row.bound] == []
