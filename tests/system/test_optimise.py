"""`responsa optimise` with DSPy, which `make soak` installs in a folder of its own. The run of all tests does not
pay for its 350 MB."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from responsa_client.blocking import Responsa
from tests.docs.reader import blocks, fits
from tests.instance import ROOT, Instance, eventually, instance_in
from tests.tied import tied

DATA = ROOT / "evals" / "optimise" / "chat_intents.jsonl"
# Python runs this file before the command. Its hook sees every address that Python code connects to or looks up, and
# every module of LiteLLM.
WATCH = """
import sys
LOCAL = ("127.0.0.1", "::1", "localhost", None)
def seen(event, arguments):
    if event == "import" and arguments[0].startswith("litellm."):
        found = arguments[0]
    elif event == "socket.getaddrinfo" and arguments[0] not in LOCAL:
        found = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in LOCAL:
        found = arguments[1]
    else:
        return
    with open(FILE, "a") as file:
        file.write(f"{event} {found}\\n")
open(FILE, "a").close()  # shows that the hook was installed
sys.addaudithook(seen)
"""


AGENT = """
name = "Manuals"
description = "Answers from manuals."
start = "expand"
model = { chain = ["scripted:priced"] }

[retrieval]
collections = ["manuals"]
top_k = 2
source_parameter = "product"
SOURCES

[parameters]
properties.product = { enum = PRODUCTS }

[nodes]
expand = { kind = "query_expander", sources = true }
retrieve = { kind = "retriever" }
write = { kind = "prompt", prompt = "explanation", cites = true }
cite = { kind = "citation_checker" }
refuse = { kind = "refuse" }

