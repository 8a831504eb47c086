"""`responsa eval claims`: the labels, and what the command prints. No server is needed."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import typer

from responsa_lab.evaluation import local
from responsa_lab.evaluation.claims import OURS, Labelled, eval_claims
from responsa_lab.evaluation.dataset import lines
from responsa_lab.evaluation.reading import Part, digest
from responsa_server.cli.output import EXIT_USAGE
from responsa_server.providers.minilm import MiniLmEmbedder

LAMP = "# Lamp\n\nThe lamp needs 12 volts and has a cable of two metres. Wipe it with a dry cloth.\n"
FACT = "The lamp needs 12 volts and has a cable of two metres."
START = LAMP.index(FACT)
RIGHT: dict[str, Any] = {
    "id": "volts", "source": "shop", "document": "lamp.md", "start": START, "end": START + len(FACT), "kind": "right", "made": "hand",
    "claim": [[START, START + len("The lamp needs 12 volts")], "."],
}  # fmt: skip
WRONG = {**RIGHT, "id": "volts-2", "kind": "number", "claim": ["The lamp needs 24 volts."]}


@pytest.fixture
def claims(tmp_path: Path, embedder: MiniLmEmbedder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a set of two claims (`set`) and its documents (`documents`)."""

    def loaded(_: ExitStack) -> MiniLmEmbedder:
        return embedder

    monkeypatch.setattr(local, "load_embedder", loaded)
    (tmp_path / "documents" / "shop").mkdir(parents=True)
    (tmp_path / "documents" / "shop" / "lamp.md").write_text(LAMP)
    (tmp_path / "set").mkdir()
    _, sha256 = digest(tmp_path / "documents" / "shop")
    (tmp_path / "set" / "sources.toml").write_text(
        f'[shop]\norigin = "ours"\ncommit = "1"\npaths = "*.md"\nlicence = "none"\ndocuments = 1\nsha256 = "{sha256}"\n'
    )
    label(tmp_path, RIGHT, WRONG)
    return tmp_path


def label(folder: Path, *labels: dict[str, Any]) -> None:
    (folder / "set" / "choose.jsonl").write_text("".join(json.dumps(one) + "\n" for one in labels))


def run(folder: Path, *, json: bool = True) -> None:
    eval_claims(folder / "documents", Part.CHOOSE, folder / "set", json=json)


def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(typer.Exit) as raised:
        run(folder, json=False)
    assert raised.value.exit_code == EXIT_USAGE
    return capsys.readouterr().err


def test_shares_of_accepted_claims_are_printed(claims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(claims)
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"right, hand", "wrong, hand", "right", "wrong", "wrong: number"}
    assert {name: values[0] for name, values in found.items() if "right" in name} == {
        "right, hand": 1.0,
        "right": 1.0,
    }
    assert found["wrong"] == found["wrong: number"] == [0.0, 0.0, found["wrong"][2]]
    run(claims, json=False)
    assert "right          1.000  (" in capsys.readouterr().out


def test_missing_documents_are_named(claims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (claims / "documents" / "shop" / "lamp.md").unlink()
    told = refused(claims, capsys)
    assert f"{claims / 'documents' / 'shop'} has 0 files" in told
    assert "Put only the files *.md of ours, at the commit 1, into this folder" in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "odd"}, "is not a valid claim: kind"),
        ({"document": "moon.md"}, "lacks"),
        ({"end": len(LAMP) + 9}, "lacks"),
        ({"claim": [["what", 0, 4]]}, "lacks"),
    ],
)
def test_the_file_and_line_of_a_broken_label_are_named(
    claims: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], told: str
) -> None:
    label(claims, RIGHT, WRONG | change)
    said = refused(claims, capsys)
    assert f"{claims / 'set' / 'choose.jsonl'} line 2 " in said
    assert told in said


def test_the_committed_claims_are_whole() -> None:
    documents: dict[tuple[str, str], Part] = {}
    for part in Part:
        labels = [one for _, one in lines(OURS / f"{part}.jsonl", Labelled, "claim")]
        assert len({one.id for one in labels}) == len(labels)
        for one in labels:
            assert documents.setdefault((one.source, one.document), part) is part
