"""A version's bytes: equal content gives equal bytes, other content gives other bytes, and the database returns them unchanged."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_server.agents.config import content as content_module
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.content import (
    ENGINE,
    MOST_BYTES,
    Content,
    ContentBroken,
    content_of,
    new_version,
    pack,
    unpack,
)
from responsa_server.agents.config.files import SHIPPED, examine, read, verify
from tests.unit.agents.configured import SURROUNDINGS, TEST_KINDS, write

DEFAULTS = ("openai:gpt", "lab:small")

NAMED = 'name = "Test"'
DESCRIBED = 'description = "For tests."'


def content(folder: Path, defaults: Sequence[str] = DEFAULTS, shared: Path | None = None) -> Content:
    files = read(folder, shared or folder / "none")
    config, problems = verify(files, SURROUNDINGS)
    assert config is not None, problems
    assert files.config is not None
    return content_of(files.config, config, files.files, defaults, TEST_KINDS)


def test_all_that_nodes_use_is_in_it_and_nothing_else(tmp_path: Path) -> None:
    unused = [
        ("prompts/unused.md", "", "x"),
        ("prompts/parts/unused.md", "", "x"),
        ("examples/unused.jsonl", "", "{}"),
    ]
    found = content(write(tmp_path, *unused))
    assert set(found.prompts) == {"write", "hello"}
    assert set(found.partials) == {"parts/tone.md"}
    assert set(found.examples) == {"examples/intents.jsonl"}
    assert found.chain == ("openai:gpt", "lab:small")


FETCHER = Path(__file__).parents[3] / "cases" / "agents" / "fetcher"


def test_an_agents_own_prompt_that_chooses_tools_is_checked(tmp_path: Path) -> None:
    folder = shutil.copytree(FETCHER, tmp_path / "fetcher")
    (folder / "prompts" / "tool_selection.md").write_text("Choose: {{ tols }}\n", encoding="utf-8")
    problems = examine(folder, Surroundings(), SHIPPED / "shared").problems
    assert any(problem.file == "prompts/tool_selection.md" for problem in problems)


def test_it_comes_whole_out_of_its_bytes(tmp_path: Path) -> None:
    folder = write(tmp_path)
    found = unpack(pack(content(folder)))
    assert found == content(folder)
    files = read(folder, folder / "none").files
    assert found.sources() == dict(files.prompts)
    assert found.parts() == dict(files.partials)


@pytest.mark.parametrize(
    ("file", "old", "new", "another"),
    [
        ("agent.toml", "steps = 20", "steps = 21", True),
        ("agent.toml", 'description = "For tests."', 'description = "For trials."', True),
        ("prompts/write.md", "one sentence", "two sentences", True),
        ("prompts/parts/tone.md", "kind", "brief", True),
        ("examples/intents.jsonl", "Hello!", "Hello there!", True),
        ("agent.toml", NAMED, '# A remark.\nname   =   "Test"', False),
        ("agent.toml", f"{NAMED}\n{DESCRIBED}", f"{DESCRIBED}\n{NAMED}", False),
        ("prompts/unused.md", "", "Nobody reads this.", False),
    ],
)
def test_only_what_shapes_answers_makes_another_version(
    file: str, old: str, new: str, tmp_path: Path, *, another: bool
) -> None:
    before = pack(content(write(tmp_path / "before")))
    assert (pack(content(write(tmp_path / "after", (file, old, new)))) != before) is another


def test_what_the_server_says_where_the_agent_does_not(tmp_path: Path) -> None:
    folder = write(tmp_path)
    plain = pack(content(folder))
    # The default models shape answers, so they are part of a version.
    assert pack(content(folder, ("openai:gpt",))) != plain


def test_another_engine_makes_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If new code runs the same files differently, the files must become a new version."""
    made = content(write(tmp_path))
    before = new_version(made)
    assert new_version(made) == before
    monkeypatch.setattr(content_module, "ENGINE", ENGINE + 1)
    after = new_version(made)
    assert after.engine == before.engine + 1
    assert after.sha256 != before.sha256


@given(st.binary(max_size=60))
def test_bytes_that_are_no_version_are_told(data: bytes) -> None:
    with pytest.raises(ContentBroken):
        unpack(data)


def test_what_is_too_large_is_told(tmp_path: Path) -> None:
    found = content(write(tmp_path))
    large = found.model_copy(update={"examples": {"examples/intents.jsonl": "x" * MOST_BYTES}})
    with pytest.raises(ContentBroken, match=r"at most 4,194,304"):
        new_version(large)
