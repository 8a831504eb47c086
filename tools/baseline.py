"""Writes the current contract to protos/baseline.binpb and the hashes of the migrations to tests/migrations/merged. Tests
compare later contracts and migrations with what the newest release has in these files, and with the files themselves
before the first release. Run this script when additions are final."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = "protos/baseline.binpb"
MERGED = "tests/migrations/merged"


def releases(root: Path = ROOT) -> Sequence[str]:
    """The tags of the releases that the checked out commit comes after, the oldest first. Raises RuntimeError in a
    checkout without the whole history, which may lack tags."""
    if _git(root, "rev-parse", "--is-shallow-repository").strip() != b"false":
        raise RuntimeError("this checkout lacks its history; run `git fetch --unshallow --tags`")
    return _tags(root, "--merged", "HEAD", "--sort=v:refname")


def tags_of_commit(root: Path = ROOT) -> Sequence[str]:
    """The tags of releases that the checked out commit itself has."""
    return _tags(root, "--points-at", "HEAD")


def _tags(root: Path, *options: str) -> Sequence[str]:
    tags = _git(root, "tag", *options).decode().split()
    return [tag for tag in tags if re.fullmatch(r"v\d+\.\d+\.\d+", tag)]


def published(path: str, root: Path = ROOT) -> bytes:
    """What the newest release has in a file, or what stands there before the first release."""
    tags = releases(root)
    return _git(root, "show", f"{tags[-1]}:{path}") if tags else (root / path).read_bytes()


def hashes(root: Path = ROOT) -> Sequence[str]:
    """The lines of `MERGED` for the migrations as they are."""
    return [
        f"{path.stem} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted((root / "migrations").glob("*.sql"))
    ]


def write_merged(root: Path = ROOT) -> None:
    """Write `MERGED`. Once there is a release, lines are only added."""
    lines = hashes(root)
    if releases(root):
        known = (root / MERGED).read_text(encoding="utf-8").splitlines()
        lines = [*known, *lines[len(known) :]]
    (root / MERGED).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _git(root: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True).stdout


def contract(root: Path = ROOT) -> bytes:
    """The descriptor set as it is, without comments and source positions."""
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString((root / "generated" / "descriptor.binpb").read_bytes())
    for file in files.file:
        file.ClearField("source_code_info")
    return files.SerializeToString(deterministic=True)


def main() -> None:
    """Write both."""
    (ROOT / CONTRACT).write_bytes(contract())
    write_merged()


if __name__ == "__main__":
    main()
