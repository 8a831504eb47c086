"""Headed sections: the parts of a Markdown text between two headings, and the blocks of each. Pure.

A section begins with its heading and ends before the next heading of any level. The text before the first heading is a section without a
heading. A line that looks like a heading within a code fence is code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from responsa_server.domain.events import ByteRange

_FENCE: Final = re.compile(r"[ \t]*(?:>[ \t]?)*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(`{3,}|~{3,})(.*)")
# No heading has more than 1,000 characters; the time for one grows with the square of its length.
_HEADING: Final = re.compile(r"(?=.{0,1000}$) {0,3}#{1,6}(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE: Final = re.compile(r" {0,3}(?:=+|-{2,})[ \t]*$")
_ITEM: Final = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
_CODE_INDENT: Final = 4
_NOT_A_TITLE: Final = re.compile(r"[ \t]*(?:[-*+>|]|\d{1,9}[.)])")


@dataclass(frozen=True, slots=True)
class HeadedBlock:
    """A paragraph, a list, a table or a code block. source: its bytes, from its first visible character. indent: the
    columns before this character.
    code: whether it is code, in a fence or indented.
    """

    source: ByteRange
    indent: int
    code: bool


@dataclass(frozen=True, slots=True)
class HeadedSection:
    """A heading with the text below it. source: its bytes, without white space at the end. heading: the heading's
    Markdown, without its marks; '' if it has no heading.
    blocks: its blocks below the heading, in order.
    """

    source: ByteRange
    heading: str
    blocks: Sequence[HeadedBlock]


class _HeadedLine(NamedTuple):
    start: int
    end: int
    text: str


def headed_sections(text: str, start: int = 0, *, fenced: bool = False) -> Sequence[HeadedSection]:
    """The sections of a text that have a visible character, in order. start: the offset of the text's first byte.
    fenced: whether the text begins within fenced code."""
    sections: list[HeadedSection] = []
    heading, begins = "", start
    blocks: list[HeadedBlock] = []
    listed = False

    def close() -> None:
        if blocks:
            source = ByteRange(begins if heading else blocks[0].source.start, blocks[-1].source.end)
            sections.append(HeadedSection(source, heading, tuple(blocks)))

    for lines, is_code, titled in _blocks(text, start, fenced=fenced):
        if titled is None:
            block = _block(lines, code=is_code)
            listed = _ITEM.match(lines[0].text) is not None or (listed and block.indent > 1)
            # Outside of a list, an indented block is code.
            indented = block.indent >= _CODE_INDENT and not listed
            blocks.append(replace(block, code=is_code or indented))
            continue
        close()
        heading, begins, blocks, listed = titled, lines[0].start, [], False
    close()
    return sections


def _lines(text: str, start: int) -> Iterator[_HeadedLine]:
    for line in text.split("\n"):
        size = len(line.encode())
        yield _HeadedLine(start, start + size, line)
        start += size + 1


def _blocks(
    text: str, start: int, *, fenced: bool
) -> Iterator[tuple[Sequence[_HeadedLine], bool, str | None]]:
    """The lines of each block, whether the block is fenced code, and the heading that it is; None if it is none."""
    block: list[_HeadedLine] = []
    mark = "```" if fenced else ""
    for line in _lines(text, start):
        fence, heading = _FENCE.match(line.text), None if mark else _HEADING.match(line.text)
        opens = fence and not mark and not ("`" in fence.group(1) and "`" in fence.group(2))
        if block and not mark and (opens or heading or not line.text.strip()):
            yield block, False, None
            block = []
        if heading and not opens:
            yield [line], False, heading.group(1) or ""
        elif (
            not mark
            and len(block) == 1
            and _UNDERLINE.match(line.text)
            and not _NOT_A_TITLE.match(block[0].text)
        ):
            yield [*block, line], False, block[0].text.strip()
            block = []
        elif mark or line.text.strip():
            block.append(line)
        if fence and opens:
            mark = fence.group(1)
        elif fence and mark and fence.group(1).startswith(mark) and not fence.group(2).strip():
            yield block, True, None
            block, mark = [], ""
    if block:
        yield block, bool(mark), None


def _block(lines: Sequence[_HeadedLine], *, code: bool) -> HeadedBlock:
    first = lines[0].text
    blank = len(first) - len(first.lstrip())
    end = lines[-1].end - (len(lines[-1].text.encode()) - len(lines[-1].text.rstrip().encode()))
    source = ByteRange(lines[0].start + len(first[:blank].encode()), end)
    return HeadedBlock(source, len(first[:blank].expandtabs(4)), code)


def fenced_code(text: str) -> Sequence[str]:
    """The code of each fenced block with a visible character, in order."""
    blocks: list[str] = []
    for lines, fenced, _ in _blocks(text, 0, fenced=False):
        closed = len(lines) > 1 and lines[-1].text.strip().strip("`~") == ""
        code = "\n".join(line.text for line in lines[1 : -1 if closed else None])
        blocks += [code] if fenced and code.strip() else []
    return blocks
