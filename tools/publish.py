"""Publishes what tools/release has built, in the registries of each language, if publishing.toml names the owner of the names.

Usage: python tools/publish.py [--notes | --owner | --version]

--notes prints the section of the version in CHANGELOG, --owner a line `owner=…` for a workflow, and --version the version.
docs/maintainers/publishing.md says what the programs read from the environment. It needs no package but Python's own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.publishing import ROOT, owner, wanted


def notes(root: Path = ROOT) -> str:
    """The section of the version in CHANGELOG, without its heading. Exits if there is none."""
    version = wanted(root)["version"]
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(
        rf"^## {re.escape(version)} \(.+\)\n\n(.+?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    if section is None:
        sys.exit(f"publish: CHANGELOG.md has no section {version}")
    return section[1]


def commands(root: Path = ROOT) -> Sequence[tuple[str, Sequence[str]]]:
    """What publishes each package, and the folder in which it runs: a contract before its client."""
    values = wanted(root)
    version = values["version"]
    dist = Path("build", "dist")
    wheels = [
        f"{dist}/{path.name}" for form in ("*.whl", "*.tar.gz") for path in sorted((root / dist).glob(form))
    ]
    tarballs = [
        f"{dist}/{values[f'typescript.{name}'].lstrip('@').replace('/', '-')}-{version}.tgz"
        for name in ("contract", "client")
    ]
    tags = [f"{folder}/v{version}" for folder in ("generated/go", "clients/go")]
    repository = os.environ.get("MAVEN_REPOSITORY", "")
    return [
        (".", ("twine", "upload", *wheels)),
        *((".", ("npm", "publish", "--access", "public", tarball)) for tarball in tarballs),
        *((".", ("git", "tag", tag)) for tag in tags),
        (".", ("git", "push", "origin", *tags)),
        *((folder, ("cargo", "publish")) for folder in ("generated/rust", "clients/rust")),
        ("clients/java", ("mvn", "--batch-mode", "deploy", f"-DaltDeploymentRepository=maven::{repository}")),
    ]


def publish(root: Path = ROOT) -> None:
    """Run the commands until one fails. Without an owner, say so and run none."""
    if not owner(root):
        print("publish: publishing.toml names no owner, so nothing is published")
        return
    for folder, command in commands(root):
        print(f"publish: {' '.join(command)}", flush=True)
        subprocess.run(command, cwd=root / folder, check=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--notes"]:
            print(notes(), end="")
        case ["--owner"]:
            print(f"owner={owner()}")
        case ["--version"]:
            print(wanted()["version"])
        case _:
            publish()
