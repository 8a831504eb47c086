"""Generates the contract's messages as dataclasses of betterproto2, with clients for grpclib, from the descriptor set.

Usage: python -m tools.clients.betterproto FOLDER
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tools.clients.plan import DESCRIPTOR

PACKAGE = '"""The contract as dataclasses of betterproto2, with clients for grpclib. They need `responsa-client[betterproto]`."""\n'


def write(folder: Path) -> None:
    """Write a package into the folder. Raises CalledProcessError if the generator fails."""
    files = FileDescriptorSet.FromString(DESCRIPTOR.read_bytes()).file
    for file in files:
        file.source_code_info.SetInParent()  # without it, the generator fails
    request = CodeGeneratorRequest(
        file_to_generate=[file.name for file in files], proto_file=files, parameter="client_generation=async"
    )
    # The generator runs ruff.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    made = subprocess.run(
        [sys.executable, "-m", "betterproto2_compiler.plugin"],
        env={**os.environ, "PATH": path},
        input=request.SerializeToString(),
        capture_output=True,
        check=True,
    )
    for file in CodeGeneratorResponse.FromString(made.stdout).file:
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(PACKAGE if file.name == "__init__.py" else file.content, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
