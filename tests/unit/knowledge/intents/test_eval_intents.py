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


def test_it_shows_what_was_taken_for_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = written(tmp_path / "train", LINES)
    test = written(
        tmp_path / "test",
        [("water the lawn", "frost", "test"), ("will it freeze", "frost", "test"), ("x", "y", "train")],
    )
    eval_intents(train, test, pairs=1)
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["accuracy", "0.500"]
    assert out[1].split() == ["oos_recall", "-"]
    assert "2 in scope, 0 out of scope; 7 for training, 2 for the threshold." in out
    assert out[-1].split() == ["1", "frost", "water"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], 'holds no utterances of split "train"'),
        ([("play", "oos", "train")], "cannot be used for training"),
        ([("", "water", "train")], "line 1 is not a valid utterance: text"),
        ([("water", "water", "dev")], "line 1 is not a valid utterance: split"),
        (LINES[:9], 'holds no utterances of split "test"'),
    ],
)
def test_what_is_wrong_with_a_set_is_told(
    lines: list[tuple[str, str, str]], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "set", lines)
    whole = written(tmp_path / "whole", LINES)
    with pytest.raises(typer.Exit) as ended:
        eval_intents(folder, folder if len(lines) == 9 else whole, json=True)
    assert ended.value.exit_code == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert says in json.loads(shown.out)["error"]["message"]


def test_a_folder_without_utterances_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        eval_intents(tmp_path, tmp_path)
    assert "utterances.jsonl cannot be read" in capsys.readouterr().err


def test_a_setting_that_cannot_be_right_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "set", LINES)
    monkeypatch.setenv("RESPONSA_PORT", "none")
    with pytest.raises(typer.Exit) as ended:
        eval_intents(folder, folder)
    assert ended.value.exit_code == 2
    assert "settings are wrong: port" in capsys.readouterr().err
