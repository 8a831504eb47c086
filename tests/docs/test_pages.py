"""Every command, sample and transcript of the docs, as a reader would try them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.docs.reader import ELSEWHERE, Reader, blocks, fits
from tests.instance import ROOT

# README is last, because the source and the declaration of its sample stay, and other pages list theirs.
PAGES: Final = [
    path
    for path in (
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "docs" / "maintainers").glob("*.md")),
        ROOT / "clients" / "python" / "README.md",
        ROOT / "README.md",
    )
    if any(block.kind != "mermaid" for block in blocks(path.read_text(encoding="utf-8")))
    # tests/system/test_tutorial.py runs this page with other settings.
    and path.name != "tutorial-agent.md"
]
ON_EVERY_RUN: Final = frozenset(
    {
        "README.md",
        "access.md",
        "accounts.md",
        "api.md",
        "first-calls.md",
        "moving-from-cairo-coder.md",
        "streams.md",
        "tutorial-sources.md",
        "tutorial-tools.md",
    }
)
"""The pages that a newcomer follows. `make soak` follows the others, too, because all pages take two minutes of CPU time."""


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page, marks=() if page.name in ON_EVERY_RUN else pytest.mark.soak, id=str(page.relative_to(ROOT))
        )
        for page in PAGES
    ],
)
def test_a_page_does_what_it_says(page: Path, reader: Reader) -> None:
    reader.follow(page)


def test_blocks_are_left_only_to_tests_that_read_the_page() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        left = [block for block in blocks(text) if "elsewhere" in block.words or block.kind in ELSEWHERE]
        tests = [ROOT / test for test in re.findall(r"`(tests/[\w/]+\.py)`", text)]
        assert all(test.is_file() for test in tests), page
        assert not left or any(page.name in test.read_text(encoding="utf-8") for test in tests), page


def test_what_fits() -> None:
    assert fits("a\n…\nc", "a\nb\nb\nc\n")
    assert fits("…\na\n…", "a")
    assert fits("a…", "abc")
    assert not fits("a…", "a\nb")
    assert not fits("a\nc", "a\nb\nc")
    assert not fits("b", "abc")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("```sh\necho one\n```\n```text\ntwo\n```\n", "it printed"),
        ("```sh\nfalse\ntrue\n```\n", "exit code 1"),
        ("```console\n$ echo one\ntwo\n```\n", "it printed|printed"),
        ("```\nwhat is this\n```\n", "say what the block is"),
        ("```json\n{\n```\n", "not JSON"),
        ("```sh start\nRESPONSA_NO_SUCH=1 responsa up\n```\n", "was started without"),
    ],
)
def test_a_page_that_is_wrong_is_caught(text: str, wrong: str, reader: Reader, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(AssertionError, match=wrong):
        reader.follow(page)


def test_no_page_writes_into_a_folder_of_the_checkout() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True, text=True)
    taken = {path.split("/", 1)[0] for path in listed.stdout.splitlines()}
    written = [
        (page.name, block.path)
        for page in (ROOT / "docs").glob("*.md")
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.path and block.kind not in ELSEWHERE
    ]
    assert len(written) > 10
    assert [(page, path) for page, path in written if path.split("/", 1)[0] in taken] == []
