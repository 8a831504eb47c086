"""Every key has a description, and every documented default is the actual default."""

from __future__ import annotations

import pytest

from responsa_server.agents.nodes.table import KINDS
from responsa_server.tools.table import KINDS as TOOL_KINDS
from tests.instance import ROOT
from tools.agents_reference import BEGIN, PAGES, page, reference, tools_reference


def test_every_key_stands_there_with_its_default_and_what_it_says() -> None:
    lines = reference().splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| `")]
    assert [row for row in rows if not row[2].strip(" |")] == []
    for row in (
        ("| `name`", "required"),
        ("| `history.messages`", "`10`"),
        ("| `retrieval.rerank`", "`true`"),
        ("| `retrieval.collections`", "empty"),
        ("| `model.temperature`", "unset"),
        ("| `model.chain`", "`default`"),
        ("| `from`", "required"),
        ("| `is`", "unset"),
    ):
        assert row in [(one[0], one[1]) for one in rows]
    assert {row[0][3:-1] for row in rows if len(row) == 4} == set(KINDS)


def test_the_pages_are_as_the_models_say() -> None:
    for name, tables in PAGES.items():
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert text == page(text, tables()), "run `make generate`"
    text = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    assert page(text.replace("| `history.messages`", "| `history.massages`"), reference()) == text
    with pytest.raises(ValueError, match="lacks the two markers"):
        page("# Agents", "")


def test_every_key_of_a_tool_and_every_kind_is_described() -> None:
    lines = tools_reference().splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| `")]
    assert [row for row in rows if not row[2].strip(" |")] == []
    assert ["| `timeout`", "`20.0`"] in [row[:2] for row in rows]
    assert [line[4:] for line in lines if line.startswith("### ")] == sorted(TOOL_KINDS)


def test_each_kind_is_told_of_in_words() -> None:
    words = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8").partition(BEGIN)[0]
    assert [kind for kind in KINDS if f"- `{kind}`" not in words] == []
