"""Packs the clients as their languages publish them, and for Python the parsers of documents too: wheels and source
distributions, tarballs of npm, modules of Go, crates, and a Maven repository.

Usage: python -m tools.clients.pack FOLDER [LANGUAGE…]

Without a language, it packs all clients. The version and the names are those of publishing.toml.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tools.publishing import ROOT, wanted


def pack_python(root: Path, out: Path) -> None:
    """The source distributions of the client and of the formats, and the wheels that are built from these alone."""
    values = wanted(root)
    build = (sys.executable, "-m", "hatchling", "build", "--directory", out)
    for key, place in (("python.client", "clients/python"), ("python.formats", "server/responsa_formats")):
        _run(root / place, *build, "--target", "sdist")
        name = f"{values[key].replace('-', '_')}-{values['version']}"
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(out / f"{name}.tar.gz") as opened:
                opened.extractall(folder, filter="data")
            _run(Path(folder, name), *build, "--target", "wheel")


def pack_typescript(root: Path, out: Path) -> None:
    """A tarball of the client, which must be built, and one of the contract."""
    pack = ("npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", out)
    _run(root, *pack, "--workspace", "generated/ts", "--workspace", "clients/typescript")


def pack_go(root: Path, out: Path) -> None:
    """Both modules in `go`, a folder that GOPROXY may name."""
    values = wanted(root)
    version = f"v{values['version']}"
    for folder, name in (("generated/go", "go.contract"), ("clients/go", "go.client")):
        module = values[name]
        place = out / "go" / module / "@v"
        place.mkdir(parents=True, exist_ok=True)
        (place / "list").write_text(f"{version}\n", encoding="utf-8")
        (place / f"{version}.info").write_text(json.dumps({"Version": version}), encoding="utf-8")
        shutil.copyfile(root / folder / "go.mod", place / f"{version}.mod")
        with zipfile.ZipFile(place / f"{version}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            for file in sorted((root / folder).rglob("*")):
                if file.is_file():
                    packed.write(file, f"{module}@{version}/{file.relative_to(root / folder)}")


def pack_rust(root: Path, out: Path) -> None:
    """The crates of the contract and the client. They are not compiled here, because the client's dependency need not be published."""
    pack = ("cargo", "package", "--quiet", "--no-verify", "--allow-dirty", "--exclude-lockfile")
    with tempfile.TemporaryDirectory() as build:
        for folder in ("generated/rust", "clients/rust"):
            _run(root / folder, *pack, "--target-dir", build)
        for crate in Path(build, "package").glob("*.crate"):
            shutil.copy(crate, out)


def pack_java(root: Path, out: Path) -> None:
    """The client's jar in `maven`, a Maven repository."""
    repository = f"packed::file://{out}/maven"
    deploy = ("mvn", "--batch-mode", "--quiet", "-DskipTests", "deploy")
    _run(root / "clients" / "java", *deploy, f"-DaltDeploymentRepository={repository}")


PACKERS: Final[Mapping[str, Callable[[Path, Path], None]]] = {
    "python": pack_python,
    "typescript": pack_typescript,
    "go": pack_go,
    "rust": pack_rust,
    "java": pack_java,
}
"""What packs each client of a checkout into a folder. Raises CalledProcessError, or FileNotFoundError without the language's toolchain."""


def _run(folder: Path, *command: str | Path) -> None:
    subprocess.run(command, cwd=folder, check=True)


def main() -> None:
    """Pack what the arguments name."""
    out, *languages = sys.argv[1:]
    folder = Path(out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for language in languages or PACKERS:
        PACKERS[language](ROOT, folder)


if __name__ == "__main__":
    main()
