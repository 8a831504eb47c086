"""Rules of this repository that no linter checks."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from responsa_server.domain.errors import Reason
from responsa_server.stores.postgres.database import Queries
from tests.instance import ROOT

SERVER = ROOT / "server" / "responsa_server"
CLIENT = ROOT / "clients" / "python" / "responsa_client"
READS_THE_ENVIRONMENT: Mapping[str, str] = {
    "app/settings.py": "the server's settings, and `environment()` for code that passes the environment on",
    "outbound/authorities.py": "reads SSL_CERT_FILE and SSL_CERT_DIR, as OpenSSL does",
    "providers/minilm.py": "sets a variable that keeps onnxruntime silent, before onnxruntime is imported",
    "cli/main.py": (
        "sets a variable that keeps gRPC's own messages off the terminal, before gRPC is "
        "imported, and reads the line that a shell completes"
    ),
    "cli/output.py": "reads the type of the user's terminal",
    str(
        SERVER.with_name("responsa_local") / "commands/up.py"
    ): "hands what --lan sets to the processes of the server",
    "cli/signed_in.py": "reads where the user keeps the state of programs",
}
"""Modules of the server that use os.environ, and the reasons. The command line's client settings read the environment through
pydantic-settings.
"""

NOT_RAISED: Mapping[Reason, str] = {
    Reason.INTERNAL: "`calls/status.py` makes it from unexpected exceptions",
    Reason.RESOURCE_NOT_FOUND: "`NotFound.of` makes it",
    Reason.ETAG_MISMATCH: "`Conflict.of_etag` makes it",
    Reason.ORIGIN_NOT_ALLOWED: "`calls/status.py` makes it once, for Envoy's replies and for the gateway's own check",
}
"""The reasons that the rest of the server does not name. Each value names the place that makes the errors with this reason."""


def sources(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


def test_settings_alone_read_the_environment() -> None:
    readers: set[str] = set()
    for path in sources(SERVER, SERVER.with_name("responsa_etl"), SERVER.with_name("responsa_local"), CLIENT):
        text = path.read_text(encoding="utf-8")
        if not re.search(r"environ|getenv|putenv", text):
            continue
        for node in ast.walk(ast.parse(text)):
            attribute = node if isinstance(node, ast.Attribute) else None
            of_os = attribute and isinstance(attribute.value, ast.Name) and attribute.value.id == "os"
            if attribute and of_os and attribute.attr in ("environ", "getenv", "environb", "putenv"):
                readers.add(str(path.relative_to(SERVER) if path.is_relative_to(SERVER) else path))
            if isinstance(node, ast.ImportFrom) and node.module == "os":
                assert not {name.name for name in node.names} & {"environ", "getenv"}, path
    assert readers <= set(READS_THE_ENVIRONMENT), readers - set(READS_THE_ENVIRONMENT)


def test_every_reason_is_given_by_something() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources(SERVER.parent))
    named = set(re.findall(r"\bReason\.([A-Z_]+)\b", text))
    missing = {reason for reason in Reason if reason.name not in named} - set(NOT_RAISED)
    assert missing == set()


def test_every_query_is_used() -> None:
    files = sorted(path for path in SERVER.parent.rglob("*.sql") if "stores" in path.parts)
    assert len(files) >= 7
    for file in files:
        users = [
            text
            for path in sources(file.parent)
            if f'"{file.name}"' in (text := path.read_text(encoding="utf-8"))
        ]
        assert users, f"nothing opens {file.name}"
        package = ".".join(file.parent.relative_to(SERVER.parent).parts)
        statements = file.read_text(encoding="utf-8")
        unused = {
            name
            for name in Queries(file.name, package=package).names()
            if f"{{{name}}}" not in statements and not any(f'"{name}"' in text for text in users)
        }
        assert not unused, f"{file.name}: nothing uses {unused}"


def test_no_folder_or_module_is_named_after_nothing() -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "managers", "manager", "misc"}
    for path in sources(SERVER.parent, CLIENT, ROOT / "tests", ROOT / "tools"):
        assert not empty & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}, path


def test_sql_keeps_to_the_length_of_lines() -> None:
    """Ruff checks the lines of Python. Merged migrations never change, so they are left out."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    most = settings["tool"]["ruff"]["lint"]["pycodestyle"]["max-line-length"]
    files = [file for folder in ("server", "tests") for file in sorted((ROOT / folder).rglob("*.sql"))]
    assert len(files) > 30
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            assert len(line) <= most, f"{file}:{number}"


