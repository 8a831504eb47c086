"""The wheels of the server and of the Python client hold every file of their packages that git knows, data files of known kinds alone, and what is added to them. They work without a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from responsa_client import Responsa
from tests.instance import ROOT, Instance, eventually, free_port, plain_environment, running
from tools.install import DEFAULTS, UV, pip_settings, uv_variables

PACKAGES = {
    "responsa": ("server/responsa_server", "server/responsa_lab"),
    "responsa_client": (
        "clients/python/responsa_client",
        "generated/python/responsa",
        "generated/python/buf",
    ),
}
"""The folders of the packages in each wheel."""
DATA = frozenset({".json", ".jsonl", ".md", ".pyi", ".sql", ".toml", ".typed", ".vectors", ".yaml", ".zip"})
"""The suffixes of the data files in the packages. A file with another suffix may be there by mistake."""
DIST = "clients/web/dist"
DATACLASSES = "responsa_client/betterproto/"
OVER_GRPCLIB = """
import asyncio, sys
from grpclib.client import Channel
from responsa_client.betterproto.responsa.chat.v1 import AskRequest, ChatServiceStub

async def main(port, key):
    async with Channel("127.0.0.1", int(port)) as channel:
        chat = ChatServiceStub(channel, metadata={"authorization": f"Bearer {key}"})
        async for frame in chat.ask(AskRequest(text="How deep is the well?")):
            print(*(event.answer.text for event in frame.events if event.answer))

asyncio.run(main(*sys.argv[1:]))
"""
"""A question with the dataclasses of betterproto2."""


def known() -> list[str]:
    """The files that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def build(folder: Path) -> Mapping[str, Path]:
    """Newly built wheels in the folder, by the names of their distributions, and the client's source distribution. They are built in a copy without what git ignores but the page, as by `make wheel` in a fresh clone."""
    clone = folder / "clone"
    shutil.copytree(ROOT / DIST, clone / DIST)
    for name in known():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, clone / name)
    for project, targets in ((clone, ["--target", "wheel"]), (clone / "clients" / "python", [])):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--directory", str(folder), *targets],
            cwd=project,
            env=plain_environment(),
            capture_output=True,
            check=True,
        )
    return {wheel.name.partition("-")[0]: wheel for wheel in folder.glob("*.whl")}


def files(wheel: Path) -> list[str]:
    """The names of all files in a wheel. The metadata is left out, because its folder's name contains the version."""
    with zipfile.ZipFile(wheel) as opened:
        return sorted(name for name in opened.namelist() if ".dist-info/" not in name)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return build(tmp_path_factory.mktemp("wheel"))


def settings(folder: str = ".") -> Mapping[str, Any]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))


