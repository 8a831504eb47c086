"""`responsa eval intents` without a server, with a small data set for this test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer

from responsa_lab.evaluation.intents import eval_intents

TRAIN = {
    "water": ["water the beds", "when do roses need water", "how much watering do herbs need"],
    "frost": ["will it freeze tonight", "is frost coming", "how cold will the night be"],
}
LINES = [
    *((text, label, "train") for label, texts in TRAIN.items() for text in texts),
    ("play some jazz", "oos", "train"),
    ("do tomatoes need water", "water", "val"),
    ("is there frost this night", "frost", "val"),
    ("do the herbs need water", "water", "test"),
    ("will there be frost", "frost", "test"),
    ("is it going to freeze", "frost", "test"),
    ("what is the capital of peru", "oos", "test"),
]


def written(folder: Path, lines: Sequence[tuple[str, str, str]]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "utterances.jsonl").write_text(
        "".join(
            json.dumps({"text": text, "intent": intent, "split": split}) + "\n"
            for text, intent, split in lines
        )
    )
    return folder


@pytest.fixture(autouse=True)
def no_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESPONSA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_it_measures_and_leaves_nothing(
    tmp_path: Path, no_instance: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "set", LINES)
    eval_intents(folder, folder, json=True)
    scores = json.loads(capsys.readouterr().out)
    assert scores.keys() == {"accuracy", "oos_recall", "kept"}
    assert (scores["accuracy"], scores["oos_recall"]) == (1.0, 1.0)
    assert not no_instance.exists()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], 'holds no utterances of split "train"'),
        ([("", "water", "train")], "line 1 is not a valid utterance: text"),
    ],
)
def test_what_is_wrong_with_a_set_is_told(
    lines: list[tuple[str, str, str]], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "set", lines)
    whole = written(tmp_path / "whole", LINES)
    with pytest.raises(typer.Exit) as ended:
        eval_intents(folder, whole, json=True)
    assert ended.value.exit_code == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert says in json.loads(shown.out)["error"]["message"]
