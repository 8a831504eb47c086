"""The direction of imports: import-linter, which `make test` runs on the checkout, finds violations of its contracts."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instance import ROOT, plain_environment

SERVER = ROOT / "server" / "responsa_server"


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a checkout, with the contracts in its pyproject.toml."""
    folders = ":".join(str(tree / name) for name in ("server", "clients/python", "generated/python"))
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=tree,
        env=plain_environment(PYTHONPATH=folders),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that import-linter reads."""
    copy = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", copy)
    skipped = shutil.ignore_patterns("__pycache__")
    for name in ("server", "clients/python", "generated/python"):
        shutil.copytree(ROOT / name, copy / name, ignore=skipped)
    return copy


BREACHES = (
    ("domain/turns.py", "from responsa_server.turns import service", "Layers"),
    ("domain/people.py", "import responsa_server.stores.postgres.users", "Layers"),
    ("app/serve.py", "import responsa_local.embedded.layout", "The core imports nothing above"),
    (
        "../responsa_local/embedded/part.py",
        "import responsa_server.domain.parts",
        "The parts of this machine",
    ),
    ("../responsa_local/envoy/replicas.py", "import responsa_local.embedded.envoy", "Envoy's configuration"),
    (
        "stores/postgres/turns.py",
        "import responsa_server.library.library",
        "Layers",
    ),
    (
        "../responsa_formats/parsers/docx.py",
        "import responsa_server.domain.knowledge",
        "responsa_formats stands alone",
    ),
    ("providers/chain.py", "import responsa_server.domain.relay", "Models know of the domain"),
    ("stores/redis.py", "import responsa_server.providers.minilm", "Layers"),
    ("tools/http_api.py", "import responsa_server.stores.redis", "Layers"),
    (
        "agents/engine/agent.py",
        "import responsa_server.tools.http_api",
        "Adapters but the stores are named",
    ),
    ("agents/config/live.py", "import responsa_server.stores.redis", "Turns and agents reach stores"),
    *(
        (file, f"import {driver}", "Drivers stay in the stores")
        for file, driver in (
            ("library/library.py", "psycopg"),
            ("ingest/jobs.py", "psycopg_pool"),
            ("search/retrieve.py", "redis"),
        )
    ),
    *(
        (file, f"import {imported}", "Adapters but the stores are named")
        for file, imported in (
            ("identity/service.py", "responsa_server.providers.minilm"),
            ("routing/stored.py", "responsa_server.providers.minilm"),
            ("text/lexical.py", "responsa_server.tools.http_api"),
            ("../responsa_etl/sources/service.py", "responsa_etl.databases.reading"),
            ("transports/http/sessions.py", "responsa_server.tools.http_api"),
        )
    ),
    ("agents/config/live.py", "import responsa_server.turns.service", "Layers"),
    ("agents/engine/graph.py", "import responsa_server.agents.nodes.table", "Layers"),
    ("agents/nodes/output.py", "import minijinja", "Templates are filled in by one file"),
    (
        "../responsa_etl/sources/service.py",
        "import responsa_etl.sources.mapping_text",
        "Mappings are read in the sandbox",
    ),
    ("agents/engine/config.py", "import rtoml", "Agents' files are read by their configuration alone"),
    (
        "transports/grpc/server.py",
        "import responsa_lab.testing.agent",
        "The core imports nothing above",
    ),
    (
        "app/settings.py",
        "import responsa_lab.scripted",
        "The core imports nothing above",
    ),
    (
        "../responsa_lab/scripted/strong.py",
        "import responsa_server.text.sentences",
        "Scripted models know the domain alone",
    ),
    (
        "../responsa_lab/testing/agent.py",
        "import responsa_server.stores.redis",
        "The testing agent is made of the engine",
    ),
    (
        "../responsa_lab/evaluation/measuring.py",
        "import responsa_server.stores.redis",
        "Evaluation measures a server through the public client",
    ),
    ("turns/service.py", "import grpc", "protobuf stays in calls"),
    (
        "transports/rest/handler.py",
        "import responsa_server.transports.http.uploads",
        "Transports never import each other",
    ),
    (
        "app/front.py",
        "import responsa_server.transports.a2a.routes",
        "The core knows the doors by their table",
    ),
    ("app/serve.py", "import responsa_etl.sources.crawling", "The core imports nothing above"),
    (
        "../responsa_etl/stores/sources.py",
        "import responsa_server.turns.service",
        "ETL imports of the core what is listed",
    ),
    (
        "calls/contract.py",
        "import responsa_server.insight.patterns",
        "Studies join by their extension",
    ),
    ("calls/chain.py", "import grpc", "gRPC stays in its transport"),
    ("transports/ws/bridge.py", "import grpc", "gRPC stays in its transport"),
    ("calls/chain.py", "import responsa_server.cli.output", "Commands are imported by commands"),
    (
        "../responsa_etl/databases/reading.py",
        "import responsa_server.stores.redis",
        "Databases of sources know",
    ),
)
"""A file, an import that it must not have, and the contract that the import breaks."""


def test_breaches_are_caught(tree: Path) -> None:
    server = tree / "server" / "responsa_server"
    before = {file: (server / file).read_text() for file, _, _ in BREACHES}
    for file, line, _ in BREACHES:
        # A late import within a function counts as an import.
        with (server / file).open("a") as broken:
            broken.write(f"\n\ndef planted() -> None:\n    {line}\n")
    try:
        done = lint(tree)
    finally:
        for file, text in before.items():
            (server / file).write_text(text)
    # One section for each broken contract: its name, a line below it, and the imports that break it.
    sections = re.split(r"(?m)^(.+)\n-{3,}\n", done.stdout)
    found = dict(zip(sections[1::2], sections[2::2], strict=True))
    for file, line, contract in BREACHES:
        importer = ".".join((server / file).resolve().relative_to(tree / "server").with_suffix("").parts)
        imported = line.replace("from ", "").replace(" import ", ".").removeprefix("import ")
        named = [" ".join(text.split()) for name, text in found.items() if name.startswith(contract)]
        assert any(f"{importer} -> {imported} (" in text for text in named), (file, line, contract, named)


def imported(path: Path) -> Iterator[str]:
    """The names of all modules and of what is in them that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


