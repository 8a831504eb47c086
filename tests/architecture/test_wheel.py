"""The wheels of the server and of the Python client hold every file of their packages that git knows, data files of
known kinds alone, and what is added to them. They work without a checkout. The client's is built from its source
distribution."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from responsa_client import Responsa
from responsa_client.errors import FailedPrecondition
from responsa_local.embedded import EmbeddedPostgres, LocalLayout
from responsa_server.system import plugins
from responsa_server.system.fixable import Fixable
from responsa_server.system.plugins import Group, load_rows
from tests import seeds
from tests.clients.packed import clone, known
from tests.docs.reader import blocks
from tests.instance import ROOT, Instance, eventually, free_port, plain_environment, running
from tests.system.echo import Echo
from tests.tied import tied
from tools.clients.pack import pack_python
from tools.install import DEFAULTS, UV, pip_settings, uv_variables

PACKAGES = {
    "responsa": (
        "server/responsa_server",
        "server/responsa_etl",
        "server/responsa_local",
        "server/responsa_lab",
        "generated/python/responsa_contract",
    ),
    "responsa_formats": ("server/responsa_formats",),
    "responsa_client": (
        "clients/python/responsa_client",
        "generated/python/responsa",
    ),
}
"""The folders of the packages in each wheel."""
PACKING = {f"server/responsa_formats/{name}" for name in ("LICENSE", "README.md", "pyproject.toml")}
"""What a package is packed with."""
DATA = frozenset(
    {".bin", ".json", ".jsonl", ".md", ".pyi", ".sql", ".toml", ".typed", ".vectors", ".yaml", ".zip"}
)
"""The suffixes of the data files in the packages. A file with another suffix may be there by mistake."""
DIST = "clients/web/dist"
VECTORS = "server/responsa_server/ingest/shipped.vectors"
DATACLASSES = "responsa_client/betterproto/"
OVER_GRPCLIB = """
import asyncio, sys
from grpclib.client import Channel
from responsa_client.betterproto.responsa.chat.v1 import AskRequest, ChatServiceStub

async def main(port, key):
    async with Channel("127.0.0.1", int(port)) as channel:
        chat = ChatServiceStub(channel, metadata={"authorization": f"Bearer {key}"})
        async for frame in chat.ask(AskRequest(text="How deep is the well?")):
            print(*(event.answer.text for event in frame.events if event.answer))

asyncio.run(main(*sys.argv[1:]))
"""
"""A question with the dataclasses of betterproto2."""
BESIDE_OTHER_RULES = """
import runpy, sys
from google.protobuf import descriptor_pb2, descriptor_pool

other = descriptor_pb2.FileDescriptorProto(name="buf/validate/validate.proto", package="buf.validate")
descriptor_pool.Default().AddSerializedFile(other.SerializeToString())
runpy.run_path(sys.argv[1], run_name="__main__")
"""
"""A program in a process that has loaded protovalidate's rules of another version."""
EXAMPLE = ROOT / "tests" / "fixtures" / "example"
"""The distribution of docs/maintainers/extending.md."""
COUNTER = """
name = "Counter"
start = "count"
model = { chain = ["passages"] }
tools = { use = ["word_count"] }

[nodes]
count = { kind = "counter" }
call = { kind = "tool_caller" }

[graph]
edges = [
  { from = "count", to = "finish", when = { field = "calls", empty = true } },
  { from = "count", to = "call", limit = 1 },
  { from = "count", to = "finish" },
  { from = "call", to = "count" },
]
"""
"""An agent of the example's node and tool."""
SPEAKER = """
name = "Speaker"
start = "write"
model = { chain = ["lab:any"] }

[nodes]
write = { kind = "prompt", prompt = "say" }
"""
"""An agent of the example's provider."""


def build(folder: Path) -> Mapping[str, Path]:
    """Newly built wheels in the folder, by the names of their distributions. They are built in a copy without what git
    ignores but the page and the vectors, as by `tools/wheel` in a fresh clone."""
    copy = clone(folder / "clone")
    shutil.copytree(ROOT / DIST, copy / DIST)
    shutil.copyfile(ROOT / VECTORS, copy / VECTORS)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(folder), "--target", "wheel"],
        cwd=copy,
        env=plain_environment(),
        capture_output=True,
        check=True,
    )
    pack_python(copy, folder)
    return {wheel.name.partition("-")[0]: wheel for wheel in folder.glob("*.whl")}


def files(wheel: Path) -> list[str]:
    """The names of all files in a wheel. The metadata is left out, because its folder's name contains the version."""
    with zipfile.ZipFile(wheel) as opened:
        return sorted(name for name in opened.namelist() if ".dist-info/" not in name)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return build(tmp_path_factory.mktemp("wheel"))


