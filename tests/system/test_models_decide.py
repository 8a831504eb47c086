"""The default agent answers with the model that `models.default` names, as README shows, and with the passages if the model cannot be reached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from responsa_client import Responsa
from tests.docs.reader import blocks, fits
from tests.instance import ROOT, Instance, instance_in
from tests.system.echo import Echo

QUESTION = "How do I get my expenses back?"
UNKNOWN = "Who may fly first class?"


def _reply(body: Any) -> str:
    """An answer about expenses from the passage that has it. To every other question, the mark for \"the passages do not answer\", as the instructions give it."""
    instructions = "\n".join(str(message["content"]) for message in body["messages"])
    if QUESTION not in str(body["messages"][-1]["content"]):
        (mark,) = {*re.findall(r"\[\[[a-z ]+\]\]", instructions)}
        return mark
    before, receipts, _ = instructions.partition("Send your receipts")
    assert receipts
    number = re.findall(r"\[(\d+)\]", before)[-1]
    return (
        "Send your receipts to finance@example.org within 30 days of the trip "
        f'[{number}: "Send your receipts to finance@example.org within 30 days of the trip."]. '
        "Without a receipt, at most 20 euros per day are refunded "
        f'[{number}: "Without a receipt, we refund at most 20 euros per day."].'
    )


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    made = Echo(_reply)
    yield made
    made.close()


@pytest.fixture(scope="module")
def asked(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance with README's document and a model of our own server."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    notes = next(block for block in blocks(page) if block.path == "notes/trips.md")
    settings = {
        "RESPONSA_DOCS": "none",
        "RESPONSA_MODELS__SERVERS__OLLAMA__URL": echo.url,
        "RESPONSA_MODELS__SERVERS__OLLAMA__WINDOW": "16384",
        "RESPONSA_MODELS__DEFAULT": "ollama:qwen3:8b",
        "RESPONSA_MODELS__RETRIES": "0",
    }
    with instance_in(tmp_path_factory.mktemp("home"), **settings) as made:
        folder = tmp_path_factory.mktemp("notes") / "notes"
        folder.mkdir()
        (folder / Path(notes.path).name).write_text(notes.text, encoding="utf-8")
        made.run("ingest", str(folder))
        yield made


def test_readme_shows_what_a_model_answers(asked: Instance) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = (
        block.text for block in blocks(page) if block.kind == "console" and "elsewhere" in block.words
    )
    command, _, expected = shown.partition("\n")
    assert QUESTION in command
    done = asked.run("ask", QUESTION)
    assert fits(expected, done.stdout + done.stderr), done


def test_the_answer_is_the_models_and_is_cited(asked: Instance) -> None:
    with Responsa(asked.url, asked.key) as client:
        answer = client.answer(QUESTION).terminal_event.answer
        assert answer.model == "ollama:qwen3:8b"
        assert len(answer.citations) == 2
        assert all(citation.quote in (ROOT / "README.md").read_text() for citation in answer.citations)
        assert not answer.excerpts


def test_what_the_passages_do_not_answer_is_refused_with_the_closest(asked: Instance) -> None:
    with Responsa(asked.url, asked.key) as client:
        refused = client.answer(UNKNOWN).terminal_event.refused
    assert refused.excerpts
    assert refused.excerpts[0].title == "Business trips"
