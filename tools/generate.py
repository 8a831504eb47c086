"""Generates all code from protos/ (Python, TypeScript and the descriptor set), and compiles Envoy's filter. It uses
only installed packages.

Usage: python -m tools.generate [--out DIR]   (DIR defaults to generated/; the freshness test uses another folder)
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from grpc_tools import protoc

from tools.imported_protos import GOOGLE, VALIDATE, validate_file

ROOT = Path(__file__).resolve().parent.parent
STANDARD = (
    any_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)


def _validate_set(folder: Path) -> Path:
    """Writes a descriptor set with the standard types and with protovalidate's rules, which come from the installed package."""
    result = descriptor_pb2.FileDescriptorSet()
    for module in STANDARD:
        module.DESCRIPTOR.CopyToProto(result.file.add())
    result.file.add().CopyFrom(validate_file())
    for file in result.file:
        file.source_code_info.SetInParent()
    path = folder / "validate.binpb"
    path.write_bytes(result.SerializeToString())
    return path


def _without_empty_source_info(path: Path) -> None:
    """Removes source information without any location from a descriptor set. Rust's generator, prost-build, panics if it finds some."""
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString(path.read_bytes())
    for file in files.file:
        if not file.source_code_info.location:
            file.ClearField("source_code_info")
    path.write_bytes(files.SerializeToString())


def _without_rules(source: Path, target: Path, ours: list[str]) -> None:
    """Writes a descriptor set whose files do not import protovalidate's rules. The rules stay in it, as options that a
    program need not know."""
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString(source.read_bytes())
    for file in files.file:
        if file.name in ours and VALIDATE in file.dependency:
            file.dependency.remove(VALIDATE)
        # protoc adds the names of JSON to a descriptor set, which follow from the fields' names.
        messages = [*file.message_type]
        fields = [*file.extension]
        for message in messages:
            messages += message.nested_type
            fields += message.field
        for field in fields:
            field.ClearField("json_name")
    target.write_bytes(files.SerializeToString())


def _run(arguments: list[str]) -> None:
    if protoc.main(["protoc", *arguments]) != 0:  # pyright: ignore[reportUnknownMemberType]  # the package has no types
        sys.exit("generate: protoc failed; its message is above")


def _compile_filter(out: Path) -> None:
    """Compiles the filter of connections. It has no objects that need a garbage collector (`stub`), and nothing that could call `abort`."""
    compiler = ROOT / "node_modules" / ".bin" / "asc"
    if not compiler.exists():
        sys.exit("generate: asc is missing; run `npm ci` first")
    options = ("-O3", "--converge", "--runtime", "stub", "--noAssert", "--use", "abort=")
    source = ROOT / "envoy" / "connection_limit.ts"
    if subprocess.run([compiler, source, "--outFile", out, *options], cwd=ROOT, check=False).returncode != 0:
        sys.exit("generate: asc failed; its message is above")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "generated")
    parser.add_argument("--only", choices=["python", "ts", "descriptor", "filter"], action="append")
    options = parser.parse_args()
    wanted = set(options.only or ["python", "ts", "descriptor", "filter"])
    out: Path = options.out.resolve()
    ours = sorted(
        str(path.relative_to(ROOT / "protos")) for path in (ROOT / "protos" / "responsa").rglob("*.proto")
    )
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as name:
        build = Path(name)
        standard = _validate_set(build)
        imported = ROOT / "protos"
        # The imported files are passed as descriptors, because protoc accepts either sources or descriptors for its imports, not both.
        imports = build / "imports.binpb"
        _run([f"--descriptor_set_in={standard}", f"--proto_path={imported}", "--include_imports",
              f"--descriptor_set_out={imports}", *GOOGLE])  # fmt: skip
        merged = build / "merged.binpb"
        both = descriptor_pb2.FileDescriptorSet()
        seen: set[str] = set()
        for path in (standard, imports):
            part = descriptor_pb2.FileDescriptorSet()
            part.ParseFromString(path.read_bytes())
            for file in part.file:
                if file.name not in seen:
                    seen.add(file.name)
                    file.source_code_info.SetInParent()
                    both.file.append(file)
        merged.write_bytes(both.SerializeToString())
        # Alone, because protoc would take the sources of imports before their descriptors.
        sources = build / "sources"
        sources.mkdir()
        (sources / "responsa").symlink_to(ROOT / "protos" / "responsa")
        base = [f"--descriptor_set_in={merged}", f"--proto_path={sources}"]
        descriptor = build / "descriptor.binpb"
        _run([*base, "--include_imports", "--include_source_info", f"--descriptor_set_out={descriptor}",
              *ours, "google/longrunning/operations.proto", "google/rpc/error_details.proto"])  # fmt: skip
        if "descriptor" in wanted:
            out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(descriptor, out / "descriptor.binpb")
            _without_empty_source_info(out / "descriptor.binpb")
        if "python" in wanted:
            python = out / "python"
            shutil.rmtree(python / "responsa", ignore_errors=True)
            python.mkdir(parents=True, exist_ok=True)
            # A program may have rules of another version of protovalidate, and two files of one name do not fit into a
            # process. So the client does not load ours.
            _without_rules(descriptor, build / "plain.binpb", ours)
            plain = f"--descriptor_set_in={build / 'plain.binpb'}"
            _run([plain, f"--python_out={python}", f"--mypy_out=quiet:{python}", *ours])
            _run([plain, f"--grpc_python_out={python}", f"--mypy_grpc_out=quiet,only_async:{python}",
                  *(name for name in ours if name.endswith("_service.proto"))])  # fmt: skip
            rules = build / "rules"
            rules.mkdir()
            _run([*base, f"--python_out={rules}", f"--mypy_out=quiet:{rules}", VALIDATE])
            shutil.copytree((rules / VALIDATE).parent, python / "responsa" / "rules")
        if "ts" in wanted:
            ts = out / "ts"
            shutil.rmtree(ts / "src", ignore_errors=True)
            (ts / "src").mkdir(parents=True)
            plugin = ROOT / "node_modules" / ".bin" / "protoc-gen-es"
            if not plugin.exists():
                sys.exit("generate: protoc-gen-es is missing; run `npm ci` first")
            _run([*base, f"--plugin=protoc-gen-es={plugin}", f"--es_out=target=js+dts,import_extension=js:{ts / 'src'}",
                  *ours, *GOOGLE, VALIDATE])  # fmt: skip
        if "filter" in wanted:
            out.mkdir(parents=True, exist_ok=True)
            _compile_filter(out / "connection_limit.wasm")


if __name__ == "__main__":
    main()