def settings(folder: str = ".") -> Mapping[str, Any]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))


def expected(distribution: str) -> set[str]:
    """The data files that a wheel must hold: those in the packages, and for the server, what pyproject.toml adds, the
    page and the documentation."""
    folders = {package: package.rpartition("/")[2] for package in PACKAGES[distribution]}
    added: set[str] = set()
    if distribution == "responsa":
        folders |= settings()["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
        page = {path.relative_to(ROOT / DIST) for path in (ROOT / DIST).rglob("*") if path.is_file()}
        added = {
            *(f"responsa_server/page/{path}" for path in page),
            *(f"responsa_server/docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
            "responsa_server/ingest/shipped.vectors",
            *(f"responsa_server/locks/requirements-{name}.lock" for name in ("model", "embedded", "ocr")),
        }
    return added | {
        inside + name.removeprefix(folder)
        for name in known()
        for folder, inside in folders.items()
        if name == folder or name.startswith(f"{folder}/")
        if not name.endswith(".py") and name not in PACKING
    }


@pytest.mark.parametrize("distribution", PACKAGES)
def test_a_wheel_holds_the_data_files_of_its_packages(wheels: Mapping[str, Path], distribution: str) -> None:
    packed = files(wheels[distribution])
    held = {name for name in packed if not name.endswith(".py") and not name.startswith(DATACLASSES)}
    assert held == expected(distribution)
    added = tuple(
        f"responsa_server/{name}"
        for name in (
            "migrations/",
            "descriptor.",
            "connection_limit.",
            "page/",
            "locks/",
        )
    )
    assert {
        name
        for name in held
        if Path(name).suffix not in DATA and not name.startswith((*added, "responsa_local/envoy/"))
    } == set()


def test_an_image_is_built_from_all_that_the_wheel_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert [
        one
        for one in (*wheel["packages"], *wheel["force-include"])
        if not any(Path(one).is_relative_to(place) for place in allowed)
    ] == []


@pytest.mark.parametrize("distribution", PACKAGES)
def test_every_file_of_the_packages_is_packed(wheels: Mapping[str, Path], distribution: str) -> None:
    packed = set(files(wheels[distribution]))
    wanted = {
        str(path.relative_to((ROOT / package).parent))
        for package in PACKAGES[distribution]
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and str(path.relative_to(ROOT)) not in PACKING
    }
    assert wanted - packed == set()
    modules = {name for name in packed if name.endswith(".py") and not name.startswith(DATACLASSES)}
    assert modules - wanted == set()


def test_the_metadata_have_the_licence_and_its_text(wheels: Mapping[str, Path]) -> None:
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as opened:
            metadata = {
                Path(name).name: opened.read(name) for name in opened.namelist() if ".dist-info/" in name
            }
        lines = metadata["METADATA"].splitlines()
        assert {b"License-Expression: Apache-2.0", b"License-File: LICENSE"} <= set(lines)
        assert metadata["LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_the_server_needs_the_client_and_the_formats_of_its_own_version() -> None:
    server = settings()["project"]
    assert f"responsa-client=={server['version']}" in server["dependencies"]
    assert f"responsa-formats=={server['version']}" in server["dependencies"]
    others = [settings(folder)["project"] for folder in ("clients/python", "server/responsa_formats")]
    assert {project["version"] for project in others} == {server["version"]}


@dataclass
class Installed(Instance):
    """An instance of an installed wheel."""

    python: Path = Path()

    def command(self, *arguments: str) -> list[str]:
        return [str(self.python), "-m", "responsa_server", *arguments]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for environments. It is not in pytest's: uv links the packages from its cache, which is on another disk
    than files in memory, and the paths of sockets stay short."""
    (ROOT / "build").mkdir(exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="rsw-", dir=ROOT / "build"))
    yield made
    shutil.rmtree(made)


def install(python: Path, *packages: str | Path) -> None:
    """Install packages into an environment, which is made if there is none."""
    found = uv_variables(pip_settings() or "")
    assert found is not None, "uv cannot do what the settings of pip say"
    variables = {**DEFAULTS, **os.environ, **found, "UV_COMPILE_BYTECODE": "0"}
    if not python.exists():
        make = [UV, "venv", "--quiet", "--python", sys.executable, python.parents[1]]
        subprocess.run(make, env=variables, check=True)
    command = [UV, "pip", "install", "--quiet", "--python", python, "--constraint", "locks/requirements.lock"]
    subprocess.run([*command, *packages], cwd=ROOT, env=variables, check=True)
    link_compiled(python)


def link_compiled(python: Path) -> None:
    """Give an environment the compiled modules of the tests' own. uv links the same files into both, and each new
    environment would compile them again. Python passes over a compiled module whose source differs."""
    own = Path(sysconfig.get_path("purelib"))
    (new,) = python.parents[1].glob("lib/python*/site-packages")
    for folder in (new, *[path for path in new.rglob("*/") if path.name != "__pycache__"]):
        compiled = own / folder.relative_to(new) / "__pycache__"
        if compiled.is_dir() and not (folder / "__pycache__").exists():
            shutil.copytree(compiled, folder / "__pycache__", copy_function=link)


def link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # they are on two disks
        shutil.copyfile(source, target)


@pytest.fixture(scope="module")
def model() -> Iterator[Echo]:
    """A server that the example's provider asks."""
    one = Echo()
    yield one
    one.close()


@pytest.fixture(scope="module")
def server(wheels: Mapping[str, Path], folder: Path, model: Echo) -> Installed:
    """An instance that is not started, and an environment with the server, Envoy and the example alone."""
    (folder / "docs").mkdir()
    (folder / "docs" / "well.md").write_text("The well in the yard is twelve feet deep.\n")
    (folder / "docs" / "hof.md").write_text("Die Pumpe im Hof ist aus Gusseisen.\n")
    python = folder / "venv" / "bin" / "python"
    chosen = {
        "RESPONSA_DOCS": str(folder),
        "RESPONSA_MODELS__SERVERS__LAB__URL": model.url,
        "RESPONSA_MODELS__SERVERS__LAB__WIRE": "house",
    }
    # All commands are those of the wheel, because the checkout does not know the wire.
    installed = Installed(folder / "home", free_port(), chosen, within=("env",), python=python)
    shutil.copytree(EXAMPLE, folder / "example")
    pack = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder), "--target", "wheel"]
    subprocess.run(pack, cwd=folder / "example", env=plain_environment(), capture_output=True, check=True)
    (example,) = folder.glob("responsa_example-*.whl")
    install(
        python,
        f"{wheels['responsa']}[server,envoy]",
        wheels["responsa_client"],
        wheels["responsa_formats"],
        example,
        "pip",
    )
    seeds.plant(LocalLayout.of(installed.home).prepare())
    for name, text in {"counter": COUNTER, "speaker": SPEAKER}.items():
        (installed.home / "agents" / name / "prompts").mkdir(parents=True)
        (installed.home / "agents" / name / "agent.toml").write_text(text)
    (installed.home / "agents" / "speaker" / "prompts" / "say.md").write_text("Say: from the house\n")
    refused = ran(installed, "serve")
    assert (refused.returncode, "run `responsa setup`" in refused.stderr) == (1, True), refused.stderr
    assert ran(installed, "setup").returncode == 0
    return installed


def ran(
    installed: Installed, *arguments: str, python: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """A command that has ended. python: that of another environment than the instance's."""
    command = [python or installed.python, *installed.command(*arguments)[1:]]
    return subprocess.run(
        command,
        env=installed.environment,
        cwd=installed.home.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_server_without_other_extras_serves_and_names_the_extra_that_a_call_needs(
    server: Installed,
) -> None:
    postgres = EmbeddedPostgres(LocalLayout.of(server.home))
    postgres.start()
    try:
        server.run("admin", "create-tenant", "default")
        user = server.run("admin", "create-user", "default", "Ann", "--role", "admin").stdout.strip()
        key = server.run("admin", "create-key", "default", user).stdout.strip()
        with serving(server) as target, Responsa(target, key) as client:
            assert client.me().name == user
            with pytest.raises(FailedPrecondition, match=r"responsa\[etl\]") as refused:
                next(iter(client.sources()))
            assert refused.value.reason == "EXTRA_NOT_INSTALLED"
            assert refused.value.metadata == {"extra": "etl"}
    finally:
        postgres.stop()


@contextmanager
def serving(installed: Installed) -> Generator[str]:
    """The address of a server process of the instance, without Envoy."""
    port, log = free_port(), installed.home / "served.log"
    with log.open("wb") as output:
        command = tied(*installed.command("serve", "--listen", f"127.0.0.1:{port}"))
        process = subprocess.Popen(
            command, env=installed.environment, cwd=installed.home, stdout=output, stderr=output
        )

    def begun() -> bool:
        assert process.poll() is None, log.read_text()
        return '"ready"' in log.read_text()

    try:
        eventually(begun, log.read_text)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)  # it drains at once
        assert process.wait(60) == 0, log.read_text()


@pytest.fixture(scope="module")
def whole(server: Installed, wheels: Mapping[str, Path]) -> Iterator[Installed]:
    """The instance, running on one machine."""
    install(server.python, f"{wheels['responsa']}[local]", f"{wheels['responsa_client']}[betterproto]")
    with running(server):
        yield server


def test_installed_wheels_answer_without_a_checkout(whole: Installed) -> None:
    with Responsa(whole.url, whole.key) as client:
        assert "<title>" in httpx2.get(whole.url).text

        def answered() -> bool:
            return "twelve feet" in client.answer("How deep is the well?").terminal_event.answer.text

        eventually(answered, whole.said)
    command = [whole.python, "-c", OVER_GRPCLIB, str(whole.port), whole.key]
    done = subprocess.run(command, cwd=whole.home, capture_output=True, check=False, text=True)
    assert "twelve feet" in done.stdout, done.stderr
    done = subprocess.run(
        [whole.python, "-c", BESIDE_OTHER_RULES, ROOT / "clients" / "python" / "example.py"],
        cwd=whole.home,
        env={**plain_environment(), "RESPONSA_URL": whole.url, "RESPONSA_API_KEY": whole.key},
        capture_output=True,
        check=False,
        text=True,
    )
    assert "behind the green door" in done.stdout, done.stderr


def test_a_distribution_adds_a_node_a_tool_a_format_a_provider_and_a_job(
    whole: Installed, tmp_path: Path
) -> None:
    cards = tmp_path / "yard.cards"
    cards.write_text("Pond: seven newts live in it\n")
    with Responsa(whole.url, whole.key) as client:
        counted = client.answer("How many words are these?", agent="counter").terminal_event.answer
        assert counted.text == "Your question has 5 words."
        assert client.answer("Speak.", agent="speaker").terminal_event.answer.text == "from the house"
        document = client.wait(client.upload(cards)).document
        assert document.media_type == "text/x-cards"
        assert client.document_content(document.name) == "Pond\n\nseven newts live in it\n\n"
    logs = "".join(path.read_text() for path in whole.home.rglob("*.log"))
    assert '"turns_running"' in logs


def test_the_page_shows_the_example() -> None:
    page = (ROOT / "docs" / "maintainers" / "extending.md").read_text(encoding="utf-8")
    shown = {block.path: block.text for block in blocks(page) if block.path}
    files = (path for path in EXAMPLE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert shown == {str(path.relative_to(EXAMPLE.parent)): path.read_text() for path in files}


def adds(folder: Path, row: str) -> str:
    """A folder that is on the path of modules, with the metadata of a distribution that adds a kind of node."""
    metadata = folder / "wrong-2.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 2.0\n")
    (metadata / "entry_points.txt").write_text(f"[{Group.NODES}]\n{row}\n")
    return str(folder)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("decimal:Decimal", r"the name is taken"),
        ("no_such_module:KIND", r"No module named 'no_such_module'"),
        ("json:loads", r"json:loads is no type"),
    ],
)
def test_an_entry_that_cannot_be_used_names_its_distribution(
    value: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(adds(tmp_path, f"house = {value}")), *sys.path])
    monkeypatch.setattr(plugins, "_read_metadata", entry_points)
    taken = ["house"] if "taken" in problem else []
    with pytest.raises(
        Fixable, match=rf"^wrong 2\.0 adds “house” to responsa\.nodes.*{problem}.*uninstall it"
    ):
        load_rows(Group.NODES, type, taken)


