"""`responsa eval reading`: the labels, the documents, and the figures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import empty_pb2

from responsa.chat.v1 import citation_pb2, turn_pb2
from responsa.type.v1 import byte_range_pb2
from responsa_lab.evaluation.dataset import lines
from responsa_lab.evaluation.metrics import ratio, share
from responsa_lab.evaluation.reading import OURS, Asked, Part, ReadingSet, digest, shows_markup
from responsa_server.cli.output import CommandFailed
from tests.clients.command_line import CommandLine
from tests.clients.library import ScriptedLibrary
from tests.clients.scripted import CHAT, CONVERSATION, TURN, Context, Scripted, refused

LAMP = "# Lamp\n\nThe lamp needs 12 volts. It is blue. Its cable has two metres. Wipe it with a dry cloth.\n"


def place(quote: str) -> dict[str, Any]:
    start = LAMP.encode().index(quote.encode())
    return {"document": "lamp.md", "start": start, "end": start + len(quote.encode())}


VOLTS, CABLE, CLOTH = "The lamp needs 12 volts.", "Its cable has two metres.", "Wipe it with a dry cloth."
ASKED: list[dict[str, Any]] = [
    {"id": "volts", "source": "shop", "kind": "answerable", "question": "What voltage?", "form": "prose", "answers": [place(VOLTS)], "belongs": [place(CABLE)]},
    {"id": "cable", "source": "shop", "kind": "answerable", "question": "How long is the cable?", "form": "prose", "answers": [place(CABLE)]},
    {"id": "clean", "source": "shop", "kind": "answerable", "question": "How do I clean it?", "form": "prose", "answers": [place(CLOTH)]},
    {"id": "light", "source": "shop", "kind": "answerable", "question": "Which colour?", "form": "prose", "answers": [place("It is blue.")]},
    {"id": "price", "source": "shop", "kind": "near_miss", "question": "What does it cost?"},
    {"id": "moon", "source": "shop", "kind": "off_topic", "question": "How far is the moon?"},
]  # fmt: skip
QUOTED: dict[str, tuple[str, ...]] = {
    "What voltage?": (VOLTS, CABLE, CLOTH),
    "How long is the cable?": ("It is blue.", CABLE),
    "How do I clean it?": ("# Lamp",),
    "What does it cost?": (VOLTS,),
}
"""What the scripted server quotes. It refuses all other questions."""


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


async def test_answers_are_compared_with_the_labels(
    responsa: CommandLine, server: Scripted, library: ScriptedLibrary, tmp_path: Path
) -> None:
    async def reply(request: Any, _: Context) -> turn_pb2.Turn:
        assert list(request.options.scope.collections) == ["collections/reading-shop"]
        event = refused(3)
        event.refused.suggestions.add(text=CLOTH)
        if quotes := QUOTED.get(request.text):
            document = library.documents["collections/reading-shop", "shop/lamp.md"].document.name
            text = "\n".join(quotes)
            cited: list[citation_pb2.Citation] = []
            for quote in quotes:
                found = place(quote)
                start = text.index(quote)
                cited.append(
                    citation_pb2.Citation(
                        document_version=f"{document}/versions/1",
                        quote=quote,
                        sha256=hashlib.sha256(quote.encode()).digest(),
                        source_range=byte_range_pb2.ByteRange(start=found["start"], end=found["end"]),
                        answer_range=byte_range_pb2.ByteRange(start=start, end=start + len(quote)),
                    )
                )
            # The order of the citations does not matter; their places in the answer do.
            event = turn_pb2.TurnEvent(
                seq=3,
                answer=turn_pb2.TurnAnswer(
                    text=text, sha256=hashlib.sha256(text.encode()).digest(), citations=cited[::-1]
                ),
            )
        return turn_pb2.Turn(name=TURN, conversation=CONVERSATION, terminal_event=event)

    async def delete(request: Any, _: Context) -> empty_pb2.Empty:
        assert request.name == CONVERSATION
        return empty_pb2.Empty()

    server.on(f"{CHAT}/Answer", reply)
    server.on(f"{CHAT}/DeleteConversation", delete)
    questions, documents = reading_set(tmp_path)
    kept = tmp_path / "answers.jsonl"
    done = await responsa("eval", "reading", documents, "--set", questions, "--answers", kept, "--json")
    assert done.code == 0, done.err
    (line,) = done.lines
    values: dict[str, Any] = {
        name: value[0] if isinstance(value, list) else value
        for name, value in line.items()
        if name != "sources"
    }
    assert values == {
        "questions": 6,
        "answerable": 4,
        "failed": 0,
        "pieces": 1.75,
        "right": 0.5,
        "rightFirst": 0.25,
        "wrong": 0.25,
        "refused": 0.25,
        "belonging": 0.6,
        "markup": 0.0,
        "nearMissesRefused": 0.0,
        "offTopicRefused": 1.0,
    }
    assert line["sources"]["shop"] == {name: value for name, value in line.items() if name != "sources"}
    written = [json.loads(one) for one in kept.read_text().splitlines()]
    assert [one["id"] for one in written] == [one["id"] for one in ASKED]
    assert [one["suggested"] for one in written] == [[]] * 3 + [[CLOTH], [], [CLOTH]]
    assert written[0]["cited"] == [place(VOLTS), place(CABLE), place(CLOTH)]
    shown = await responsa("eval", "reading", documents, "--set", questions)
    assert "shop\n  questions          6\n  answerable         4\n" in shown.out
    assert "  right              0.500  (0.150–0.850)" in shown.out


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
    """Three parts of 120 questions. A third of each part has no answer, and no source outside this repository is in two parts. The further questions are about other sources."""
    named: dict[str, set[Part]] = {}
    for part in Part:
        asked = [one for _, one in lines(OURS / f"{part}.jsonl", Asked, "question")]
        assert len({one.id for one in asked}) == len({one.question for one in asked}) == 120
        assert sum(one.kind != "answerable" for one in asked) >= 39
        for one in asked:
            named.setdefault(one.source, set()).add(part)
    assert {name for name, parts in named.items() if len(parts) > 1} == {"responsa", "samples"}
    assert len(named) >= 6
    more = [one for _, one in lines(OURS / "more.jsonl", Asked, "question")]
    assert len({one.id for one in more}) == 971
    assert not named.keys() & {one.source for one in more}
    with pytest.raises(CommandFailed, match="expected are"):
        ReadingSet.read(OURS, Part.LOOK, OURS / "nowhere", 0)


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("**Port**: `RESPONSA_PORT`, default 8080", False),
        ("| a | b |\n| --- | --- |\n| 1 | 2 |", False),
        ("```sh\necho {{ x }} | cat\n```", False),
        ("| a | b |", True),
        ("::: warning\nHot.\n:::", True),
        ("Press <kbd>F1</kbd>.", True),
        ("{{< hint >}} Read this.", True),
        ("a ** b", True),
    ],
)
def test_raw_markup_is_seen_after_rendering(text: str, visible: bool) -> None:
    assert shows_markup(text) is visible


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
