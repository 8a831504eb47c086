"""Separates the own words of a reply from what it quotes: each quoted message is a section below them, whose heading says
whose it is and when.

What is quoted is marked by ">" or `blockquote`, or follows the line or the header that programs write above it. A
message that is no reply, or forwards another one, stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, NamedTuple

from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.text.canonical import BlockKind, Place, one_line

_PREFIX: Final = re.compile(r"\s*([^\W\d]{1,12})(?:\[\d+\])?\s?[:：]")
_FORWARDED, _FROM, _SUBJECT = (
    frozenset(words.split())
    for words in (
        "fw fwd wg tr rv enc i doorst vb vl pd továbbítás пересл 转发 轉寄 転送",
        "from von de da van från fra lähettäjä od feladó от від kimden από מאת من 发件人 寄件者 差出人 보낸사람",
        "subject betreff objet asunto oggetto assunto onderwerp ämne emne aihe temat předmět predmet tárgy subiect тема"
        " konu θέμα נושא الموضوع 主题 主題 主旨 件名 제목",
    )
)
"""What programs write before the subject of a message that they forward, and how they name the sender and the subject."""
_NAME: Final = re.compile(r"[\W_]*([^\W\d_][^:：@<]{0,24}?)[\s*]*[:：]")
_HEADER_LINES: Final = 9
_RULER: Final = re.compile(r"\s*[-_=*]{5,}")
_MARKS: Final = re.compile(r"(?:\s{0,2}>)+ ?")
_ADDRESS: Final = re.compile(r"<[^<>\s]+@[^<>\s]+>")


class _MailLine(NamedTuple):
    """A line of a paragraph, or another block. block: its number. depth: within how many messages it is quoted."""

    text: str
    block: int
    depth: int
    kind: BlockKind
    level: int
    place: Place | None


def is_reply(subject: str, *, answers: bool) -> bool:
    """Whether a message may quote others below its own words. answers: whether its headers name another one."""
    prefix = _PREFIX.match(subject)
    return (answers or prefix is not None) and (prefix is None or prefix[1].casefold() not in _FORWARDED)


@dataclass(slots=True)
class ReplyWriter(BlockWriter):
    """Takes the blocks of a reply."""

    lines: list[_MailLine] = field(default_factory=list[_MailLine])

    def write(
        self, text: str, kind: BlockKind, level: int = 0, marker: str = "", place: Place | None = None
    ) -> None:
        block = self.lines[-1].block + 1 if self.lines else 0
        for line in text.split("\n") if kind in (BlockKind.PARAGRAPH, BlockKind.QUOTE) else [text]:
            marks = _MARKS.match(line)
            depth = self.quotes + (marks[0].count(">") if marks else 0)
            self.lines.append(
                _MailLine(line[marks.end() if marks else 0 :], block, depth, kind, level, place)
            )

    def write_to(self, blocks: BlockWriter) -> None:
        """Write the own words, and the messages below them, each as a section."""
        for head, lines in _messages([line for line in self.lines if line.text.strip()], 0, None):
            if head is not None:
                blocks.write(one_line(f"Quoted: {head}".rstrip(": ")), BlockKind.HEADING, 2)
            for _, group in groupby(lines, lambda line: line.block):
                first, *rest = group
                text = "\n".join(line.text for line in (first, *rest))
                blocks.write(text, first.kind, first.level, "", first.place)


def _messages(
    lines: Sequence[_MailLine], depth: int, head: str | None
) -> Iterator[tuple[str | None, Sequence[_MailLine]]]:
    """A message, and those that it quotes, each with the line or header above it. depth: that of its own lines."""
    own: list[_MailLine] = []
    marked: list[_MailLine] = []
    above = ""
    number = after = 0
    while number < len(lines) and not after:
        size = 0 if lines[number].depth > depth else _introduction(lines[number:], depth)
        goes_on = number + size < len(lines) and lines[number + size].depth > depth
        if size and not (goes_on and above):
            above, after = _joined(lines[number : number + size]), 0 if goes_on else number + size
        else:
            (marked if lines[number].depth > depth else own).append(lines[number])
        number += size or 1
    if own:
        yield head, own
    if marked:
        yield from _messages(marked, depth + 1, "" if after else above)
    if after:
        yield from _messages(lines[after:], depth, above)


def _introduction(lines: Sequence[_MailLine], depth: int) -> int:
    """The number of lines at the beginning that say whose the text after them is; 0 if they do not."""
    ruled = _RULER.match(lines[0].text) is not None
    names: list[str] = []
    size = 0
    for number, line in enumerate(lines[:_HEADER_LINES]):
        ends = not _SUBJECT.isdisjoint(names) and line.block != lines[number - 1].block
        if line.depth != depth or ends:
            break
        if (name := _NAME.match(line.text)) or _RULER.match(line.text):
            names += ["".join(name[1].split()).casefold()] if name else []
            size = number + 1
        elif not names:
            break
    if not _SUBJECT.isdisjoint(names) and (names[0] in _FROM or (ruled and not _FROM.isdisjoint(names))):
        return size
    for size, line in enumerate(lines[: 2 + ruled], 1):
        text = _joined(lines[:size])
        wrapped = size > 1 + ruled and any(map(str.isdigit, line.text))
        if line.depth != depth or line.block != lines[0].block or wrapped:
            break
        if text.endswith((":", "：")) and any(map(str.isdigit, text)):
            deeper = size < len(lines) and lines[size].depth > depth
            return size if deeper or _ADDRESS.search(text) else 0
    return 0


def _joined(lines: Sequence[_MailLine]) -> str:
    return ", ".join(
        line.text.replace(":*", ":").strip(" *") for line in lines if not _RULER.match(line.text)
    )
