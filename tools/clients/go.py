"""Writes what of the Go client is generated: the stubs (generated/go), and which calls may be repeated (clients/go/repeats.go).

Usage: python -m tools.clients.go

The files are committed, because they need plugins of Go. Without Go, this program only says that it left the stubs as
they are; a test then compares `generated/go/descriptor.sha256` with the contract.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tools.clients.plan import DESCRIPTOR, ROOT, Retry, read
from tools.publishing import wanted

STUBS: Final = ROOT / "generated" / "go"
DIGEST: Final = STUBS / "descriptor.sha256"
REPEATS: Final = ROOT / "clients" / "go" / "repeats.go"
MODULE: Final = wanted()["go.contract"]
PLUGINS: Final[Mapping[str, str]] = {
    "google.golang.org/protobuf/cmd/protoc-gen-go": "v1.36.12",
    "google.golang.org/grpc/cmd/protoc-gen-go-grpc": "v1.6.2",
}
VALIDATE: Final = "buf/validate/validate.proto"
"""The clients do not check the contract's rules. A process in which two packages register this file would not start, so
the stubs do not import it."""


def digest() -> str:
    """The line of `descriptor.sha256` for the contract as it is."""
    return f"{hashlib.sha256(DESCRIPTOR.read_bytes()).hexdigest()}  descriptor.binpb\n"


def write_stubs(go: str) -> None:
    """Write the stubs, without those of messages that are gone."""
    request = plugin_pb2.CodeGeneratorRequest()
    files = FileDescriptorSet.FromString(DESCRIPTOR.read_bytes()).file
    options = ["paths=source_relative"]
    for file in files:
        if file.name == VALIDATE:
            continue
        added = request.proto_file.add()
        added.CopyFrom(file)
        if file.name.startswith("responsa/"):
            if VALIDATE in file.dependency:
                added.dependency.remove(VALIDATE)
            request.file_to_generate.append(file.name)
            _, *parts = PurePosixPath(file.name).parent.parts
            options.append(f"M{file.name}={MODULE}/{'/'.join(parts)};{''.join(parts)}")
    request.parameter = ",".join(options)
    for folder in STUBS.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    for package, version in PLUGINS.items():
        done = subprocess.run(
            [_plugin(go, package, version)],
            input=request.SerializeToString(),
            capture_output=True,
            check=False,
        )
        response = plugin_pb2.CodeGeneratorResponse.FromString(done.stdout)
        if done.returncode != 0 or response.error:
            sys.exit(f"generate: {package} failed: {response.error}{done.stderr.decode()}")
        for file in response.file:
            path = STUBS / PurePosixPath(file.name).relative_to("responsa")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.content, encoding="utf-8")
    DIGEST.write_text(digest(), encoding="utf-8")


def repeats() -> str:
    """The text of repeats.go."""
    retries = {
        f"/{service.package}.{service.name}/{method.name}": method.retry
        for service in read().services
        for method in service.methods
    }
    words = {Retry.ALWAYS: "always", Retry.WITHOUT_ETAG: "withoutEtag"}
    lines = [f'\t"{path}": {words[retry]},' for path, retry in sorted(retries.items()) if retry in words]
    return "\n".join(
        (
            "// Code generated from generated/descriptor.binpb by `make generate`. DO NOT EDIT.",
            "",
            "package responsa",
            "",
            "// repeats has the calls that may be repeated after a lost response.",
            "var repeats = map[string]repeat{",
            *lines,
            "}",
            "",
        )
    )


def _plugin(go: str, package: str, version: str) -> Path:
    """A plugin of protoc, from the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "responsa-tools"
    folder = cache / f"{PurePosixPath(package).name}-{version}"
    program = folder / PurePosixPath(package).name
    if not program.exists():
        environment = {**os.environ, "GOBIN": str(folder)}
        # Outside of any module, so that the version is that of the argument.
        done = subprocess.run(
            [go, "install", f"{package}@{version}"], cwd=cache.parent, env=environment, check=False
        )
        if done.returncode != 0:
            sys.exit(f"generate: go could not install {package} {version}; its message is above")
    return program


def main() -> None:
    """Write the files."""
    go = shutil.which("go")
    if go is None:
        print(
            "generate: Go is not installed (go.dev), so generated/go and clients/go/repeats.go stay as they are"
        )
        return
    write_stubs(go)
    REPEATS.write_text(repeats(), encoding="utf-8")
    subprocess.run([go, "fmt", REPEATS.name], cwd=REPEATS.parent, capture_output=True, check=True)


if __name__ == "__main__":
    main()
