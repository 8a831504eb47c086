"""Clients that generators make of the description that a running instance serves compile, and read documents.

The generators come from the package registries, in the versions below: `make soak CAMPAIGN=generated_clients`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx2
import pytest

from responsa_client import Responsa
from tests.callers import Credential, Registry
from tests.instance import ROOT, Instance
from tools.install import DEFAULTS, UV, pip_settings, uv_variables

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

PYTHON: Final = "openapi-python-client==0.29.1"
NPM: Final = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9")
JAVA: Final = "org.openapitools:openapi-generator-cli:7.25.0"
TEXT: Final = b"# The well\n\nThe well in the yard is twelve feet deep.\n"
READS_IN_PYTHON: Final = """
import sys
from responsa_api_client import AuthenticatedClient
from responsa_api_client.api.knowledge_service import knowledge_service_get_document as get, knowledge_service_list_documents as listed

url, key = sys.argv[1:]
with AuthenticatedClient(url, key, raise_on_unexpected_status=True) as client:
    (document,) = listed.sync("default", client=client).documents
    again = get.sync(document.name.removeprefix("documents/"), client=client)
    print(again.title, again.metadata.to_dict(), again.create_time.year > 2000, int(again.size_bytes))
"""
READS_IN_TYPESCRIPT: Final = """
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const [url = "", key = ""] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url, headers: { authorization: `Bearer ${key}` } });
const { data, error } = await client.GET("/v1/collections/{collection}/documents", { params: { path: { collection: "default" } } });
if (!data) throw new Error(error.message);
const [document]: components["schemas"]["responsa.knowledge.v1.Document"][] = data.documents ?? [];
console.log(document?.title, document?.metadata, Number(document?.sizeBytes));
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not in pytest's folder: uv links the packages from its cache, which is on another disk than files in memory.
    (ROOT / "build").mkdir(exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="generated-", dir=ROOT / "build"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def described(instance: Instance, folder: Path) -> Path:
    """The description that the instance serves."""
    path = folder / "openapi.json"
    path.write_bytes(httpx2.get(f"{instance.url}/openapi.json").content)
    return path


@pytest.fixture(scope="module")
def key(instance: Instance, registry: Registry) -> str:
    """The key of a tenant with one document."""
    made = registry.new_tenant().key(Credential.ADMIN)
    with Responsa(instance.url, made) as client:
        client.wait(client.upload(TEXT, source_key="well.md", metadata={"depth": 12}))
    return made


def run(folder: Path, *command: str | Path, **variables: str) -> str:
    """What a command prints. Raises CalledProcessError; its errors are shown."""
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=folder, env=environment, stdout=-1, text=True, check=True).stdout


def test_openapi_python_client_reads_documents(
    instance: Instance, folder: Path, described: Path, key: str
) -> None:
    found = uv_variables(pip_settings() or "")
    assert found is not None, "uv cannot do what the settings of pip say"
    variables = {**DEFAULTS, **found, "VIRTUAL_ENV": str(folder / "venv")}
    programs = folder / "venv" / "bin"
    run(ROOT, UV, "venv", "--quiet", "--python", sys.executable, folder / "venv", **variables)
    run(ROOT, UV, "pip", "install", "--quiet", PYTHON, "ruff", **variables)
    generate = (programs / "openapi-python-client", "generate", "--fail-on-warning")
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    run(folder, *generate, "--path", described, "--output-path", "client", PATH=path)
    said = run(folder / "client", programs / "python", "-c", READS_IN_PYTHON, instance.url, key)
    assert said == f"The well {{'depth': 12.0}} True {len(TEXT)}\n"


def test_openapi_typescript_compiles_strictly_and_reads_documents(
    instance: Instance, folder: Path, described: Path, key: str
) -> None:
    project = folder / "typescript"
    project.mkdir()
    (project / "package.json").write_text('{"type": "module"}')
    (project / "reads.ts").write_text(READS_IN_TYPESCRIPT)
    run(project, "npm", "install", "--silent", "--no-fund", "--no-audit", *NPM, "@types/node@20")
    programs = project / "node_modules" / ".bin"
    run(project, programs / "openapi-typescript", described, "--output", "api.d.ts")
    strict = ("--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess")
    run(project, programs / "tsc", *strict, "--module", "nodenext", "--target", "es2022", "reads.ts")
    said = run(project, "node", "reads.js", instance.url, key)
    assert said == f"The well {{ depth: 12 }} {len(TEXT)}\n"


def test_a_client_of_openapi_generator_compiles(folder: Path, described: Path) -> None:
    copy = ("mvn", "--batch-mode", "--quiet", "dependency:copy", f"-DoutputDirectory={folder}")
    run(folder, *copy, f"-Dartifact={JAVA}")
    (jar,) = folder.glob("*.jar")
    generate = ("java", "-jar", jar, "generate", "--generator-name", "java", "--library", "native")
    run(folder, *generate, "--input-spec", described, "--output", "java")
    run(folder / "java", "mvn", "--batch-mode", "--quiet", "-Dmaven.test.skip=true", "compile")
