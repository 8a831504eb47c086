"""Counts the sentences of a folder's pages that count as instructions to an assistant, and prints them: in a manual or a cookbook, each is a false alarm.

Reads .html, .page and .txt files; code and scripts are left out, and a block that occurs twice counts once.

Usage: python tools/instruction_alarms.py FOLDER...
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from selectolax.lexbor import LexborHTMLParser

from responsa_server.text.instructing import instructing_spans
from responsa_server.text.sentences import sentences

BLOCKS: Final = "p, li, td, th, dt, dd, h1, h2, h3, h4, title, item"
UNREAD: Final = ["script", "style", "pre", "code", "screen"]


def blocks(file: Path) -> Iterator[str]:
    """The paragraphs, headings, cells and items of a page, or the lines of a text, without those that contain others."""
    raw = file.read_text("utf-8", "replace")
    if file.suffix == ".txt":
        yield from raw.splitlines()
        return
    page = LexborHTMLParser(raw)
    page.strip_tags(UNREAD)
    for one in page.css(BLOCKS):
        if not any(inner != one for inner in one.css(BLOCKS)):
            yield " ".join(one.text().split())


def main(folders: list[str]) -> None:
    """Print the counts of each folder, and the false alarms."""
    for folder in folders:
        files = (one for one in Path(folder).rglob("*") if one.suffix in {".html", ".page", ".txt"})
        texts = {text for file in sorted(files) for text in blocks(file)}
        count = sum(1 for text in texts for _ in sentences(text, "en"))
        alarms = [text[start:end] for text in sorted(texts) for start, end in instructing_spans(text)]
        print(f"{folder}: {count} sentences, {len(alarms)} false alarms")
        for one in alarms:
            print(f"  {one}")


if __name__ == "__main__":
    main(sys.argv[1:])
