"""Gives each document to a pool of its own, as the first one that it reads: `python -m tests.security.first_documents FILE …`
prints what was imported late and what failed unexpectedly. It needs only what the server needs, so that any Python can run it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

import responsa_contract
from responsa_formats.parsers.table import FORMATS
from responsa_formats.rejections import Rejected
from responsa_formats.sandbox.pool import ParserPool
from responsa_server.ingest.settings import IngestionSettings
from tests.security import rich_documents

Job = Callable[[ParserPool], Awaitable[object]]
SETTINGS = IngestionSettings()
EVENTS = ("late_import", "parser_failed")
# A Python of the campaign has no installed contract.
CONTRACT = Path(responsa_contract.__file__ or "").parent.parent


async def run_first(job: Job, *, ocr: bool = False, strict: bool = False) -> Sequence[Mapping[str, Any]]:
    """The lines that a new pool logs about a job: its late imports, and its failure. strict: raises the Rejected of the job."""
    pool = ParserPool(concurrency=1, limits=SETTINGS.parse_limits, ocr=ocr, import_paths=[CONTRACT])
    with capture_logs() as lines:
        try:
            with nullcontext() if strict else suppress(Rejected):
                await job(pool)
        finally:
            await pool.close()
    return [line for line in lines if line["event"] in EVENTS]


def parsing(data: bytes, name: str = "", media_type: str = "") -> Job:
    return lambda pool: pool.parse(data, name, media_type)


def drawing(data: bytes, format_name: str) -> Job:
    return lambda pool: pool.draw(_pieces(data), format_name, 1, 300, SETTINGS.parse_limits)


def computing(name: str, data: bytes) -> Job:
    return lambda pool: pool.compute(f"responsa_etl.sources.{name}", data, SETTINGS.parse_limits)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


def jobs_of(files: Iterable[Path]) -> Mapping[str, Job]:
    """What a campaign runs, by name: each file, each page that is drawn, and what sources compute."""
    jobs = {f"sample {row.name}": parsing(row.sample, "", row.media_type) for row in FORMATS}
    jobs |= {f"rich {name}": parsing(data, name) for name, data in rich_documents.DOCUMENTS.items()}
    jobs |= {f"computed {name}": computing(name, data) for name, data in rich_documents.COMPUTED.items()}
    drawn = {suffix: row.name for row in FORMATS if row.drawer for suffix in row.suffixes}
    for file in files:
        data, suffix = file.read_bytes(), file.suffix[1:].lower()
        jobs[str(file)] = parsing(data, file.name)
        if suffix in drawn:
            jobs[f"page of {file}"] = drawing(data, drawn[suffix])
    return jobs


async def _main(files: Sequence[Path]) -> int:
    jobs = jobs_of(files)
    lines = {name: await run_first(job) for name, job in jobs.items()}
    if find_spec("rapidocr"):
        lines["scan"] = await run_first(parsing(rich_documents.SCAN, "scan.pdf"), ocr=True)
    for name, about in lines.items():
        for line in about:
            print(name, line)
    print(f"{len(lines)} jobs")
    return int(any(lines.values()))


if __name__ == "__main__":
    sys.exit(asyncio.run(_main([Path(argument) for argument in sys.argv[1:]])))