def test_nothing_starts_beside_such_an_entry(tmp_path: Path) -> None:
    environment = plain_environment(
        PYTHONPATH=adds(tmp_path, "refuse = responsa_server.agents.nodes.refuse:KIND")
    )
    command = [sys.executable, "-m", "responsa_server", "serve", "--held"]
    ended = subprocess.run(command, env=environment, input="", capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert re.fullmatch("responsa: wrong 2\\.0 adds “refuse” .*the name is taken.*\n", ended.stderr)


async def test_the_wheels_without_extras_are_the_command_line(
    whole: Installed, wheels: Mapping[str, Path], folder: Path
) -> None:
    python = folder / "alone" / "bin" / "python"
    install(python, *wheels.values())
    assert "Ask a question" in ran(whole, "--help", python=python).stdout
    asked = ran(whole, "ask", "--collection", "responsa-docs", "How deep is the well?", python=python)
    assert "twelve feet" in asked.stdout, asked.stderr
    assert ran(whole, "mcp", python=python).returncode == 0, "its host is gone at once"
    mcp = StdioServerParameters(
        command=str(python), args=whole.command("mcp")[1:], env=whole.environment, cwd=whole.home
    )
    async with Client(stdio_client(mcp)) as client:
        answer = await client.call_tool("ask", {"question": "Woraus ist die Pumpe im Hof?"})
        assert "\n\nQuellen:\n\n1. " in answer.content[0].text
    for command, extra in {("up", "--help"): "local", ("agents", "check"): "server"}.items():
        refused = ran(whole, *command, python=python)
        assert refused.returncode == 5, refused.stdout + refused.stderr
        assert f"pip install 'responsa[{extra}]'" in refused.stderr
