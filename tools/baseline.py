"""Writes the current contract to protos/baseline.binpb, with which `buf breaking` compares later contracts, and adds
the hashes of new migrations to tests/migrations/merged. Run this script when additions are final."""

from __future__ import annotations

import hashlib
from pathlib import Path

from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parent.parent


def _add_migrations() -> None:
    merged = ROOT / "tests" / "migrations" / "merged"
    text = merged.read_text(encoding="utf-8")
    known = {line.partition(" ")[0] for line in text.splitlines()}
    for path in sorted((ROOT / "migrations").glob("*.sql")):
        if path.stem not in known:
            text += f"{path.stem} {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
    merged.write_text(text, encoding="utf-8")


def main() -> None:
    """Copies the descriptor set without comments and source positions."""
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString((ROOT / "generated" / "descriptor.binpb").read_bytes())
    for file in files.file:
        file.ClearField("source_code_info")
    (ROOT / "protos" / "baseline.binpb").write_bytes(files.SerializeToString(deterministic=True))
    _add_migrations()


if __name__ == "__main__":
    main()
