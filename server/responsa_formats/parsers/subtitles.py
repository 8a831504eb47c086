"""Subtitles and transcripts: WebVTT and SubRip (.srt). What one speaker says is a paragraph, and its place has the speaker and the time.

Cues that follow each other are joined, because a sentence runs over several of them. A line that repeats the last one,
as rolling captions do, is read once. Notes and styles are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Final

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.sniff import Original
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import BlockKind, ParsedDocument, Place, one_line

_TIME: Final = r"(?:\d{1,4}:)?\d{1,2}:\d{2}[.,]\d{1,3}"
_TIMES: Final = re.compile(rf"\s{{0,9}}({_TIME})\s{{1,9}}-->\s{{1,9}}({_TIME})(?:\s|\Z)")
_VOICE: Final = re.compile(r"<v(?:\.[^\s>]{1,100})?\s+([^>]{1,200})>")
_TAG: Final = re.compile(r"</?[A-Za-z0-9.:][^<>]{0,200}>|\{\\[^{}]{0,200}\}")
_LINE_END: Final = re.compile(r"\r\n?")
_BLANK: Final = re.compile(r"\n[ \t]*\n")
_ENDED: Final = re.compile(r"[.!?…。！？][\"'”’)\]]?\Z")
_LONG: Final = 300
"""From this many characters on, a paragraph ends with the sentence."""
_LONGEST: Final = 2000


def parse(original: Original) -> ParsedDocument:
    """Extract what is said. Raises Rejected if there is nothing, or more than the server stores."""
    blocks = BlockWriter()
    speaker, begun, speech = "", "", ""

    def write() -> None:
        if speech:
            text = f"{speaker}: {speech}" if speaker else speech
            path = f"{begun}, {speaker}" if speaker else begun
            blocks.write(text, BlockKind.PARAGRAPH, place=Place(path=path))

    last = ""
    for time, voice, lines in _cues(original):
        if voice != speaker or len(speech) > _LONGEST or (len(speech) > _LONG and _ENDED.search(speech)):
            write()
            speaker, begun, speech = voice, time, ""
        for line in lines:
            if line != last:
                speech = f"{speech} {line}" if speech else line
                begun = begun or time
            last = line
    write()
    if not blocks.parts:
        raise Rejected.as_empty("The subtitles say nothing. Upload a file with cues.")
    return blocks.document(original)


def _cues(original: Original) -> Iterator[tuple[str, str, list[str]]]:
    """The beginning, the speaker, who stays until another one is named, and the lines of each cue."""
    for block in _BLANK.split(_LINE_END.sub("\n", original.text)):
        rows = block.strip().splitlines()
        index = next((n for n, row in enumerate(rows[:2]) if _TIMES.match(row)), None)
        if index is None:
            original.left_out[LeftOutKind.COMMENT] += block.lstrip().startswith("NOTE")
            continue
        times = _TIMES.match(rows[index])
        assert times is not None, "the row with the times has just been found"
        voice = ""
        lines: list[str] = []
        for row in rows[index + 1 :]:
            named = _VOICE.search(row)
            if named is not None and named.group(1).strip() != voice:
                if lines:
                    yield times.group(1), voice, lines
                    lines = []
                voice = one_line(unescape(named.group(1)))
            text = one_line(unescape(_TAG.sub("", row)).replace("\x00", ""))
            if text:
                lines.append(text)
        yield times.group(1).replace(",", "."), voice, lines
