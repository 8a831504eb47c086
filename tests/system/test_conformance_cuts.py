"""Each client asks a real instance through a proxy that cuts its connections at random, and sees what a reader sees
whose connection is whole. Its example runs with the packed client."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from clients.conformance.runner import run_cuts
from responsa_client import Responsa
from tests.clients.drivers import DRIVERS, JAVA, build, each
from tests.clients.packed import PACKED, installed
from tests.faults.forms import Form, forms
from tests.instance import ROOT, Instance


@each(DRIVERS)
@forms(short=10, long=200)
async def test_a_client_whose_connections_are_cut_at_random(
    second: Instance, client: str, form: Form
) -> None:
    build(client)
    text = "tokens=200 pace_ms=2 seed={n}"
    done = await run_cuts(
        DRIVERS[client],
        second.target,
        second.key,
        form.count,
        port=int(second.settings["RESPONSA_ALLOWED_HOSTS"].rpartition(":")[2]),
        agent="testing",
        text=text,
        seed=form.seed,
    )
    assert (done.problems, done.cuts >= form.count) == ([], True), done


@each(PACKED)
def test_an_example_loads_searches_and_asks_in_an_empty_project(
    second: Instance, client: str, tmp_path: Path
) -> None:
    build(client)
    done = subprocess.run(
        installed(client, tmp_path),
        env={**os.environ, "RESPONSA_URL": second.url, "RESPONSA_API_KEY": second.key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "behind the green door" in done.stdout) == (0, True), done
    with Responsa(second.url, second.key) as responsa:  # others find the instance's own documents
        (document,) = responsa.documents("default")
        responsa.delete_document(document.name)


@pytest.mark.toolchain
def test_the_first_program_of_the_go_client_prints_an_answer(second: Instance, tmp_path: Path) -> None:
    package = ROOT / "clients" / "go"
    block = re.search(r"```go\n(.*?)```", (package / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block
    assert len(re.findall(r"^\t+[^\t}]", block[1].partition("func main")[2], re.MULTILINE)) <= 10
    program = tmp_path / "first.go"
    program.write_text(block[1], encoding="utf-8")
    done = subprocess.run(
        ["go", "run", program],
        cwd=package,
        env={**os.environ, "RESPONSA_URL": second.url, "RESPONSA_API_KEY": second.key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout != "") == (0, True), done


@pytest.mark.toolchain
def test_the_first_program_of_the_rust_client_prints_an_answer(second: Instance) -> None:
    build("rust")
    package = ROOT / "clients" / "rust"
    block = re.search(r"```rust\n(.*?)```", (package / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block
    assert block[1] == (package / "examples" / "first.rs").read_text(encoding="utf-8")
    assert len(re.findall(r"^ +[^ }]", block[1].partition("async fn main")[2], re.MULTILINE)) <= 10
    done = subprocess.run(
        [ROOT / "build" / "clients" / "rust" / "debug" / "examples" / "first"],
        env={**os.environ, "RESPONSA_URL": second.url, "RESPONSA_API_KEY": second.key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout != "") == (0, True), done


@pytest.mark.toolchain
def test_the_first_program_of_the_java_client_prints_an_answer(second: Instance, tmp_path: Path) -> None:
    build("java")
    readme = (ROOT / "clients" / "java" / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```java\n(.*?)```", readme, re.DOTALL)
    assert block
    assert block[1].partition("\n\n")[2].count("\n") <= 10
    program = tmp_path / "First.java"
    program.write_text(block[1], encoding="utf-8")
    done = subprocess.run(
        [*JAVA, program],
        env={**os.environ, "RESPONSA_URL": second.url, "RESPONSA_API_KEY": second.key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout != "") == (0, True), done


def test_the_first_program_of_the_typescript_client_prints_an_answer(second: Instance) -> None:
    build("typescript")
    package = ROOT / "clients" / "typescript"
    block = re.search(r"```js\n(.*?)```", (package / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block
    assert block[1].count("\n") <= 10
    done = subprocess.run(
        ["node", "--input-type=module", "-"],
        cwd=package,
        env={**os.environ, "RESPONSA_API_KEY": second.key},
        input=block[1].replace("http://127.0.0.1:8080", second.url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout != "") == (0, "", True), done