[graph]
edges = [
  { from = "expand", to = "retrieve" },
  { from = "retrieve", to = "refuse", when = { field = "evidence.passages", below = 1 } },
  { from = "retrieve", to = "write" },
  { from = "retrieve", to = "refuse", on = "unavailable" },
  { from = "write", to = "refuse", when = { field = "declined", is = true } },
  { from = "write", to = "cite", when = { field = "marks", empty = false } },
  { from = "write", to = "finish" },
  { from = "write", to = "refuse", on = "unavailable" },
]
"""
# Each manual says the same of its product, which no manual calls as users do. So only a model that has learnt the
# users' words finds the right one.
PRODUCTS = {
    "heron": "garden camera",
    "wren": "kitchen speaker",
    "rook": "hallway lamp",
    "swift": "bathroom scale",
    "finch": "office fan",
    "crane": "attic sensor",
}
LEARNT = ("reset", "charge")
TASKS = ("clean", "mount", "update", "return")


def manual(product: str) -> str:
    """A manual with another number for each task."""
    start = 10 * list(PRODUCTS).index(product)
    steps = (
        f"To {task} the {product.title()}, follow step {start + number}."
        for number, task in enumerate((*LEARNT, *TASKS))
    )
    return "\n\n".join([f"# {product.title()}", *steps])


def questions() -> Iterator[dict[str, object]]:
    """In the part `train`, each first question says both names, and its examples half is made of these."""
    for product, called in PRODUCTS.items():
        texts = [
            f"How do I {LEARNT[0]} the {product.title()}, my {called}?",
            f"How do I {LEARNT[1]} my {called}?",
        ]
        tested = [f"How do I {task} my {called}?" for task in TASKS]
        for number, text in enumerate((*texts, *tested)):
            part = "train" if number < len(texts) else "test"
            yield {
                "id": f"{product}-{number}",
                "text": text,
                "documents": [f"manuals/{product}.md"],
                "part": part,
            }


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Instance]:
    with instance_in(tmp_path, RESPONSA_MODELS__SCRIPTED="true", RESPONSA_DOCS="none") as one:
        yield one


@pytest.mark.soak
def test_questions_are_cited_rightly_with_a_version_that_has_learnt_the_words_of_users(
    tmp_path: Path,
) -> None:
    agent, manuals, data = tmp_path / "agents" / "manuals", tmp_path / "manuals", tmp_path / "data.jsonl"
    agent.mkdir(parents=True)
    manuals.mkdir()
    sources = [
        f"sources.{name} = {{ filter = 'source_key = \"manuals/{name}.md\"', description = 'The {name}.' }}"
        for name in PRODUCTS
    ]
    text = AGENT.replace("SOURCES", "\n".join(sources)).replace("PRODUCTS", json.dumps(list(PRODUCTS)))
    (agent / "agent.toml").write_text(text)
    for product in PRODUCTS:
        (manuals / f"{product}.md").write_text(manual(product))
    data.write_text("\n".join(map(json.dumps, questions())))
    settings = {"RESPONSA_MODELS__SCRIPTED": "true", "RESPONSA_DOCS": "none"}
    with instance_in(tmp_path, **settings, RESPONSA_AGENTS__FOLDER=str(agent.parent)) as instance:
        environment = {**instance.environment, "PYTHONPATH": str(ROOT / ".venv" / "optimise")}

        def run(*words: str) -> tuple[int, str]:
            command = [sys.executable, "-m", "responsa_server", *words]
            done = subprocess.run(
                command,
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            return done.returncode, done.stdout + done.stderr

        loaded = run("ingest", "--collection", "manuals", "manuals")
        assert loaded[0] == 0, loaded[1]
        command = ["optimise", "manuals", "--json", "--data", str(data), "--budget"]
        code, said = run(*command, "0.18")
        assert code == 1, said
        assert "Give a larger --budget" in said
        (file,) = (instance.home / "optimise").glob("*/calls.jsonl")
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        # The server was asked, too.
        assert any("documents" in (row["text"] or "") for row in rows)
        assert 0.1 * 1e6 < sum(row["cost_micros"] for row in rows) <= 0.18 * 1e6
        code, said = run(*command, "5")
        assert code == 0, said
        result = json.loads(said)
        assert result["after"]["cited"][1] > result["before"]["cited"][2]
        with Responsa(instance.url, instance.key) as client:
            made, trial = client.agent_version(result["version"]), client.agent_version(result["measured"])
            assert (made.is_current, made.card["after"]["cited"][0], trial.card["trial"]) == (
                False,
                result["after"]["cited"][0],
                True,
            )
            # Nothing is left of the questions.
            assert not list(client.conversations())
        again = json.loads(run(*command, "5")[1])
        assert (again["version"], again["calls"]) == (result["version"], result["calls"])


@pytest.mark.soak
def test_a_version_is_made_within_a_budget_after_a_stop_and_a_kill_without_any_network(
    owned: Instance, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(f"FILE = {str(seen)!r}\n{WATCH}")
    path = f"{tmp_path / 'watch'}:{ROOT / '.venv' / 'optimise'}"
    environment = {**owned.environment, "PYTHONPATH": path}
    command = [sys.executable, "-m", "responsa_server", "optimise", "chat", "--json"]
    command += ["--data", str(DATA), "--model", "scripted:priced"]

    def run(*more: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [*command, *more], env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def rows() -> list[dict[str, Any]]:
        (file,) = (owned.home / "optimise").glob("*/calls.jsonl")
        return [json.loads(line) for line in file.read_text().splitlines()]

    code, refused = run("--budget", "0.2")
    assert (code, "Give a larger --budget" in refused["error"]["message"]) == (1, True)
    before = len(rows())
    assert sum(row["cost_micros"] for row in rows()) <= 200_000
    killed = subprocess.Popen(tied(*command, "--budget", "5"), env=environment)
    eventually(lambda: len(rows()) > before + 50, "some calls")
    killed.kill()
    killed.wait()
    code, result = run("--budget", "5")
    assert code == 0
    assert len({row["key"] for row in rows()}) == len(rows()) == result["calls"]
    assert sum(row["cost_micros"] for row in rows()) == round(result["costUsd"] * 1e6)
    # The intervals do not overlap.
    assert result["after"]["right"][1] > result["before"]["right"][2]

    # Everything is recorded, so the page's command, which prints the same, asks nothing.
    (shown,) = [
        block
        for block in blocks((ROOT / "docs" / "experiments.md").read_text())
        if block.text.startswith("$ responsa optimise")
    ]
    asked, _, printed = shown.text.partition("\n")
    done = subprocess.run(
        [sys.executable, "-m", "responsa_server", *asked.split()[2:]],
        env=environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
        check=True,
    )
    assert fits(printed, done.stdout)

    with Responsa(owned.url, owned.key) as client:
        made = client.agent_version(result["version"])
        assert not made.is_current
        assert client.agent("chat").version != result["version"]
        assert made.card["data"]["sha256"] == result["data"]["sha256"]

    code, result = run("--budget", "20", "--optimiser", "instruction")
    assert code == 0
    assert result["after"]["right"][1] > result["before"]["right"][2]
    assert seen.read_text() == ""
