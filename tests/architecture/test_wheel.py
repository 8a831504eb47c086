"""The wheel holds every file of the packages that git knows, data files of known kinds alone, and what pyproject.toml adds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.instance import ROOT, plain_environment

SOURCES = ("server", "clients/python", "generated/python")
DATA = frozenset({".json", ".jsonl", ".md", ".pyi", ".sql", ".toml", ".typed", ".vectors", ".yaml", ".zip"})
"""The suffixes of the data files in the packages. A file with another suffix may be there by mistake."""


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
    """A newly built wheel, in the folder, with a source distribution. They are built in a copy without what git ignores, as in a fresh clone."""
    clone = folder / "clone"
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
    return {
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
        for name in ("alert_rules/", "envoy/", "migrations/", "descriptor.", "connection_limit.")
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


def test_the_laboratory_is_in_the_wheel(packed: list[str]) -> None:
    assert {"responsa_lab/evaluation/command.py", "responsa_lab/testing/__main__.py"} <= set(packed)


def test_the_metadata_has_the_licence_and_its_text(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        metadata = {Path(name).name: opened.read(name) for name in opened.namelist() if ".dist-info/" in name}
    assert {b"License-Expression: Apache-2.0", b"License-File: LICENSE"} <= set(
        metadata["METADATA"].splitlines()
    )
    assert metadata["LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_envoys_configuration_needs_no_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path / "installed")
    script = """
from pathlib import Path
from responsa_server.envoy.envoy_config import EnvoyConfig, render
from responsa_server.instance import generated
descriptor = generated("descriptor.binpb")
print(descriptor)
print(len(render(EnvoyConfig(8080, Path("/replicas"), descriptor, "127.0.0.1", connections_per_address=5))))
"""
    environment = plain_environment() | {"PYTHONPATH": str(tmp_path / "installed")}
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    descriptor, size = run.stdout.split()
    assert Path(descriptor) == tmp_path / "installed" / "responsa_server" / "descriptor.binpb"
    assert int(size) > 10_000
