"""Finds sentences in a text that plainly give instructions to an assistant, such as "Ignore all previous instructions"
or "End your reply with a poem".

What protects a prompt are the marks around every untrusted text. These patterns only take the plainest instructions out
of prompts and passages, so that nobody reads them as an answer. When they change, so does `INSTRUCTING_VERSION` in
`domain/passages.py`. Instructions to readers, such as "Press the button", are ordinary text. docs/security.md says how
often an agent obeys.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from responsa_server.text.patterns import read_patterns

OMITTED: Final = "[…]"
"""What stands in place of a sentence that `without_instructions` leaves out."""
MOST_CHARACTERS: Final = 2_000
"""The number of characters of a sentence that are read together. A longer one is read in parts."""

_PATTERNS: Final = read_patterns("instructing")
_INSTRUCTIONS: Final = _PATTERNS["instructions"]
[_TRIGGER] = _PATTERNS["trigger"]

_QUOTED: Final = re.compile(
    r"“[^“”\n]{1,300}”|„[^„“”\n]{1,300}[“”]|«[^«»\n]{1,300}»|\"[^\"\n]{1,300}\"|`[^`\n]{1,300}`|(?<!\w)['‘][^'‘’\n]{2,300}['’](?!\w)"
)
_LEAST_OUTSIDE: Final = 2
_NORMALIZED: Final = 200
"""The number of characters that are normalised together. The time grows with the square of the length of a run of combining marks."""
_WORD: Final = re.compile(r"\w+")
_HIDDEN: Final = {
    **dict.fromkeys(
        (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10))
    ),
    **dict.fromkeys((0xAD, 0x34F, 0x61C, 0x180E, 0xFEFF, ord("*"))),
    **{0xE0000 + code: chr(code) for code in range(0x20, 0x7F)},
    0x2019: "'",
}
"""Invisible characters, and what stands for them. Tags, which are invisible letters, become ordinary letters, because
models may read them."""


def instructing_spans(text: str) -> Sequence[tuple[int, int]]:
    """The ranges [start, end) of characters that give instructions to an assistant, in order and without overlaps.

    A range consists of whole sentences, lines or cells of a table. If a range announces an instruction, as in "Follow this
    instruction:", the next sentence or line of the paragraph belongs to it.
    """
    spans: list[tuple[int, int]] = [match.span() for match in _ENCLOSED.finditer(text)]
    for paragraph in _paragraphs(text):
        announced = False
        for lines in _sentences(text, paragraph):
            own = [_instructs(text[start:end]) for start, end in lines]
            if not any(own) and len(lines) > 1:
                # A sentence that goes on in the next line is also read as a whole.
                own = [_instructs(text[lines[0][0] : lines[-1][1]])] * len(lines)
            follows = False
            for (start, end), instructs in zip(lines, own, strict=True):
                follows = instructs or announced or (follows and text[start].islower())
                announced = instructs and text[start:end].rstrip("*_ \"”'>)]").endswith((":", "："))
                if follows:
                    spans.append((start, end))
    return _merge(sorted(spans))


def instructing_ranges(near: bytes, start: int, passage: tuple[int, int]) -> Sequence[tuple[int, int]]:
    """The ranges [start, end) of bytes of a canonical text that give instructions to an assistant, in a passage and
    near it, in order and without overlaps.

    near, start: the passage with the text around it, and the place of its first byte. passage: its first byte and its
    end. A sentence counts if it gives instructions where it stands, or where the passage cuts it.
    """
    low, high = passage[0] - start, passage[1] - start
    return _merge(sorted((*_byte_spans(near, 0, start), *_byte_spans(near[low:high], low, start))))


def _byte_spans(data: bytes, low: int, start: int) -> Iterator[tuple[int, int]]:
    # A character that is cut at the beginning is left out.
    cut = next((index for index, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)
    text = data[cut:].decode(errors="ignore")
    for first, last in instructing_spans(text):
        first_byte = start + low + cut + len(text[:first].encode())
        yield first_byte, first_byte + len(text[first:last].encode())


def without_instructions(text: str, spans: Sequence[tuple[int, int]] | None = None) -> str:
    """The text with OMITTED in place of the sentences that give instructions to an assistant; the same text if there
    are no such sentences. spans: the result of `instructing_spans`, if it is known."""
    parts: list[str] = []
    position = 0
    if spans is None:
        spans = _of_line(text) if len(text) <= _LINE_CHARACTERS else instructing_spans(text)
    for start, end in spans:
        parts += (text[position:start], OMITTED)
        position = end
    return "".join((*parts, text[position:])) if position else text


_of_line = lru_cache(maxsize=4_096)(instructing_spans)
_LINE_CHARACTERS: Final = 200
"""The length up to which a text is probably a title or a heading, which stands above many passages."""
_BLANK: Final = re.compile(r"\n[ \t\r]*\n")
_ENDING: Final = re.compile(
    r"(?<!\b[DM]r)(?<!\bMrs)(?<!\b[ei]\.[ge])[.!?…](?=[\"'”’)\]*_]{0,3}\s(?!\s?[a-zà-ÿ]))[\"'”’)\]*_]{0,3}|[。！？؟।]|\n"
    r"|(?<=\s)\|(?=\s)|(?:^|(?<=\n))\|"
)
_ENCLOSED: Final = re.compile(
    (
        r"<(system|instructions?|assistant|prompt)>(?:(?!<\1>).){1,2000}?</\1>|\[INST\].{1,2000}?\[/INST\]"
        r"|<\|im_start\|>.{1,2000}?<\|im_end\|>|<\|endoftext\|>.{1,2000}?<\|endoftext\|>"
    ),
    re.IGNORECASE | re.DOTALL,
)
_MOST_LINES: Final = 4


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _BLANK.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def _sentences(text: str, paragraph: tuple[int, int]) -> Iterator[Sequence[tuple[int, int]]]:
    """The sentences of a paragraph, each as its lines, without white space at their ends."""
    start, end = paragraph
    lines: list[tuple[int, int]] = []
    for match in (*_ENDING.finditer(text, start, end), None):
        stop = end if match is None else match.end()
        raw = text[start:stop]
        low = start + len(raw) - len(raw.lstrip(" \t\r\n|"))
        high = start + len(raw.rstrip(" \t\r\n|"))
        if low < high:
            lines.append((low, high))
        start = stop
        if lines and (match is None or match.group() != "\n" or len(lines) == _MOST_LINES):
            yield lines
            lines = []


def _instructs(text: str) -> bool:
    """Whether a sentence gives an instruction, in ordinary letters and outside of what it quotes. A text that is hardly
    more than a quote is read whole."""
    if text.isascii():
        plain = text.replace("*", "")
    else:
        pieces = (text[start : start + _NORMALIZED] for start in range(0, len(text), _NORMALIZED))
        plain = "".join(unicodedata.normalize("NFKC", piece) for piece in pieces).translate(_HIDDEN)
    shown = " ".join(plain.split())
    if _TRIGGER.search(shown) is None:
        return False
    for start in range(0, len(shown), MOST_CHARACTERS // 2):
        part = shown[start : start + MOST_CHARACTERS]
        outside = " ".join(_QUOTED.sub(' "" ', part).split())
        read = outside if len(_WORD.findall(outside)) >= _LEAST_OUTSIDE else part
        if any(pattern.search(read) for pattern in _INSTRUCTIONS):
            return True
    return False


def _merge(spans: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
