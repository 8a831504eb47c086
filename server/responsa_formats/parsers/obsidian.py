"""The marks with which Obsidian extends Markdown: comments, callouts, links between notes, embeds and names of blocks.

Code keeps its characters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from responsa_formats.documents import LeftOutKind

_FENCE: Final = re.compile(r"[ \t>]*(`{3,}|~{3,})")
_CODE: Final = re.compile(r"(`+[^`\n]*`+)")
_CALLOUT: Final = re.compile(r"\A([ \t]*+(?:>[ \t]?+)++)\[![\w-]{1,40}(?:\|[^\]]{0,40})?\][+-]?[ \t]*")
_EMBED: Final = re.compile(r"!\[\[([^\[\]\n]{1,300})\]\]")
_LINK: Final = re.compile(r"\[\[(?=[^\s\[\]])([^\[\]\n|]{1,300})(?:\|([^\[\]\n]{1,300}))?\]\](?!\()")
_NAME: Final = re.compile(r"(?:^|[ \t])\^(?=[0-9-]*[A-Za-z])[A-Za-z0-9-]{1,40}[ \t]*$")
_PICTURE: Final = re.compile(r"\.(?:png|jpe?g|gif|svg|webp|bmp|avif)\b", re.IGNORECASE)


def plain(text: str, left_out: Counter[LeftOutKind]) -> str:
    """The text without these marks. left_out: gets the comments and the embeds."""
    if not ("%%" in text or "[[" in text or "[!" in text):
        return text
    return "".join(_lines(text, left_out))


def _lines(text: str, left_out: Counter[LeftOutKind]) -> Iterator[str]:
    fence = ""
    comment = False
    # Of an odd number of marks, the last one begins no comment.
    marks = text.count("%%") // 2 * 2
    for line in text.splitlines(keepends=True):
        match = _FENCE.match(line)
        if not comment and match is not None and (not fence or match.group(1).startswith(fence)):
            fence = "" if fence else match.group(1)
            yield line
            continue
        if fence:
            yield line
            continue
        parts: list[str] = []
        for number, part in enumerate(_CODE.split(line)):
            if number % 2:
                parts.append("" if comment else part)
                continue
            for index, piece in enumerate(part.split("%%")):
                if index and marks:
                    marks -= 1
                    comment = not comment
                    left_out[LeftOutKind.COMMENT] += comment
                elif index:
                    parts.append("%%")
                if not comment:
                    parts.append(_render(piece, left_out))
        shown = "".join(parts)
        end = line[len(line.rstrip("\r\n")) :]
        yield _NAME.sub("", _CALLOUT.sub(r"\1", shown.rstrip("\r\n"))) + end


def _render(piece: str, left_out: Counter[LeftOutKind]) -> str:
    def embed(match: re.Match[str]) -> str:
        picture = _PICTURE.search(match.group(1)) is not None
        left_out[LeftOutKind.PICTURE if picture else LeftOutKind.EMBEDDED_FILE] += 1
        return ""

    def link(match: re.Match[str]) -> str:
        return match.group(2) or match.group(1).replace("#", " > ").lstrip("> ")

    return _LINK.sub(link, _EMBED.sub(embed, piece))
