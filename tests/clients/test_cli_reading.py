"""`responsa eval reading`: the labels, the documents, and the figures."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import empty_pb2

from clients.conformance.server import Context
from responsa.chat.v1 import chat_service_pb2, citation_pb2, excerpt_pb2, turn_pb2
from responsa.type.v1 import byte_range_pb2
from responsa_lab.evaluation.dataset import lines
from responsa_lab.evaluation.metrics import ratio, share
from responsa_lab.evaluation.reading import OURS, Asked, ReadingPart, ReadingSet, digest
from responsa_server.cli.output import CommandFailed
from tests.clients.command_line import CommandLine
from tests.clients.library import ScriptedLibrary
from tests.clients.scripted import (
    CHAT,
    CONVERSATION,
    Scripted,
    refused,
)

LAMP = "# Lamp\n\nThe lamp needs 12 volts. It is blue. Its cable has two metres. Wipe it with a dry cloth.\n"


def place(quote: str) -> dict[str, Any]:
    start = LAMP.encode().index(quote.encode())
    return {"document": "lamp.md", "start": start, "end": start + len(quote.encode())}


VOLTS, CABLE, CLOTH = "The lamp needs 12 volts.", "Its cable has two metres.", "Wipe it with a dry cloth."
ASKED: list[dict[str, Any]] = [
    {
        "id": "volts",
        "source": "shop",
        "kind": "answerable",
        "question": "What voltage?",
        "form": "prose",
        "answers": [place(VOLTS)],
        "belongs": [place(CABLE)],
    },
    {
        "id": "cable",
        "source": "shop",
        "kind": "answerable",
        "question": "How long is the cable?",
        "form": "prose",
        "answers": [place(CABLE)],
    },
    {"id": "clean", "source": "shop", "kind": "answerable", "question": "How do I clean it?", "form": "prose", "answers": [place(CLOTH)]},
    {
        "id": "light",
        "source": "shop",
        "kind": "answerable",
        "question": "Which colour?",
        "form": "prose",
        "answers": [place("It is blue.")],
    },
    {"id": "price", "source": "shop", "kind": "near_miss", "question": "What does it cost?"},
    {"id": "moon", "source": "shop", "kind": "off_topic", "question": "How far is the moon?"},
]  # fmt: skip


def reading_set(folder: Path) -> tuple[Path, Path]:
    """A set of questions and the folder with its documents."""
    documents, questions = folder / "documents", folder / "set"
    (documents / "shop").mkdir(parents=True)
    (documents / "shop" / "lamp.md").write_text(LAMP)
    questions.mkdir()
    _, sha256 = digest(documents / "shop")
    (questions / "sources.toml").write_text(
        f'[shop]\norigin = "ours"\ncommit = "1"\npaths = "*.md"\nlicence = "none"\ndocuments = 1\nsha256 = "{sha256}"\n'
    )
    (questions / "choose.jsonl").write_text("".join(json.dumps(one) + "\n" for one in ASKED))
    return questions, documents


CHANGED = "changed"
"""The title of a cited document that has changed since."""


class Server:
    """Scripts for Answer, VerifyCitations and DeleteConversation. Each question gets the event that `events` has for
    it; all others are refused with one excerpt."""

    def __init__(
        self,
        server: Scripted,
        library: ScriptedLibrary,
        events: Mapping[str, turn_pb2.TurnEvent],
        collection: str = "collections/reading-shop",
    ) -> None:
        self.library = library
        self.events = events
        self.collection = collection
        self.turns: dict[str, turn_pb2.Turn] = {}
        server.on(f"{CHAT}/Answer", self.answer)
        server.on(f"{CHAT}/VerifyCitations", self.verify)
        server.on(f"{CHAT}/DeleteConversation", self.delete)

    @property
    def version(self) -> str:
        return f"{next(iter(self.library.documents.values())).document.name}/versions/1"

    async def answer(self, request: Any, _: Context) -> turn_pb2.Turn:
        assert list(request.options.scope.collections) == [self.collection]
        event = turn_pb2.TurnEvent()
        event.CopyFrom(self.events.get(request.text, refused(3)))
        for one in (*event.answer.excerpts, *event.answer.more_excerpts, *event.refused.excerpts):
            one.document_version = self.version
        for citation in event.answer.citations:
            citation.document_version = self.version
        name = f"turns/{uuid.uuid4()}"
        self.turns[name] = turn_pb2.Turn(name=name, conversation=CONVERSATION, terminal_event=event)
        return self.turns[name]

    async def verify(self, request: Any, _: Context) -> chat_service_pb2.VerifyCitationsResponse:
        valid, changed = citation_pb2.CITATION_VERDICT_VALID, citation_pb2.CITATION_VERDICT_SOURCE_CHANGED
        cited = self.turns[request.name].terminal_event.answer.citations
        return chat_service_pb2.VerifyCitationsResponse(
            checks=[
                chat_service_pb2.CitationCheck(
                    citation=one, verdict=changed if one.title == CHANGED else valid
                )
                for one in cited
            ]
        )

    async def delete(self, request: Any, _: Context) -> empty_pb2.Empty:
        assert request.name == CONVERSATION
        return empty_pb2.Empty()


def bytes_of(text: str) -> byte_range_pb2.ByteRange:
    found = place(text)
    return byte_range_pb2.ByteRange(start=found["start"], end=found["end"])


def excerpt(text: str) -> excerpt_pb2.Excerpt:
    return excerpt_pb2.Excerpt(source_range=bytes_of(text), markdown=text)


def answer_of(text: str, model: str) -> turn_pb2.TurnAnswer:
    return turn_pb2.TurnAnswer(text=text, sha256=hashlib.sha256(text.encode()).digest(), model=model)


def shows(*excerpts: excerpt_pb2.Excerpt, more: Sequence[excerpt_pb2.Excerpt] = ()) -> turn_pb2.TurnEvent:
    answer = answer_of("\n".join(one.markdown for one in excerpts), "passages")
    answer.excerpts.extend(excerpts)
    answer.more_excerpts.extend(more)
    return turn_pb2.TurnEvent(seq=3, answer=answer)


def writes(text: str, quote: str = "", title: str = "") -> turn_pb2.TurnEvent:
    """An answer of a model with one citation, or without. title: that of the cited document."""
    answer = answer_of(text, "scripted:labelled")
    if quote:
        digest = hashlib.sha256(quote.encode()).digest()
        answer.citations.add(quote=quote, title=title, sha256=digest, source_range=bytes_of(quote))
    else:
        answer.fallbacks.add(kind=turn_pb2.FALLBACK_KIND_UNCITED)
    return turn_pb2.TurnEvent(seq=3, answer=answer)


def values_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """The figures without their intervals."""
    return {
        name: value[0] if isinstance(value, list) else value
        for name, value in line.items()
        if name != "sources"
    }


async def test_the_shown_passages_are_compared_with_the_labels(
    responsa: CommandLine, server: Scripted, library: ScriptedLibrary, tmp_path: Path
) -> None:
    closest = refused(3)
    closest.refused.excerpts.append(excerpt(CLOTH))
    Server(
        server,
        library,
        {
            "What voltage?": shows(excerpt(f"{VOLTS} It is blue.")),
            "How long is the cable?": shows(excerpt(VOLTS), more=[excerpt(f"{CABLE} {CLOTH}")]),
            "How do I clean it?": closest,
            "Which colour?": shows(excerpt(VOLTS), excerpt(f"It is blue. {CABLE}")),
            "What does it cost?": shows(excerpt(VOLTS)),
        },
    )
    questions, documents = reading_set(tmp_path)
    kept = tmp_path / "answers.jsonl"
    done = await responsa("eval", "reading", documents, "--set", questions, "--answers", kept, "--json")
    assert done.code == 0, done.err
    (line,) = done.lines
    assert values_of(line) == {
        "questions": 6,
        "answerable": 4,
        "failed": 0,
        "textOnly": 0,
        "shown": 0.75,
        "withMore": 1.0,
        "first": 0.5,
        "refused": 0.25,
        "meanBytes": (36 + 24 + 61 + 24) / 4,
        "mostBytes": 61,
        "nearMissesRefused": 0.0,
        "offTopicRefused": 1.0,
        "written": None,
        "cited": None,
        "citedRight": None,
        "nearMissesCited": None,
        "citations": 0,
        "valid": None,
    }
    assert line["sources"]["shop"] == {name: value for name, value in line.items() if name != "sources"}
    written = [json.loads(one) for one in kept.read_text().splitlines()]
    assert [one["id"] for one in written] == [one["id"] for one in ASKED]
    assert [one["shows"] for one in written] == [True, False, True, True, False, False]
    shown = await responsa("eval", "reading", documents, "--set", questions)
    assert "shop\n  questions          6\n  answerable         4\n" in shown.out
    assert "  shown              0.750  (" in shown.out


async def test_a_models_citations_are_compared_with_the_labels(
    responsa: CommandLine, server: Scripted, library: ScriptedLibrary, tmp_path: Path
) -> None:
    Server(
        server,
        library,
        {
            "What voltage?": writes("It needs 12 volts.", VOLTS),
            "How long is the cable?": writes("It has two metres.", VOLTS),
            "How do I clean it?": writes("With water."),
            "Which colour?": writes("It is blue.", "It is blue.", CHANGED),
            "What does it cost?": writes("It costs 12.", VOLTS),
        },
    )
    questions, documents = reading_set(tmp_path)
    labels = tmp_path / "labels.jsonl"
    done = await responsa("eval", "reading", documents, "--set", questions, "--labels", labels, "--json")
    assert done.code == 0, done.err
    found = values_of(done.lines[0])
    assert (found["written"], found["cited"], found["citedRight"]) == (1.0, 0.5, 0.25)
    assert (found["nearMissesCited"], found["citations"], found["valid"]) == (1.0, 4, 0.75)
    assert [json.loads(line) for line in labels.read_text().splitlines()] == [
        {"question": "What voltage?", "texts": [VOLTS]},
        {"question": "How long is the cable?", "texts": [CABLE]},
        {"question": "How do I clean it?", "texts": [CLOTH]},
        {"question": "Which colour?", "texts": ["It is blue."]},
    ]


async def test_a_file_that_cannot_be_written_fails_before_the_questions(
    responsa: CommandLine, tmp_path: Path
) -> None:
    questions, documents = reading_set(tmp_path)
    done = await responsa("eval", "reading", documents, "--set", questions, "--answers", tmp_path)
    assert done.code == 2
    assert f"{tmp_path} cannot be written" in done.err


async def test_wrong_documents_and_wrong_labels_are_named(responsa: CommandLine, tmp_path: Path) -> None:
    questions, documents = reading_set(tmp_path)
    (documents / "shop" / "lamp.md").write_text(LAMP + "More.")
    done = await responsa("eval", "reading", documents, "--set", questions)
    assert done.code == 2
    assert "expected are 1 files" in done.err
    assert "Put only the files *.md of ours, at the commit 1, into this folder" in done.err
    (questions / "choose.jsonl").write_text(json.dumps({**ASKED[0], "answers": []}) + "\n")
    done = await responsa("eval", "reading", documents, "--set", questions)
    assert done.code == 2
    assert "choose.jsonl line 1 is not a valid question" in done.err
    backwards = {**ASKED[0], "answers": [{"document": "lamp.md", "start": 9, "end": 9}]}
    (questions / "choose.jsonl").write_text(json.dumps(backwards) + "\n")
    done = await responsa("eval", "reading", documents, "--set", questions)
    assert "before its end" in done.err
    done = await responsa("eval", "reading", documents, "--set", tmp_path)
    assert done.code == 2
    assert "sources.toml cannot be read" in done.err


def test_the_committed_labels_are_whole() -> None:
    """Three parts of 120 questions and a larger one. A third of each part has no answer, and no source outside this
    repository is in two parts."""
    named: dict[str, set[ReadingPart]] = {}
    for part in (ReadingPart.FIT, ReadingPart.CHOOSE, ReadingPart.LOOK):
        asked = [one for _, one in lines(OURS / f"{part}.jsonl", Asked, "question")]
        assert len({one.id for one in asked}) == len({one.question for one in asked}) == 120
        assert sum(one.kind != "answerable" for one in asked) >= 39
        for one in asked:
            named.setdefault(one.source, set()).add(part)
    assert {name for name, parts in named.items() if len(parts) > 1} == {"responsa", "samples"}
    assert len(named) >= 6
    more = [one for _, one in lines(OURS / f"{ReadingPart.MORE}.jsonl", Asked, "question")]
    assert len({one.id for one in more}) == 971
    assert not named.keys() & {one.source for one in more}
    with pytest.raises(CommandFailed, match="expected are"):
        ReadingSet.read(OURS, ReadingPart.LOOK, OURS / "nowhere", 0)


def test_intervals() -> None:
    wilson = share([True] * 9 + [False])
    assert wilson is not None
    assert (wilson.value, wilson.low, wilson.high) == pytest.approx((0.9, 0.5958, 0.9821), abs=1e-4)
    assert share([]) is None
    even = ratio([(1, 2), (3, 2)] * 50)
    assert even is not None
    assert even.value == 1
    assert 0.85 < even.low < 1 < even.high < 1.15
    assert ratio([(0, 0)]) is None
