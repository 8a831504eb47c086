"""The services of deploy/compose as containers of podman, with its commands, variables, secrets, networks and limits: a question, its
answer, and the end of each container."""

from __future__ import annotations

import json
import re
import secrets as randomness
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from responsa_client import Responsa
from tests.instance import START_PATIENCE, eventually, free_port
from tests.real import images
from tools.deploy_check import COMPOSE

pytestmark = pytest.mark.soak
COMPOSED: Final[Mapping[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
SERVICES: Final[Mapping[str, Any]] = COMPOSED["services"]
IMAGES: Final = {"postgres": images.POSTGRES, "redis": images.REDIS}
"""The stand-ins for images of other projects."""
HERE: Final = ("--runtime=runc", "--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")
"""podman's own limits need a privilege, and its other runtime refuses a machine with both kinds of control groups."""


class Containers:
    """deploy/compose in a folder of its own, whose containers and networks have a prefix of their own."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(COMPOSE.parent, folder / "compose")
        shutil.copytree(COMPOSE.parents[1] / "prometheus", folder / "prometheus")
        self.folder = folder / "compose"
        subprocess.run(["sh", "secrets.sh"], cwd=self.folder, check=True)
        self.prefix = f"responsa-{randomness.token_hex(3)}"
        self.port = free_port()
        for name, network in COMPOSED["networks"].items():
            internal = ["--internal"] if network.get("internal") else []
            podman("network", "create", *internal, self.named(name))

    def named(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def start(self, service: str) -> None:
        podman("run", "--detach", f"--name={self.named(service)}", *self.options(service))

    def run(self, service: str) -> str:
        """What a service prints that ends by itself."""
        return podman("run", "--rm", *self.options(service))

    def execute(self, service: str, *command: str) -> str:
        return podman("exec", self.named(service), *command)

    def options(self, service: str) -> Sequence[str]:
        """The options and the command of `podman run` that mean what compose.yaml says."""
        said = SERVICES[service]
        limits = said["deploy"]["resources"]["limits"]
        networks = [f"{self.named(name)}:alias={service}" for name in said["networks"]]
        return [
            *HERE,
            *(f"--network={name}" for name in networks),
            *(
                f"--env={key}={substituted(value)}"
                for key, value in said.get("environment", {}).items()
                if value is not None
            ),
            *(
                f"--volume={self.folder}/secrets/{name}:/run/secrets/{name}:ro"
                for name in said.get("secrets", ())
            ),
            *(self.volume(volume) for volume in said.get("volumes", ())),
            *(f"--tmpfs={place}" for place in said.get("tmpfs", ())),
            *(f"--cap-drop={name}" for name in said.get("cap_drop", ())),
            *(f"--security-opt={name.replace(':true', '')}" for name in said.get("security_opt", ())),
            *(["--read-only"] if said.get("read_only") else []),
            *(f"--publish=127.0.0.1:{self.port}:{port.rpartition(':')[2]}" for port in said.get("ports", ())),
            f"--shm-size={said.get('shm_size', '64m')}",
            f"--cpus={limits['cpus']}",
            f"--memory={limits['memory'].lower()}",
            f"--stop-timeout={said.get('stop_grace_period', '10s').removesuffix('s')}",
            IMAGES.get(service, images.RESPONSA),
            *(substituted(word) for word in said["command"]),
        ]

    def volume(self, written: str) -> str:
        source, _, target = written.partition(":")
        place = (self.folder / source).resolve() if source.startswith(".") else self.named(source)
        return f"--volume={place}:{target}"

    def until_healthy(self, service: str) -> None:
        """Wait for the check of the service, or of its image."""
        words = SERVICES[service].get("healthcheck", {}).get("test")
        if words is None:
            inspected = podman("inspect", "--format", "{{json .HealthCheck.Test}}", images.RESPONSA)
            words = json.loads(inspected)

        def healthy() -> bool:
            state = podman("inspect", "--format", "{{.State.Status}}", self.named(service)).strip()
            assert state == "running", self.log(service)
            return quiet("exec", self.named(service), *words[1:]).returncode == 0

        eventually(healthy, lambda: self.log(service), START_PATIENCE)

    def log(self, service: str) -> str:
        done = quiet("logs", self.named(service))
        return done.stdout + done.stderr

    def end(self) -> None:
        for service in SERVICES:
            quiet("rm", "--force", "--volumes", self.named(service))
        for name in COMPOSED["networks"]:
            quiet("network", "rm", "--force", self.named(name))
        for name in COMPOSED["volumes"]:
            quiet("volume", "rm", "--force", self.named(name))


def substituted(value: object) -> str:
    """A value of compose.yaml, with the defaults of its variables."""
    return re.sub(r"\$\{\w+:-(.*?)\}", r"\1", str(value))


def quiet(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=180, check=False)


def podman(*arguments: str) -> str:
    done = quiet(*arguments)
    assert done.returncode == 0, f"podman {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def containers(folder: Path) -> Iterator[Containers]:
    images.everything()
    made = Containers(folder)
    try:
        yield made
    finally:
        made.end()


def test_the_services_of_compose_answer_and_end(containers: Containers) -> None:
    containers.start("postgres")
    containers.start("redis")
    containers.until_healthy("postgres")
    assert "0001" in containers.run("migrate")
    for service in ("server", "worker"):
        containers.start(service)
    for service in ("server", "worker"):
        containers.until_healthy(service)
    containers.start("envoy")
    containers.until_healthy("envoy")
    containers.execute("server", "responsa", "admin", "create-tenant", "default")
    user = containers.execute(
        "server", "responsa", "admin", "create-user", "default", "Ann", "--role", "admin"
    ).strip()
    key = containers.execute("server", "responsa", "admin", "create-key", "default", user).strip()
    with Responsa(f"http://127.0.0.1:{containers.port}", key) as client:
        client.wait(client.create_document("The well in the yard is twelve feet deep.", source_key="well.md"))
        answer = client.answer("How deep is the well in the yard?").terminal_event.answer
    assert "twelve feet" in answer.text

    # The root of a container cannot be written, and its processes have no capability and a plain user.
    refused = quiet("exec", containers.named("server"), "python", "-c", "open('/etc/x', 'w')")
    assert "Read-only file system" in refused.stderr
    status = containers.execute("worker", "cat", "/proc/1/status")
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^Uid:\s+10001\s", status, re.MULTILINE)
    # Redis is in the network of the data alone, which leads nowhere.
    routes = containers.execute("redis", "cat", "/proc/net/route").splitlines()
    assert not any(line.split()[1] == "00000000" for line in routes[1:])

    for service in ("envoy", "worker", "server"):
        podman("stop", containers.named(service))
        assert (
            podman("inspect", "--format", "{{.State.ExitCode}}", containers.named(service)).strip() == "0"
        ), containers.log(service)
    password = (containers.folder / "secrets" / "database_password").read_text()
    assert password not in "".join(
        containers.log(service) for service in ("envoy", "worker", "server", "postgres")
    )
