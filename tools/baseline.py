"""Writes the current contract to protos/baseline.binpb. `buf breaking` compares later contracts with this file. Run this script when additions are final."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Copies the descriptor set without comments and source positions."""
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString((ROOT / "generated" / "descriptor.binpb").read_bytes())
    for file in files.file:
        file.ClearField("source_code_info")
    (ROOT / "protos" / "baseline.binpb").write_bytes(files.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
