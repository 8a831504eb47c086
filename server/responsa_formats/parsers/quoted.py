"""Separates the own words of a reply from what it quotes: each quoted message is a section below them, whose heading says
whose it is and when.

What is quoted is marked by ">" or `blockquote`, or follows the line or the header that programs write above it. A
message that is no reply, or forwards another one, stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from itertools import groupby
from typing import Final, NamedTuple

from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.text.canonical import QUOTED, Block, BlockKind, ParsedDocument, Place, one_line

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
_HEADER_LINES: Final = 9
_NAME: Final = re.compile(r"[\W_]*([^\W\d_][^:：@<]{0,24}?)[\s*]*[:：]")
_RULER: Final = re.compile(r"\s*[-_=*]{5,}")
_WROTE: Final = re.compile(
    r"(?:[-_=*]{5,99}+.{0,200}+\n)?(?=.{0,300}?\d).{1,300}?(?:\n[^\n\d]{1,300})??[:：]\s{0,9}$", re.MULTILINE
)
_ADDRESS: Final = re.compile(r"<[^<>\s@]+@[^<>\s]+>")
_MARKS: Final = re.compile(r"(?:\s{0,2}>)+ ?")


class _MailLine(NamedTuple):
    """A line of a paragraph, or another block. depth: within how many messages it is quoted."""

    text: str
    depth: int
    block: Block


def is_reply(subject: str, headers: EmailMessage) -> bool:
    """Whether a message may quote another one below its own words."""
    prefix = _PREFIX.match(subject)
    if prefix is None:
        return "In-Reply-To" in headers or "References" in headers
    return prefix[1].casefold() not in _FORWARDED


def write_reply(body: ParsedDocument, blocks: BlockWriter) -> None:
    """Write the own words of a reply, and then the messages that it quotes."""
    data = body.canonical_text.encode()
    lines: list[_MailLine] = []
    for block in body.blocks:
        text = data[block.byte_start : block.byte_end].decode()
        for line in text.split("\n") if block.kind in (BlockKind.PARAGRAPH, BlockKind.QUOTE) else [text]:
            marks = _MARKS.match(line)
            if own := line[marks.end() if marks else 0 :]:
                depth = block.quotes + (marks[0].count(">") if marks else 0)
                lines.append(_MailLine(own, depth, block))
    for head, message in _split(lines, 0, None):
        if head is not None:
            heading = one_line(f"Quoted: {head}".rstrip(": "))
            blocks.write(heading, BlockKind.HEADING, 2, place=Place(path=QUOTED))
        location = None if head is None else Place(path=QUOTED)
        for block, group in groupby(message, lambda line: line.block):
            blocks.write("\n".join(line.text for line in group), block.kind, block.level, "", location)


def _split(
    lines: Sequence[_MailLine], depth: int, head: str | None
) -> Iterator[tuple[str | None, Sequence[_MailLine]]]:
    """A message, and those that it quotes, each with the line or header above it. depth: that of its own lines."""
    own: list[_MailLine] = []
    marked: list[_MailLine] = []
    above = ""
    number = after = 0
    while number < len(lines) and not after:
        deeper = lines[number].depth > depth
        size = 0 if deeper else _count_introduction(lines[number:], depth, opens=head == "" and number == 0)
        goes_on = number + size < len(lines) and lines[number + size].depth > depth
        if size and not (goes_on and above):
            named = (line.text.replace(":*", ":").strip(" *") for line in lines[number : number + size])
            above = ", ".join(part for part in named if not _RULER.match(part))
            after = 0 if goes_on else number + size
        else:
            (marked if deeper else own).append(lines[number])
        number += size or 1
    if own:
        yield head, own
    if marked:
        yield from _split(marked, depth + 1, "" if after else above)
    if after:
        yield from _split(lines[after:], depth, above)


def _count_introduction(lines: Sequence[_MailLine], depth: int, *, opens: bool) -> int:
    """The number of lines at the beginning that say whose the text after them is; 0 if they do not. opens: whether they
    are the first ones of a quotation."""
    names: list[str] = []
    size = 0
    for number, line in enumerate(lines[:_HEADER_LINES]):
        name, ruled = _NAME.match(line.text), _RULER.match(line.text)
        ends = not _SUBJECT.isdisjoint(names) and line.block is not lines[number - 1].block
        if line.depth != depth or ends or not (name or ruled or names):
            break
        names += ["".join(name[1].split()).casefold()] if name else []
        size = number + 1 if name or ruled else size
    known = not (_SUBJECT.isdisjoint(names) or _FROM.isdisjoint(names))
    if known and (names[0] in _FROM or _RULER.match(lines[0].text)):
        return size
    near = (line.text for line in lines[:3] if line.block is lines[0].block and line.depth == depth)
    if wrote := _WROTE.match("\n".join(near)):
        size = wrote[0].strip().count("\n") + 1
        if opens or _ADDRESS.search(wrote[0]) or (size < len(lines) and lines[size].depth > depth):
            return size
    return 0
