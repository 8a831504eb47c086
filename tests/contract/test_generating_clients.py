"""Clients for other languages, generated as docs/api.md describes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.docs.reader import Block, blocks
from tests.instance import ROOT

PAGE: Final = ROOT / "docs" / "api.md"
PLUGINS: Final = ("protoc-gen-go", "protoc-gen-go-grpc")
RECORDER: Final = """#!{python}
import pathlib, sys
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse

request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
packages = {{one.name: one.options.go_package for one in request.proto_file}}
suffix = pathlib.Path(sys.argv[0]).name
files = [
    CodeGeneratorResponse.File(name=f"{{name}}.{{suffix}}", content="".join(f"{{one}} {{packages[one]}}\\n" for one in packages))
    for name in request.file_to_generate
]
sys.stdout.buffer.write(CodeGeneratorResponse(file=files).SerializeToString())
"""


def block(kind: str, holds: str) -> Block:
    """The only block of the page of this kind that contains this text."""
    (found,) = (
        one for one in blocks(PAGE.read_text(encoding="utf-8")) if one.kind == kind and holds in one.text
    )
    return found


def with_plugins(tmp_path: Path) -> Mapping[str, str]:
    """The environment of commands that find `PLUGINS`, which record what they are to generate."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in PLUGINS:
        path = programs / name
        path.write_text(RECORDER.format(python=sys.executable))
        path.chmod(0o755)
    path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"]))
    return {**os.environ, "PATH": path}


def test_the_documented_template_generates_the_whole_contract(tmp_path: Path) -> None:
    own = tmp_path / "ask"
    own.mkdir()
    template = block("yaml", "protoc-gen-go-grpc")
    (own / template.path).write_text(template.text)
    (tmp_path / "responsa").symlink_to(ROOT)
    command = shlex.split(block("sh", "buf generate").text)
    subprocess.run(command, cwd=own, env=with_plugins(tmp_path), check=True, timeout=120)

    gen = own / "gen"
    protos = {
        f"{path.relative_to(ROOT / 'protos')}" for path in (ROOT / "protos" / "responsa").rglob("*.proto")
    }
    made = {str(path.relative_to(gen)) for path in gen.rglob("*") if path.is_file()}
    assert made == {
        f"{name}.{plugin}" for name in (*protos, "buf/validate/validate.proto") for plugin in PLUGINS
    }
    told = (gen / f"responsa/chat/v1/chat_service.proto.{PLUGINS[0]}").read_text().splitlines()
    packages = dict(line.split(" ") for line in told)
    assert packages["responsa/type/v1/scope.proto"] == "example.org/ask/gen/responsa/type/v1;typev1"
    assert packages["google/api/http.proto"].startswith("google.golang.org/")
    for name, package in packages.items():
        assert package.startswith("example.org/ask/gen/") is name.startswith(("responsa/", "buf/")), name


def test_buf_and_protoc_read_a_clone(tmp_path: Path) -> None:
    subprocess.run(["git", "checkout-index", "--all", f"--prefix={tmp_path}/clone/"], cwd=ROOT, check=True)
    clone = tmp_path / "clone"
    assert not (clone / "build").exists()
    environment = with_plugins(tmp_path)
    subprocess.run(["buf", "lint"], cwd=clone, env=environment, check=True, timeout=120)
    own = tmp_path / "ask"
    own.mkdir()
    template = block("yaml", "protoc-gen-go-grpc")
    (own / template.path).write_text(template.text)
    subprocess.run(["buf", "generate", "../clone"], cwd=own, env=environment, check=True, timeout=120)
    service = "responsa/chat/v1/chat_service"
    assert (own / "gen" / f"{service}.proto.protoc-gen-go").is_file()
    protoc = (sys.executable, "-m", "grpc_tools.protoc", "-I", "protos", f"--python_out={own}")
    subprocess.run([*protoc, f"{service}.proto"], cwd=clone, check=True)
    assert (own / f"{service}_pb2.py").is_file()


def test_source_information_of_the_descriptor_set_is_never_empty() -> None:
    """Rust's generator, prost-build, panics if a file has source information without any location."""
    files = FileDescriptorSet.FromString((ROOT / "generated" / "descriptor.binpb").read_bytes())
    told = {
        one.name: len(one.source_code_info.location) for one in files.file if one.HasField("source_code_info")
    }
    assert 0 not in told.values()
    assert told["responsa/chat/v1/chat_service.proto"] > 100, "the comments of the contract are there"
