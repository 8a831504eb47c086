"""The programs of other projects that these tests run: where each comes from, in which version, and where it is kept.

Each is built or installed once, by the ordinary client of its registry, into the user's cache. A test fails by the name of the
client if that is missing.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.instance import ROOT

KEYCLOAK: Final = "org.keycloak:keycloak-quarkus-dist:26.7.3:zip"
KUBERNETES: Final = "1.34.1"
HELM: Final = "helm.sh/helm/v3/cmd/helm@v3.22.0"
KWOK: Final = "sigs.k8s.io/kwok/cmd/kwok@v0.8.0"
STAGES: Final = (
    "node/fast/node-initialize",
    "node/heartbeat/node-heartbeat",
    *(f"pod/fast/pod-{stage}" for stage in ("ready", "complete", "delete")),
)
"""The files of kwok that say how its nodes and pods live."""
OPEN_WEBUI: Final = "open-webui==0.12.4"
HEAVY: Final = (
    "accelerate",
    "faster-whisper",
    "onnxruntime",
    "opencv-python-headless",
    "rapidocr",
    "sentence-transformers",
    "torch",
    "transformers",
)
"""Packages of Open WebUI (4 GB) for documents and sounds of its own. It imports each only where it is used, so it runs without them."""
COLLECTOR: Final = ROOT / "tests" / "real" / "collector"
HOSTS: Final = (
    "@openai/codex@0.171.0",
    "opencode-ai@1.18.33",
    "mcp-remote@0.15.1",
    "@anthropic-ai/claude-code@2.1.328",
    "oidc-provider@9.13.3",
)
"""Hosts of MCP, and a provider of OpenID Connect, from the registry of npm."""
ZITADEL: Final = "github.com/zitadel/oidc/v3/example/server@v3.52.0"
RCLONE: Final = "github.com/rclone/rclone@v1.69.3"
FRONT_ENDS: Final = (
    "ai@7.0.173",
    "@ai-sdk/react@4.0.177",
    "@ai-sdk/openai@4.0.118",
    "@ai-sdk/openai-compatible@3.0.92",
    "@assistant-ui/react@0.15.22",
    "@assistant-ui/react-ai-sdk@1.4.12",
    "react@19.3.1",
    "react-dom@19.3.1",
    "@types/react@19",
    "@types/react-dom@19",
)
"""The AI SDK and assistant-ui, from the registry of npm."""
AIDER: Final = "aider-chat==0.86.2"
LLAMA_INDEX: Final = "llama-index-llms-openai-like==0.8.1"
LANGCHAIN: Final = "langchain-openai==1.7.4"
MCP_USE: Final = "mcp-use==1.7.1"
CONTINUE: Final = ("@continuedev/cli@1.5.47",)
GRADIO: Final = ("gradio==6.31.0", "openai==3.57.0")
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "responsa-tools"
INSTALL_SECONDS: Final = 1800


def keycloak() -> Path:
    """The unpacked distribution of Keycloak, which nobody changes: a server needs a copy."""

    def unpack(folder: Path) -> None:
        _run(
            "mvn", "--batch-mode", "--quiet", "dependency:get", "-Dtransitive=false", f"-Dartifact={KEYCLOAK}"
        )
        copy = ("dependency:copy", f"-Dartifact={KEYCLOAK}", f"-DoutputDirectory={folder}")
        _run("mvn", "--batch-mode", "--quiet", "--offline", *copy)
        (packed,) = folder.glob("*.zip")
        shutil.unpack_archive(packed, folder)
        packed.unlink()
        (unpacked,) = folder.iterdir()
        for file in unpacked.iterdir():
            file.rename(folder / file.name)
        unpacked.rmdir()
        (folder / "bin" / "kc.sh").chmod(0o755)

    _needed("java", "Java 17 (openjdk.org)")
    return _kept("keycloak", KEYCLOAK.encode(), unpack)


def collector() -> Path:
    """OpenTelemetry's collector, with the parts that the tests use."""

    def build(folder: Path) -> None:
        _run("go", "build", "-ldflags=-s -w", "-o", str(folder / "collector"), ".", cwd=COLLECTOR)

    sources = b"".join((COLLECTOR / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))
    return _kept("collector", sources, build) / "collector"


def zitadel() -> Path:
    """The example server of ZITADEL's library for providers of OpenID Connect."""

    def build(folder: Path) -> None:
        _run("go", "install", ZITADEL, GOBIN=str(folder))

    return _kept("zitadel", ZITADEL.encode(), build) / "server"