def expected(distribution: str) -> set[str]:
    """The data files that a wheel must hold: those in the packages, and for the server, what pyproject.toml adds, the page and the documentation."""
    folders = {package: package.rpartition("/")[2] for package in PACKAGES[distribution]}
    added: set[str] = set()
    if distribution == "responsa":
        folders |= settings()["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
        page = {path.relative_to(ROOT / DIST) for path in (ROOT / DIST).rglob("*") if path.is_file()}
        added = {
            *(f"responsa_server/page/{path}" for path in page),
            *(f"responsa_server/docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
            *(f"responsa_server/locks/requirements-{name}.lock" for name in ("model", "embedded", "ocr")),
        }
    return added | {
        inside + name.removeprefix(folder)
        for name in known()
        for folder, inside in folders.items()
        if name == folder or name.startswith(f"{folder}/")
        if not name.endswith(".py")
    }


@pytest.mark.parametrize("distribution", PACKAGES)
def test_a_wheel_holds_the_data_files_of_its_packages(wheels: Mapping[str, Path], distribution: str) -> None:
    packed = files(wheels[distribution])
    held = {name for name in packed if not name.endswith(".py") and not name.startswith(DATACLASSES)}
    assert held == expected(distribution)
    added = tuple(
        f"responsa_server/{name}"
        for name in (
            "alert_rules/",
            "envoy/",
            "migrations/",
            "descriptor.",
            "connection_limit.",
            "page/",
            "locks/",
        )
    )
    assert {name for name in held if Path(name).suffix not in DATA and not name.startswith(added)} == set()


def test_an_image_is_built_from_all_that_the_wheel_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert [
        one
        for one in (*wheel["packages"], *wheel["force-include"])
        if not any(Path(one).is_relative_to(place) for place in allowed)
    ] == []


@pytest.mark.parametrize("distribution", PACKAGES)
def test_every_file_of_the_packages_is_packed(wheels: Mapping[str, Path], distribution: str) -> None:
    packed = set(files(wheels[distribution]))
    wanted = {
        str(path.relative_to((ROOT / package).parent))
        for package in PACKAGES[distribution]
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - packed == set()
    modules = {name for name in packed if name.endswith(".py") and not name.startswith(DATACLASSES)}
    assert modules - wanted == set()


def test_the_generated_parts_of_the_client_are_in_its_source_distribution(wheels: Mapping[str, Path]) -> None:
    (archive,) = wheels["responsa_client"].parent.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    missing = set(files(wheels["responsa_client"])) - names
    assert not missing
    assert "build_hook.py" in names


def test_the_metadata_have_the_licence_and_its_text(wheels: Mapping[str, Path]) -> None:
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as opened:
            metadata = {
                Path(name).name: opened.read(name) for name in opened.namelist() if ".dist-info/" in name
            }
        lines = metadata["METADATA"].splitlines()
        assert {b"License-Expression: Apache-2.0", b"License-File: LICENSE"} <= set(lines)
        assert metadata["LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_the_server_needs_the_client_of_its_own_version() -> None:
    server, client = settings()["project"], settings("clients/python")["project"]
    assert client["version"] == server["version"]
    assert f"responsa-client=={client['version']}" in server["dependencies"]


@dataclass
class Installed(Instance):
    """An instance of an installed wheel."""

    python: Path = Path()

    def command(self, *arguments: str) -> list[str]:
        return [str(self.python), "-m", "responsa_server", *arguments]


def test_installed_wheels_answer_without_a_checkout(wheels: Mapping[str, Path]) -> None:
    # Not in pytest's folder: uv links the packages from its cache, which is on another disk than files in memory, and the paths of sockets stay short.
    (ROOT / "build").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="rsw-", dir=ROOT / "build"))
    python = folder / "venv" / "bin" / "python"
    (folder / "docs").mkdir()
    (folder / "docs" / "well.md").write_text("The well in the yard is twelve feet deep.\n")
    one = Installed(folder / "home", free_port(), {"RESPONSA_DOCS": str(folder)}, python=python)
    try:
        found = uv_variables(pip_settings() or "")
        assert found is not None, "uv cannot do what the settings of pip say"
        variables = {**DEFAULTS, **os.environ, **found, "UV_COMPILE_BYTECODE": "0"}
        subprocess.run(
            [UV, "venv", "--quiet", "--python", sys.executable, python.parents[1]], env=variables, check=True
        )
        install = [UV, "pip", "install", "--quiet", "--python", python, "--constraint", "requirements.lock"]
        client = f"{wheels['responsa_client']}[betterproto]"
        subprocess.run([*install, wheels["responsa"], client, "pip"], cwd=ROOT, env=variables, check=True)
        refused = subprocess.run(
            one.command("up"), env=one.environment, cwd=folder, capture_output=True, text=True, check=False
        )
        assert (refused.returncode, "run `responsa setup`" in refused.stderr) == (1, True), refused.stderr
        subprocess.run(
            one.command("setup"), env=one.environment, cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        with running(one), Responsa(one.url, one.key) as client:
            assert "<title>" in httpx2.get(one.url).text

            def answered() -> bool:
                return "twelve feet" in client.answer("How deep is the well?").terminal_event.answer.text

            eventually(answered, one.said)
            command = [python, "-c", OVER_GRPCLIB, str(one.port), one.key]
            said = subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True).stdout
            assert "twelve feet" in said
    finally:
        shutil.rmtree(folder)
