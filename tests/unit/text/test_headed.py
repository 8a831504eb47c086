"""Sections between headings, their blocks and their code."""

from __future__ import annotations

import pytest

from responsa_server.text.headed import fenced_code, headed_sections

PAGE = """Before all.

# Wells

How deep is it?

```sh
# not a heading

measure --depth
```

## Water ##

- clean
- cold

Table
-----
| a | b |
|---|---|
| 1 | 2 |
"""


def cut(text: str) -> list[tuple[str, list[str]]]:
    """The heading and the text of each block of each section, and checks the bounds of the sections."""
    data, end = text.encode(), 0
    sections: list[tuple[str, list[str]]] = []
    for headed_section in headed_sections(text):
        assert end <= headed_section.source.start < headed_section.source.end
        end = headed_section.source.end
        assert headed_section.blocks[-1].source.end == end
        blocks = [data[block.source.start : block.source.end].decode() for block in headed_section.blocks]
        sections.append((headed_section.heading, blocks))
    return sections


def test_sections_begin_at_headings_and_keep_their_code_whole() -> None:
    assert cut(PAGE) == [
        ("", ["Before all."]),
        ("Wells", ["How deep is it?", "```sh\n# not a heading\n\nmeasure --depth\n```"]),
        ("Water", ["- clean\n- cold"]),
        ("Table", ["| a | b |\n|---|---|\n| 1 | 2 |"]),
    ]


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("", []),
        ("# Only a heading", []),
        ("# Ä\n\nö", [("Ä", ["ö"])]),
        ("a\n\n```\n# open", [("", ["a", "```\n# open"])]),
        ("- item\n---\n\nb", [("", ["- item\n---", "b"])]),
        ("1. do\n\n   ```sh\n   run\n   ```", [("", ["1. do", "```sh\n   run\n   ```"])]),
        ("````md\n```\n# x\n```\n````\n\n# y\nz", [("", ["````md\n```\n# x\n```\n````"]), ("y", ["z"])]),
    ],
)
def test_what_looks_like_a_heading_or_a_fence(text: str, sections: list[tuple[str, list[str]]]) -> None:
    assert cut(text) == sections


def test_a_text_may_begin_within_code() -> None:
    (one, two) = headed_sections("# code\n```\n# Heading\n\nText.", 100, fenced=True)
    assert (one.source.start, one.source.end, one.blocks[0].code) == (100, 110, True)
    assert (two.heading, two.source.start) == ("Heading", 111)


def test_an_indented_block_is_code_unless_it_belongs_to_a_list() -> None:
    (one,) = headed_sections(
        "    measure\n\nRun this:\n\n    run --all\n\n- item\n\n    more of it\n\nEnd.\n\n\ttab"
    )
    assert [(block.code, block.indent) for block in one.blocks] == [
        (True, 4),
        (False, 0),
        (True, 4),
        (False, 0),
        (False, 4),
        (False, 0),
        (True, 4),
    ]


def test_code_blocks_are_without_their_fences() -> None:
    assert fenced_code(PAGE) == ["# not a heading\n\nmeasure --depth"]
    assert fenced_code("```\n\n```\n~~~\nopen") == ["open"]
    assert fenced_code("```Cairo,noplayground\nfn\n```") == ["fn"]
