"""`responsa agents check` and `graph`, which need no server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from responsa_server.catalogue.reading import SHIPPED
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
    line = "bad/agent.toml:4:7: nodes.a.kind: there is no kind of node “refus”. Did you mean “refuse”?\n"
    assert ran(capsys, "check", str(tmp_path)) == (2, line, "")
    assert ran(capsys, "graph", str(tmp_path / "bad")) == (2, "", line)
    code, out, _ = ran(capsys, "check", "--json", str(tmp_path / "bad"))
    assert code == 2
    assert json.loads(out) == {
        "agent": "bad",
        "file": "agent.toml",
        "line": 4,
        "column": 7,
        "key": "nodes.a.kind",
        "message": "there is no kind of node “refus”",
        "suggestion": "refuse",
    }


def test_a_folder_without_agents_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, "check", str(tmp_path))
    assert (code, out) == (2, "")
    assert "There is no agent.toml" in err
