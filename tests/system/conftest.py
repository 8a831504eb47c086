"""Instances and callers for tests of the whole system."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
import yaml

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_server.agents.config.files import SHIPPED
from responsa_server.system.instance import CHECKOUT, no_language_model
from tests.callers import Registry, Tenant
from tests.certificates import certificate
from tests.forked import responsa
from tests.instance import START_PATIENCE, Instance, eventually, free_port, instance_in, short_folder
from tests.system.echo import Echo
from tests.transports import Ways, stub_of
from tests.wire.lab import Lab

FERRY = "# A ferry\n\nThe ferry to Skye leaves from Mallaig at six in the morning.\n"
"""The only document of these instances; it replaces Responsa's docs."""


class Listener:
    """A third-party trace collector that counts calls."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.calls = 0
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()

    def close(self) -> None:
        # This wakes the thread in `accept`; closing the socket alone would not.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture(scope="session")
def collector() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.close()


@pytest.fixture(scope="session")
def second(collector: Listener) -> Iterator[Instance]:
    """A second instance, in addition to the shared one. Tests may kill its parts, but must leave it ready. It also
    accepts the address of a proxy, which a test may start. The environment of its user contains the settings that make
    LangChain send traces.
    """
    with short_folder() as folder:
        (folder / "docs").mkdir()
        (folder / "docs" / "ferry.md").write_text(FERRY)
        key, made = certificate("localhost")
        (folder / "localhost.pem").write_bytes(made + key)
        settings = {
            "RESPONSA_DOCS": str(folder),
            "RESPONSA_TESTING__AGENT": "true",
            "RESPONSA_TURNS__LEASE_SECONDS": "2",
            "RESPONSA_PROGRAMS__ALLOW_PRIVATE": "localhost",
            "RESPONSA_AUTHORITIES": str(folder / "localhost.pem"),
            "RESPONSA_ALLOWED_HOSTS": f"127.0.0.1:{free_port()}",
            "LANGSMITH_TRACING": "true",
            "LANGCHAIN_TRACING_V2": "true",
            "LANGSMITH_API_KEY": "lsv2_none",
            "LANGSMITH_ENDPOINT": f"http://127.0.0.1:{collector.port}",
            "LANGCHAIN_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        }
        with instance_in(folder, **settings) as one:
            yield one


@pytest.fixture
def ways(instance: Instance) -> Iterator[Ways]:
    """All transports of the shared instance."""
    with Ways(instance.target) as found:
        yield found


@pytest.fixture
def tenant(registry: Registry) -> Tenant:
    """A tenant in the shared instance for this test alone."""
    return registry.new_tenant()


@dataclass
class Bench:
    """An instance with a user's agents, and with four servers of language models: `lab:echo`, and three that a test can unplug."""

    instance: Instance
    echo: Echo
    lab: Lab
    loaded: str
    """What `samples load` printed for the tutor and the chat agent."""

    @property
    def agents(self) -> Path:
        """The folder of the user's agents."""
        return self.instance.home / "agents"

    @contextmanager
    def agent(self, name: str, config: str, **prompts: str) -> Generator[None]:
        """During the block, there is an agent with these files."""
        folder = self.agents / name
        (folder / "prompts").mkdir(parents=True)
        for prompt, text in prompts.items():
            (folder / "prompts" / f"{prompt}.md").write_text(text, encoding="utf-8")
        (folder / "agent.toml").write_text(config, encoding="utf-8")
        eventually(lambda: self.version(name) != "", lambda: self.instance.log("server")[-2000:])
        try:
            yield
        finally:
            self.echo.open.set()
            shutil.rmtree(folder)
            eventually(lambda: self.version(name) == "", "its end")

    def copied(
        self, agent: str, name: str, changes: Mapping[str, str], shorter: Mapping[str, int] | None = None
    ) -> None:
        """A copy of a shipped agent under another name, with these changes to its agent.toml. The server has not
        noticed the copy yet. shorter: the number of tokens to which some prompts limit the model, by the name of the
        prompt.
        """
        # agent.toml, which makes the folder an agent, is written last. Otherwise the server may read an
        # unfinished folder.
        shutil.copytree(
            SHIPPED / agent, self.agents / name, ignore=shutil.ignore_patterns("agent.toml", "samples")
        )
        for prompt, tokens in (shorter or {}).items():
            file = self.agents / name / "prompts" / f"{prompt}.md"
            said, count = re.subn(
                r"max_output_tokens = \d+", f"max_output_tokens = {tokens}", file.read_text(encoding="utf-8")
            )
            assert count == 1, prompt
            file.write_text(said, encoding="utf-8")
        text = (SHIPPED / agent / "agent.toml").read_text(encoding="utf-8")
        for old, new in changes.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (self.agents / name / "agent.toml").write_text(text, encoding="utf-8")

    def call(self, service: str, method: str, request: Any) -> Any:
        """Call as the administrator."""
        with grpc.insecure_channel(self.instance.target) as channel:
            rpc = getattr(stub_of(channel, service), method)
            return rpc(request, metadata=[("authorization", f"Bearer {self.instance.key}")], timeout=60)

    def version(self, agent: str) -> str:
        """The version that answers new questions to this agent; "" if the agent does not exist."""
        try:
            return str(
                self.call("ChatService", "GetAgent", chat.GetAgentRequest(name=f"agents/{agent}")).version
            )
        except grpc.RpcError:
            return ""

    def ask(self, question: str, agent: str = "", **parameters: str | bool) -> Any:
        """Ask a question. Returns the turn's terminal event."""
        return self.ask_in(question, agent, "", **parameters)[1]

    def ask_in(
        self, question: str, agent: str = "", conversation: str = "", **parameters: str | bool
    ) -> tuple[Any, Any]:
        """Ask a question in a conversation; "" starts a new conversation. Returns the turn's event `started` and its terminal event."""
        request = chat.AskRequest(
            text=question, agent=f"agents/{agent}" if agent else "", conversation=conversation
        )
        request.options.parameters.update(parameters)
        (first, *_, last) = [event for frame in self.frames(request) for event in frame.events]
        return first.started, last

    def ask_as(self, key: str, question: str, agent: str) -> Any:
        """Ask a question with another key than the administrator's. Returns the turn's terminal event."""
        request = chat.AskRequest(text=question, agent=f"agents/{agent}")
        return [event for frame in self.frames(request, key) for event in frame.events][-1]

    def frames(self, request: Any, key: str = "") -> list[Any]:
        """All frames of an answer. key: instead of the administrator's."""
        with grpc.insecure_channel(self.instance.target) as channel:
            stub = stub_of(channel, "ChatService")
            metadata = [("authorization", f"Bearer {key or self.instance.key}")]
            return list(stub.Ask(request, metadata=metadata, timeout=120))


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A separate instance with the samples of the tutor and the chat agent and a few of the code assistants, scripted
    models, and a model server that the test controls. In `make soak`, it also has the embedded model if that is
    installed.
    """
    echo, lab = Echo(), Lab()
    settings = {
        **lab.settings,
        "RESPONSA_MODELS__RETRIES": "1",
        "RESPONSA_DOCS": "none",
        "RESPONSA_MODELS__SCRIPTED": "true",
        "RESPONSA_MODELS__EMBEDDED__START": str(
            request.config.option.markexpr == "soak" and no_language_model() is None
        ).lower(),
        "RESPONSA_MODELS__SERVERS__LAB__URL": echo.url,
        "RESPONSA_MODELS__SERVERS__PAID__URL": "https://8.8.8.8/v1",  # nothing asks it
        "RESPONSA_TURNS__LEASE_SECONDS": "2",
        # Tests take the search apart, and ask the same questions again.
        "RESPONSA_CACHE__SEARCHES_SECONDS": "0",
        "RESPONSA_RETRIEVAL__MEMORY_MIB": "0",
        # A busy machine takes long for the vectors of a question.
        "RESPONSA_RETRIEVAL__EMBEDDING_SECONDS": "60",
    }
    try:
        with short_folder() as folder, instance_in(folder, **settings) as instance:
            # The command reads documents one by one, so on a busy machine it takes longer than other commands.
            loaded = subprocess.run(
                [*responsa(), "samples", "load", "chat", "knowledge", "tutor"],
                env=instance.environment,
                cwd=folder,
                timeout=START_PATIENCE,
                check=True,
                capture_output=True,
                text=True,
            )
            for agent in ("cairo", "scarb"):
                # Their samples are so many that the tests load only the documents of the golden questions.
                golden = yaml.safe_load((SHIPPED / agent / "golden.yaml").read_text(encoding="utf-8"))
                names = sorted({case["source"] for case in golden["answered"]})
                for name in names:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(CHECKOUT / "samples" / agent / "corpus" / name, folder / name)
                instance.run("ingest", "--collection", agent, str(folder / names[0].partition("/")[0]))
            yield Bench(instance, echo, lab, loaded.stdout)
    finally:
        echo.close()
        lab.close()


@pytest.fixture
def http(instance: Instance) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=instance.url, timeout=30) as client:
        yield client
