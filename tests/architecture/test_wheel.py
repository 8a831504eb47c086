"""The wheel holds every file of the packages that git knows, data files of known kinds alone, what pyproject.toml adds, the page and the documentation. It works without a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from responsa_client import Responsa
from tests.instance import ROOT, Instance, eventually, free_port, plain_environment, running
from tools.install import DEFAULTS, UV, pip_settings, uv_variables

SOURCES = ("server", "clients/python", "generated/python")
DATA = frozenset({".json", ".jsonl", ".md", ".pyi", ".sql", ".toml", ".typed", ".vectors", ".yaml", ".zip"})
"""The suffixes of the data files in the packages. A file with another suffix may be there by mistake."""
DIST = "clients/web/dist"


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


def build(folder: Path) -> Path:
    """A newly built wheel, in the folder, with a source distribution. They are built in a copy without what git ignores but the page, as by `make wheel` in a fresh clone."""
    clone = folder / "clone"
    shutil.copytree(ROOT / DIST, clone / DIST)
    for name in known():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, clone / name)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)],
        cwd=clone,
        env=plain_environment(),
        capture_output=True,
        check=True,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def files(wheel: Path) -> list[str]:
    """The names of all files in a wheel. The metadata is left out, because its folder's name contains the version."""
    with zipfile.ZipFile(wheel) as opened:
        return sorted(name for name in opened.namelist() if ".dist-info/" not in name)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def packed(wheel: Path) -> list[str]:
    return files(wheel)


def expected() -> set[str]:
    """The data files that the wheel must hold: those in the packages, and what pyproject.toml adds."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    folders = {package: package.rpartition("/")[2] for package in wheel["packages"]} | wheel["force-include"]
    page = {path.relative_to(ROOT / DIST) for path in (ROOT / DIST).rglob("*") if path.is_file()}
    return {
        *(f"responsa_server/page/{path}" for path in page),
        *(f"responsa_server/docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
        *(f"responsa_server/locks/requirements-{name}.lock" for name in ("model", "embedded", "ocr")),
    } | {
        inside + name.removeprefix(folder)
        for name in known()
        for folder, inside in folders.items()
        if name == folder or name.startswith(f"{folder}/")
        if not name.endswith(".py")
    }


def test_the_wheel_holds_the_data_files_of_the_packages(packed: list[str]) -> None:
    held = {name for name in packed if not name.endswith(".py")}
    assert held == expected()
    added = tuple(
        f"responsa_server/{name}"
        for name in ("envoy/", "migrations/", "descriptor.", "connection_limit.", "page/", "locks/")
    )
    assert {name for name in held if Path(name).suffix not in DATA and not name.startswith(added)} == set()


def test_every_file_of_the_packages_is_packed(packed: list[str]) -> None:
    files = {
        str(path.relative_to(ROOT / source))
        for source in SOURCES
        for path in (ROOT / source).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sorted(files - set(packed)) == []


def test_the_generated_part_of_the_client_is_in_the_source_distribution(wheel: Path) -> None:
    (archive,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    client = "clients/python/responsa_client"
    assert {
        f"{client}/aio/methods.py",
        f"{client}/blocking/client.py",
        "tools/clients/build_hook.py",
    } <= names


def test_the_metadata_has_the_licence_and_its_text(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        metadata = {Path(name).name: opened.read(name) for name in opened.namelist() if ".dist-info/" in name}
    assert {b"License-Expression: Apache-2.0", b"License-File: LICENSE"} <= set(
        metadata["METADATA"].splitlines()
    )
    assert metadata["LICENSE"] == (ROOT / "LICENSE").read_bytes()


@dataclass
class Installed(Instance):
    """An instance of an installed wheel."""

    python: Path = Path()

    def command(self, *arguments: str) -> list[str]:
        return [str(self.python), "-m", "responsa_server", *arguments]


def test_an_installed_wheel_answers_without_a_checkout(wheel: Path) -> None:
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
        subprocess.run([*install, wheel, "pip"], cwd=ROOT, env=variables, check=True)
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
    finally:
        shutil.rmtree(folder)