def rclone() -> Path:
    """The command `rclone`, one of whose servers speaks the protocol of S3."""

    def build(folder: Path) -> None:
        _run("go", "install", RCLONE, GOBIN=str(folder))

    return _kept("rclone", RCLONE.encode(), build) / "rclone"


def kubernetes() -> Path:
    """A folder with the programs of Kubernetes' control plane, kubectl, helm, and kwok with its `stages`, which simulates pods."""
    _needed("etcd", "Debian's package etcd-server")
    commands = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")

    def build(folder: Path) -> None:
        module, copy = f"k8s.io/kubernetes@v{KUBERNETES}", folder / "source"
        _run("go", "mod", "download", module)
        asked = subprocess.run(["go", "env", "GOMODCACHE"], check=True, capture_output=True, text=True)
        modules = Path(asked.stdout.strip())
        shutil.copytree(modules / module, copy)
        for place in [copy, *copy.rglob("*")]:
            place.chmod(place.stat().st_mode | 0o200)
        # The module takes its parts from folders that it has only in its repository. Each part is a module too.
        (copy / "go.work").unlink()
        file = copy / "go.mod"
        parts = r"(k8s\.io/[a-z-]+) => \./staging/\S+"
        file.write_text(re.sub(parts, rf"\1 => \1 v0.{KUBERNETES[2:]}", file.read_text()))
        version = f"-X k8s.io/component-base/version.gitVersion=v{KUBERNETES}"
        packages = [f"./cmd/{name}" for name in commands]
        _run("go", "build", "-mod=mod", f"-ldflags=-s -w {version}", "-o", f"{folder}/", *packages, cwd=copy)
        shutil.rmtree(copy)
        for command in (HELM, KWOK):
            _run("go", "install", command, GOBIN=str(folder))
        (folder / "stages").mkdir()
        for stage in STAGES:
            shutil.copy(
                modules / KWOK.replace("/cmd/kwok", "") / "kustomize" / "stage" / f"{stage}.yaml",
                folder / "stages",
            )

    return _kept("kubernetes", " ".join([KUBERNETES, HELM, KWOK, *commands, *STAGES]).encode(), build)


def open_webui() -> Path:
    """The command `open-webui`, in an environment of its own."""

    return python_environment("open-webui", OPEN_WEBUI, without=HEAVY) / "open-webui"


def python_environment(name: str, *packages: str, without: Sequence[str] = ()) -> Path:
    """The folder of the commands of an environment of its own with packages of PyPI. without: packages to leave out."""

    def install(folder: Path) -> None:
        uv = str(Path(sys.executable).with_name("uv"))
        overrides = folder / "without.txt"
        overrides.write_text("".join(f"{name}; python_version < '3'\n" for name in without))
        environment = folder / "environment"
        _run(uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(environment))
        python = str(environment / "bin" / "python")
        _run(uv, "pip", "install", "--quiet", "--python", python, "--override", str(overrides), *packages)

    named = "\n".join([*packages, sys.version, *without])
    return _kept(name, named.encode(), install) / "environment" / "bin"


def hosts() -> Path:
    """The folder with the commands of hosts of MCP; oidc-provider is beside it."""

    return node_modules("hosts", HOSTS) / ".bin"


def front_ends() -> Path:
    """The folder with the modules of the AI SDK and assistant-ui."""
    return node_modules("front-ends", FRONT_ENDS)


def node_modules(name: str, packages: Sequence[str]) -> Path:
    """The folder of the modules of packages of npm."""

    def install(folder: Path) -> None:
        _run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *packages)

    return _kept(name, " ".join(packages).encode(), install) / "node_modules"


def _kept(name: str, inputs: bytes, fill: Callable[[Path], None]) -> Path:
    """The folder of a program in the cache, filled if it is not there yet. A run that is interrupted leaves none."""
    folder = CACHE / f"{name}-{hashlib.sha256(inputs).hexdigest()[:16]}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as place:
            made = Path(place) / name
            made.mkdir()
            fill(made)
            made.rename(folder)
    return folder


def _needed(name: str, what: str) -> None:
    assert shutil.which(name), f"{name} is not installed: {what}"


CLIENTS: Final = {"mvn": "Maven 3.8 (maven.apache.org)", "go": "Go 1.26 (go.dev)"}


def _run(program: str, *arguments: str, cwd: Path = ROOT, **environment: str) -> None:
    if program in CLIENTS:
        _needed(program, CLIENTS[program])
    done = subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env={**os.environ, "UV_SYSTEM_CERTS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, (
        f"{program} {' '.join(arguments)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    )
