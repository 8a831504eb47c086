"""`responsa agents check` and `graph`, which need no server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from responsa_server.agents.config.files import SHIPPED
from responsa_server.cli.main import main

BROKEN = 'name = "x"\nstart = "a"\n[nodes]\na = { kind = "refus" }\n'


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["agents", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_an_agent_that_is_right_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "check", str(SHIPPED / "default")) == (0, "default: ok\n", "")
    assert ran(capsys, "check", str(SHIPPED / "default" / "agent.toml")) == (0, "default: ok\n", "")
    code, out, _ = ran(capsys, "graph", str(SHIPPED / "default"))
    assert (code, out.splitlines()[0]) == (0, "flowchart TD")


def test_an_agent_that_is_wrong_is_told_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "agent.toml").write_text(BROKEN)
    line = "bad/agent.toml: nodes.a.kind: there is no kind of node “refus”. Did you mean “refuse”?\n"
    assert ran(capsys, "check", str(tmp_path)) == (2, line, "")
    assert ran(capsys, "graph", str(tmp_path / "bad")) == (2, "", line)
    code, out, _ = ran(capsys, "check", "--json", str(tmp_path / "bad"))
    assert code == 2
    assert json.loads(out) == {
        "agent": "bad",
        "file": "agent.toml",
        "line": None,
        "column": None,
        "key": "nodes.a.kind",
        "message": "there is no kind of node “refus”",
        "suggestion": "refuse",
    }


def test_a_folder_without_agents_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, "check", str(tmp_path))
    assert (code, out) == (2, "")
    assert "no agent.toml" in err


def test_names_of_models_are_held_against_those_that_there_can_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESPONSA_MODELS__SERVERS__LAB__URL", "http://127.0.0.1:9/v1")
    agent = (SHIPPED / "default" / "agent.toml").read_text()
    names = [
        "opnai:gpt-5",
        "scripted:strog",
        "embedded:smollm",
        "gpt-5",
        "openai:gpt-5",
        "lab:qwen3",
        "default",
    ]
    chain = ", ".join(f'"{name}"' for name in names)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "agent.toml").write_text(agent.replace('"default"', chain, 1))
    code, out, _ = ran(capsys, "check", "--json", str(tmp_path / "mine"))
    problems = [json.loads(line) for line in out.splitlines()]
    assert code == 2
    assert [(one["key"], one["suggestion"]) for one in problems] == [
        ("model.chain[0]", "openai:gpt-5"),
        ("model.chain[1]", "scripted:strong"),
        ("model.chain[2]", "embedded:smollm2"),
        ("model.chain[3]", ""),
    ]
    assert problems[0]["message"].startswith(
        "the model “opnai:gpt-5” is not available: there is no provider “opnai”, only “anthropic”, "
    )
    assert "models.servers.opnai.url" in problems[0]["message"]
    assert (
        problems[3]["message"]
        == "the model “gpt-5” is not available: a model's name has the form provider:model"
    )


def test_an_agent_of_this_machine_is_named_by_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESPONSA_HOME", str(tmp_path))
    own = tmp_path / "agents" / "mine"
    own.mkdir(parents=True)
    (own / "agent.toml").write_text(BROKEN)
    line = "mine/agent.toml: nodes.a.kind: there is no kind of node “refus”. Did you mean “refuse”?\n"
    assert ran(capsys, "check", "mine") == (2, line, "")
    assert ran(capsys, "graph", "mine") == (2, "", line)
    # All agents on this machine: the shipped ones and the user's.
    code, out, _ = ran(capsys, "check")
    assert (code, {line.strip(), "default: ok"} <= set(out.splitlines())) == (2, True)
    code, out, _ = ran(capsys, "graph", "default")
    assert (code, out.splitlines()[0]) == (0, "flowchart TD")
    # A user's agent replaces a shipped agent with the same id.
    own.rename(own.with_name("default"))
    assert ran(capsys, "check", "default")[0] == 2
    code, _, err = ran(capsys, "check", "nobody")
    assert code == 2
    assert "cairo, chat, default, knowledge, personal, scarb, tutor" in err
