"""`python -m bench.printed`: how much of a known text is read from the PDFs that Chromium and LibreOffice print of it, and how fast.

The PDFs are parsed in the sandbox. The speed is that of the parser alone, in this process, compared with the bare library, which gives the text without
order or structure.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

import pypdfium2
from playwright.async_api import async_playwright
from rich.console import Console
from rich.table import Table

from bench.printing import KINDS, SOFFICE, Document, agreement, as_html, documents, print_with_libreoffice
from responsa_server.ingest.formats import pdf
from responsa_server.ingest.formats.table import PDF
from responsa_server.ingest.sandbox.pool import ParserPool
from responsa_server.ingest.sandbox.zygote import collect_rarely
from responsa_server.ingest.settings import IngestionSettings
from responsa_server.ingest.sniff import sniff
from tests.browser.conftest import ARGUMENTS, chromium

_AIM: Final = 0.97
_ROUNDS: Final = 5
_library = cast("Any", pypdfium2)


def main(given: Sequence[str] | None = None) -> int:
    """Print, read, compare and report. Returns 1 if a kind misses its aim."""
    parser = argparse.ArgumentParser(prog="python -m bench.printed", description=__doc__)
    parser.add_argument(
        "--each", type=int, default=3, help="the number of documents of each kind and program"
    )
    parser.add_argument("--only", action="append", choices=list(KINDS), help="only this kind; repeatable")
    parser.add_argument("--keep", type=Path, help="keep the PDFs and what was read from them in this folder")
    options = parser.parse_args(given)
    made = documents(options.each, options.only or tuple(KINDS))
    with tempfile.TemporaryDirectory() as folder:
        printed = {"Chromium": asyncio.run(_print_with_chromium(made))}
        if SOFFICE is not None:
            printed["LibreOffice"] = print_with_libreoffice(made, Path(folder))
    worst = asyncio.run(_compare(made, printed, options.keep))
    table = Table(
        "kind",
        *printed,
        title=f"Share of words that are read in the right order, in the worst of {options.each} documents",
    )
    for kind, scores in worst.items():
        table.add_row(kind, *(f"{scores[program]:.3f}" for program in printed))
    console = Console()
    console.print(table)
    ours, bare = _speeds([data for by_name in printed.values() for data in by_name.values()])
    console.print(f"{ours:.0f} pages per second; the bare library {bare:.0f}; ratio {ours / bare:.2f}")
    return 0 if all(score >= _AIM for scores in worst.values() for score in scores.values()) else 1


async def _print_with_chromium(made: Sequence[Document]) -> dict[str, bytes]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        page = await browser.new_page()
        printed: dict[str, bytes] = {}
        for document in made:
            await page.set_content(as_html(document))
            printed[document.name] = await page.pdf(prefer_css_page_size=True)
        await browser.close()
        return printed


async def _compare(
    made: Sequence[Document], printed: Mapping[str, Mapping[str, bytes]], keep: Path | None
) -> dict[str, dict[str, float]]:
    """The worst agreement of each kind, by program."""
    worst: defaultdict[str, dict[str, float]] = defaultdict(dict)
    pool = ParserPool(concurrency=1, limits=IngestionSettings().parse_limits)
    await pool.start()
    try:
        for program, by_name in printed.items():
            for document in made:
                data = by_name[document.name]
                read = (await pool.parse(data, f"{document.name}.pdf")).canonical_text
                score = agreement(document.text, read)
                worst[document.kind][program] = min(score, worst[document.kind].get(program, 1.0))
                if keep is not None:
                    _keep(keep, f"{program}-{document.name}", data, read, document.text)
    finally:
        await pool.close()
    return worst


def _keep(folder: Path, name: str, data: bytes, read: str, known: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.pdf").write_bytes(data)
    (folder / f"{name}.txt").write_text(read, "utf-8")
    (folder / f"{name}.known").write_text(known, "utf-8")


def _speeds(files: Sequence[bytes]) -> tuple[float, float]:
    """The pages per second of CPU time of the parser, and those of the bare library. The garbage collector has the settings of the sandbox."""
    collect_rarely()
    pages = sum(map(_bare, files))

    def timed(read: Callable[[bytes], object]) -> float:
        start = time.process_time()
        for data in files:
            read(data)
        return pages / (time.process_time() - start)

    rounds = [(timed(_parse), timed(_bare)) for _ in range(_ROUNDS)]
    return median(ours for ours, _ in rounds), median(bare for _, bare in rounds)


def _parse(data: bytes) -> object:
    return pdf.parse(sniff(data, "a.pdf", known=PDF.name))


def _bare(data: bytes) -> int:
    document = _library.PdfDocument(data)
    for page in document:
        page.get_textpage().get_text_range()
    return len(document)


if __name__ == "__main__":
    sys.exit(main())