LISTED = {
    "../responsa_local/commands/**/*.py": (
        "agents.config agents.engine app calls.frames cli domain identity ingest outbound providers.minilm stores "
        "system tools turns.pack"
    ),
    "cli/**/*.py": "calls.numbering calls.status domain system text transports.mcp.serving",
    "text/**/*.py": "domain",
    "transports/a2a/**/*.py": "calls domain",
    "transports/grpc/**/*.py": "calls domain telemetry",
    "transports/http/*.py": "calls domain identity",
    "transports/http/original_paths/*.py": "calls domain",
    "transports/mcp/**/*.py": "calls domain text",
    "transports/openai/**/*.py": "agents.engine calls domain text turns.worker",
    "transports/rest/**/*.py": "calls domain",
    "transports/ws/**/*.py": "calls domain text",
    "transports/doors.py": "calls identity system",
}
"""What commands, doors and the texts of both import of the rest of the core."""


@pytest.mark.parametrize("files", LISTED)
def test_doors_and_commands_import_of_the_core_what_is_listed(files: str) -> None:
    listed, own = LISTED[files].split(), re.escape(files.partition("/")[0])
    names = {name for path in SERVER.glob(files) for name in imported(path)}
    others = {name.partition(".")[2] for name in names if re.match(rf"responsa_server\.(?!_|{own}\.)", name)}
    assert {
        next((part for part in listed if f"{name}.".startswith(f"{part}.")), name) for name in others
    } == {*listed}


def test_the_domain_needs_the_contracts_facts_and_the_standard_library_alone() -> None:
    for path in (SERVER / "domain").rglob("*.py"):
        for name in imported(path):
            own = name.startswith(("responsa_server.domain", "responsa_contract"))
            assert own or name.partition(".")[0] in sys.stdlib_module_names, f"{path}: {name}"


def test_the_tests_of_the_formats_need_that_package_alone() -> None:
    needed = {"hypothesis", "pytest", "pytest_asyncio", "responsa_formats"}
    for path in (ROOT / "tests" / "formats").glob("*.py"):
        for name in imported(path):
            first = name.partition(".")[0]
            assert first in needed | sys.stdlib_module_names or name.startswith("tests.formats."), (
                f"{path}: {name}"
            )


def test_only_app_imports_the_telemetry_sdk() -> None:
    # import-linter knows external packages by their first name alone.
    for path in SERVER.parent.glob("responsa_[!l]*/**/*.py"):
        if path.is_relative_to(SERVER / "app"):
            continue
        if "opentelemetry" in path.read_text(encoding="utf-8"):
            assert not [
                name
                for name in imported(path)
                if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))
            ], path


def test_slow_packages_are_not_imported_before_they_are_used() -> None:
    # The SDK of MCP takes a fifth of the time of a server's start, SQLAlchemy a tenth of a second. A process that fills
    # in templates runs no agents. `up` starts
    # the servers before it imports what works with the database. Who waits for a command waits for its imports.
    code = """
import sys
import responsa_local.commands.up
print(*{"grpc", "numpy", "protovalidate", "psycopg", "redis", "responsa_client", "rich", "yaml"} & {*sys.modules})
import responsa_local.commands.admin
print(*{"grpc", "numpy", "redis", "responsa_client", "tokenizers"} & {*sys.modules})
import responsa_etl.sources.in_sandbox
print(*{one for one in sys.modules if one.startswith("responsa_server.agents.nodes")})
import responsa_etl.databases.reading, responsa_etl.sources.service, responsa_etl.sources.syncing
import responsa_server.tools.table, responsa_server.transports.a2a.routes
print(*{"a2a", "mcp", "mcp_types", "opentelemetry.sdk", "sqlalchemy"} & {*sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n\n\n\n"
