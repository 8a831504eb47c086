"""Prints what the parsers read of a file: `python -m responsa_formats FILE`. The exit code is 1 for a rejected document,
2 for wrong arguments, a file that cannot be read or an output that cannot be written, and 3 if no parser can be confined here."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from pathlib import Path

import structlog

from responsa_formats.containers import MIB
from responsa_formats.rejections import ParserUnavailable, Rejected
from responsa_formats.sandbox.computation import ParseLimits
from responsa_formats.sandbox.confinement import capabilities
from responsa_formats.sandbox.parsed_file import ParsedFile
from responsa_formats.sandbox.pool import ParserPool
from responsa_formats.text.canonical import Place


async def _read(path: Path, media_type: str) -> ParsedFile:
    async def pieces() -> AsyncIterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(MIB):
                yield piece

    pool = ParserPool(concurrency=1, limits=ParseLimits(512 * MIB, 20, 30), allow_unconfined=False)
    try:
        return await pool.read(pieces(), path.name, media_type)
    finally:
        await pool.close()


def _describe(parsed: ParsedFile) -> Iterator[str]:
    """What the document states, what was left out, and each block below its kind and its place in the file."""
    document = parsed.document()
    for name in ("title", "format", "language", "author", "date", "keywords"):
        if value := getattr(document, name):
            yield f"{name}: {', '.join(value) if name == 'keywords' else value}"
    if parsed.left_out:
        yield f"left out: {', '.join(f'{count} {kind}' for kind, count in parsed.left_out.items())}"
    data = document.canonical_text.encode()
    for block in document.blocks:
        place = block.place or Place()
        where = (place.page and f"page {place.page}", place.path, place.box and f"box {place.box}")
        marks = filter(None, (block.kind.value.lower(), block.level and f"level {block.level}", *where))
        yield f"\n[{', '.join(map(str, marks))}]\n{data[block.byte_start : block.byte_end].decode()}"


def _clean(text: str) -> str:
    """A document and its name must not write to the terminal but text."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)


def main() -> int:
    """Print the document, or why there is none. Returns the exit code."""
    parser = argparse.ArgumentParser("responsa_formats", description="Prints what is read of a document.")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--type", default="", help="its media type, if its name does not tell it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        if not (support := capabilities()).complete:
            raise ParserUnavailable(f"{support.sentence} Nothing is parsed without confinement.")
        with contextlib.closing(asyncio.run(_read(arguments.file, arguments.type))) as parsed:
            if arguments.json:
                print(json.dumps({**asdict(parsed.document()), "left_out": parsed.left_out}, default=str))
            else:
                for text in _describe(parsed):
                    print(_clean(text))
            sys.stdout.flush()
    except (Rejected, ParserUnavailable, OSError) as error:
        message = f"{arguments.file}: {error.strerror}" if isinstance(error, OSError) else error.message
        print(f"responsa_formats: {_clean(message)}", file=sys.stderr)
        return 1 if isinstance(error, Rejected) else 2 if isinstance(error, OSError) else 3
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    sys.exit(main())
