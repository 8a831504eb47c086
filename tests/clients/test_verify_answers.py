"""`python -m responsa_lab.verifying.answers`: what it costs, what it asks, and what the judge's verdicts and the citations come to."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from responsa.chat.v1 import citation_pb2, turn_pb2
from responsa_client.aio import AsyncResponsa
from responsa_lab.scripted import scripted_models
from responsa_lab.verifying import answers
from responsa_lab.verifying.answers import Verdict, main, measured, most, of_own, of_reading, report
from responsa_server.cli.output import CommandFailed
from responsa_server.domain.models import Price
from tests.clients.library import ScriptedLibrary
from tests.clients.scripted import KEY, Scripted
from tests.clients.test_cli_reading import CABLE, CHANGED, LAMP, VOLTS, Server, reading_set, shows, writes

JUDGE = scripted_models()["scripted:labelled"]


def own(folder: Path) -> tuple[Path, Path]:
    """A file of one's own questions, and the folder of the documents."""
    documents, questions = folder / "own", folder / "own.jsonl"
    documents.mkdir()
    (documents / "lamp.md").write_text(LAMP)
    asked = {"What voltage?": VOLTS, "How long?": CABLE, "How blue?": "", "How far is the moon?": ""}
    questions.write_text(
        "".join(json.dumps({"question": key, "answer": text}) + "\n" for key, text in asked.items())
    )
    return questions, documents


def checked(
    event: turn_pb2.TurnEvent, verdict: citation_pb2.JudgeVerdict.ValueType, differences: int = 0
) -> turn_pb2.TurnEvent:
    """The answer with a verdict and this number of differences of its citation."""
    event.answer.citations[0].verdict = verdict
    event.answer.citations[0].quote_origin = citation_pb2.QUOTE_ORIGIN_COPIED
    for _ in range(differences):
        event.answer.citations[0].differences.add()
    return event


async def test_answers_are_judged_and_their_citations_are_verified(
    server: Scripted, library: ScriptedLibrary, tmp_path: Path
) -> None:
    Server(
        server,
        library,
        {
            "What voltage?": checked(
                writes("The lamp needs 12 volts.", VOLTS), citation_pb2.JUDGE_VERDICT_SUPPORTED
            ),
            "How long?": checked(
                writes("Its cable costs 7 euros.", CABLE, CHANGED), citation_pb2.JUDGE_VERDICT_DENIED, 2
            ),
            "How blue?": writes("Very."),
        },
        "collections/verify-answers",
    )
    questions, documents = own(tmp_path)
    async with AsyncResponsa(server.url, KEY) as client:
        found = await measured(client, of_own(questions, documents, 0), JUDGE)
    assert [one.verdict for one in found] == [Verdict.RIGHT, Verdict.WRONG, Verdict.WRONG, Verdict.REFUSED]
    assert [(one.citations, one.valid) for one in found] == [(1, 1), (1, 0), (0, 0), (0, 0)]
    assert report(found) == [
        "answerable      2: right 1 (0.500), partly 0 (0.000), wrong 1 (0.500), refused 0 (0.000), without a verdict 0",
        "not answerable  2: right 0 (0.000), partly 0 (0.000), wrong 1 (0.500), refused 1 (0.500), without a verdict 0",
        "citations       2: valid 1; answers with a citation 2 of 3",
        "cited as        copied 2, chosen 0, not_found 0, none 0, supported 1, denied 1, undecided 0, with a difference 1",
        "written by      scripted:labelled 3",
    ]


async def test_labelled_questions_have_the_texts_of_their_labels(
    server: Scripted, library: ScriptedLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, documents = reading_set(tmp_path)
    monkeypatch.setattr(answers, "OURS", folder)
    given = of_reading("choose", documents, 0)
    assert [case.references for case in given.cases[:2]] == [[VOLTS], [CABLE]]
    assert json.loads(given.labels.splitlines()[0]) == {"question": "What voltage?", "texts": [VOLTS]}
    Server(server, library, {"What voltage?": shows()})
    async with AsyncResponsa(server.url, KEY) as client:
        found = await measured(client, given, JUDGE)
    assert [one.verdict for one in found].count(Verdict.REFUSED) == 5
    assert not of_reading("choose", documents, 0, only=[]).cases


def _no(_: str) -> str:
    return "n"


def test_the_most_that_it_costs_is_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    price = Price(input=Decimal(2), output=Decimal(10), cached_input=Decimal(0), cache_write=Decimal(0))
    assert most(40, 6000, price, price).endswith(": at most 2.08 dollars.")
    assert most(40, 6000, price, price, [price]).endswith(
        "checks of citations (320,000 and 40,000): at most 3.12 dollars."
    )
    assert most(40, 6000, price, price, [None]).endswith("; the price of a model is not known.")
    assert most(40, 6000, None, price).endswith("; the price of a model is not known.")
    monkeypatch.setenv("RESPONSA_MODELS__SCRIPTED", "true")
    monkeypatch.setattr("builtins.input", _no)
    questions, documents = own(tmp_path)
    assert main(["scripted:labelled", str(documents), "--questions", str(questions)]) == 2
    assert capsys.readouterr().out.startswith("At most 4 answers (32,000 input and 6,400 output tokens)")


def test_what_cannot_be_asked_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["nobody:nothing"]) == 2
    assert 'There is no provider "nobody"' in capsys.readouterr().err
    monkeypatch.setattr(answers, "CHECKOUT", tmp_path)
    with pytest.raises(CommandFailed, match="does not have the documents"):
        answers.checkout_sources(tmp_path)