def test_tests_wait_for_conditions() -> None:
    """A sleep is allowed only in a loop, between two checks of a condition."""
    for path in sources(ROOT / "tests"):
        text = path.read_text(encoding="utf-8")
        if ".sleep(" not in text:
            continue
        tree = ast.parse(text)
        loops = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.While | ast.For | ast.AsyncFor)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(node, ast.Call) and isinstance(called, ast.Attribute) and called.attr == "sleep":
                constant = node.args and isinstance(node.args[0], ast.Constant)
                seconds = ast.literal_eval(node.args[0]) if constant else 1
                # A sleep of 0 lets other tasks run. A sleep of a minute or more simulates a hanging part and is not a wait.
                assert seconds == 0 or seconds >= 60 or id(node) in loops, f"{path}:{node.lineno}"


def test_the_places_that_contributing_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:clients|docs|generated|migrations|protos|server|tests|tools)/[\w./-]*)`", text)
    assert len(named) > 30
    assert [path for path in named if not (ROOT / path).exists()] == []


NAMES_OF_NOTHING = {"one", "found", "given", "who", "asked", "told"}
# What binds a name, as text: most files have none of it, and parsing all of them takes seconds of CPU time.
MAY_BIND = re.compile(
    rf"\b(?:{'|'.join(sorted(NAMES_OF_NOTHING))})\b\s*(?:[,:()\]]|in\b|[^\s\w\"']{{0,2}}=(?!=))"
)
KEPT_NAMES = {
    "CallToolOutput.found": "conditions of agents name this key of the state",
    "PromptPassage.found": "as in ScoredPassage",
    "ScoredPassage.found": "milestones of running turns have this key",
}
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def bound_names(owner: ast.AST) -> Iterator[tuple[str, int]]:
    """The names that a function or class binds for more than five lines, with their lines: its own, its parameters or fields,
    and its variables. Loops in one expression have names of their own."""
    if isinstance(owner, ast.ClassDef):
        for statement in owner.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                yield statement.target.id, statement.lineno
    if not isinstance(owner, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    yield owner.name, owner.lineno
    arguments = owner.args
    for parameter in (
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ):
        if parameter is not None:
            yield parameter.arg, parameter.lineno
    lines: dict[str, list[int]] = {}
    assigned: set[str] = set()
    nodes = list[ast.AST](owner.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Name):
            lines.setdefault(node.id, []).append(node.lineno)
            assigned |= {node.id} if isinstance(node.ctx, ast.Store) else set()
        if not isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, *COMPREHENSIONS)
        ):
            nodes += ast.iter_child_nodes(node)
    for name in assigned:
        if max(lines[name]) - min(lines[name]) > 5:
            yield name, min(lines[name])


def test_what_lasts_has_a_name_that_says_what_it_is() -> None:
    folders = (SERVER.parent, *(ROOT / name for name in ("clients/python", "tests", "tools", "bench")))
    bad = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in sources(*folders)
        if MAY_BIND.search(text := path.read_text(encoding="utf-8"))
        for owner in ast.walk(ast.parse(text))
        for name, line in bound_names(owner)
        if name in NAMES_OF_NOTHING and f"{getattr(owner, 'name', '')}.{name}" not in KEPT_NAMES
    ]
    assert not bad, "\n".join(bad)
