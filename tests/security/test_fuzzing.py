"""Mutated documents of every format: the sandbox gives a text, a drawn page or a typed error within its limits, and the
process that forks the parsers never ends. Besides the samples of the formats, the long form mutates the real files of
the public data sets, if they are next to the checkout.

`make fuzz COUNT=100000` makes another 100,000 inputs; `python -m tests.faults.sums` sums the counts of all runs. Each
1,000 inputs are counted at once, so an interruption loses few of them. If an input fails, the message names its seed
and its number; RESPONSA_SOAK_SEED with that seed makes the same inputs again.
"""

from __future__ import annotations

import asyncio
import io
import random
import zipfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from responsa_formats.containers import MIB
from responsa_formats.parsers.table import FORMATS, Format
from responsa_formats.rejections import Rejected
from responsa_formats.sandbox.computation import ParseLimits
from responsa_formats.sandbox.parsed_file import ParsedFile
from responsa_formats.sandbox.pool import ParserPool
from responsa_formats.text.drawn import png
from tests.faults.forms import Form, Report, forms

LIMITS = ParseLimits(memory_bytes=256 * MIB, cpu_seconds=5, wall_seconds=60, result_bytes=8 * MIB)
AT_ONCE = 2
PORTION = 1000
WIDTH = 200
TOKENS = (
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"-1",
        b"0",
        b"4294967296",
        b"9" * 40,
        b"1e999",
        b"%s",
        b"../../x",
    ),
    *(
        b"(" * 3000,
        b"[" * 3000,
        b"<b>" * 2000,
        b"> " * 2000,
        b'{"a":' * 2000,
        b"<<" * 500,
        b"|" * 5000,
        b"\n" * 3000,
    ),
    *(
        b'<!DOCTYPE a [<!ENTITY b "c">]>',
        b"&#x110000;",
        b"\xe2\x80\xae",
        b"\xf4\x90\x80\x80",
        b"endobj",
        b"stream\n",
    ),
)


def mutated(data: bytes, dice: random.Random) -> bytes:
    """The document with one to eight changes."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 8)):
        place = dice.randrange(len(changed) + 1)
        end = min(len(changed), place + dice.choice((1, 4, 64, 1024)))
        match dice.randrange(7):
            case 0:
                changed[place:end] = dice.randbytes(end - place)
            case 1:
                del changed[place:end]
            case 2:
                changed[place:place] = dice.choice(TOKENS)
            case 3:
                changed[place:place] = changed[place:end] * dice.choice((2, 50))
            case 4:
                other = dice.randrange(len(changed) + 1)
                changed[other:other] = changed[place:end]
            case 5:
                if place < len(changed):
                    changed[place] ^= 1 << dice.randrange(8)
            case _:
                if dice.random() < 0.2:
                    del changed[place:]
    return bytes(changed)


def originals(row: Format, folder: Path | None) -> Sequence[bytes]:
    """What the documents of a format are made from: its sample, and the real files in the folder."""
    found = [] if folder is None else sorted((folder / "files" / "raw").glob("*"))
    real = [path.read_bytes() for path in found if path.suffix[1:].lower() in row.suffixes]
    return [row.sample, *real]


def fuzzed(row: Format, original: bytes, dice: random.Random) -> bytes:
    """A mutated document. Half of the archives are mutated within a member, because most others cannot be opened."""
    if row.member is None or dice.random() < 0.5 or not zipfile.is_zipfile(io.BytesIO(original)):
        return mutated(original, dice)
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(original)) as sample, zipfile.ZipFile(made, "w") as archive:
        members = sample.namelist()
        chosen = dice.choice(members)
        for name in members:
            data = sample.read(name)
            archive.writestr(name, mutated(data, dice) if name == chosen else data)
    return made.getvalue()


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


def check(parsed: ParsedFile) -> None:
    """All of the document can be read, within the limits."""
    assert 0 < parsed.size <= LIMITS.result_bytes
    assert FORMATS.with_name(parsed.format) is not None
    length = sum(
        len(parsed.section(index).document.canonical_text.encode()) for index in range(parsed.section_count)
    )
    assert length == parsed.size


async def read(pool: ParserPool, row: Format, data: bytes, known: str) -> str:
    """Read a document, and return the outcome."""
    with closing(await pool.read(pieces(data), f"a.{row.suffixes[0]}", known_format=known)) as parsed:
        await asyncio.to_thread(check, parsed)
    return "read"


async def draw(pool: ParserPool, row: Format, data: bytes) -> str:
    """Draw the first page of a document, and return the outcome."""
    page = await pool.draw(pieces(data), row.name, 1, WIDTH, LIMITS)
    if page.pixels:
        png(page)
        return "drawn"
    return "without a page"


async def try_one(pool: ParserPool, row: Format, data: bytes, dice: random.Random) -> str:
    """The outcome of one document. Half of the documents go straight to their parser, because sniffing refuses many of them."""
    try:
        if row.drawer and dice.random() < 0.5:
            return await draw(pool, row, data)
        return await read(pool, row, data, row.name if dice.random() < 0.5 else "")
    except Rejected as refusal:
        return refused(refusal)


def refused(refusal: Rejected) -> str:
    """Check a refusal, and return its reason."""
    assert refusal.message.isprintable()
    return refusal.reason.value


def zygotes() -> Sequence[int]:
    """The processes that this process has started and that live."""
    return sorted(
        child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE
    )


@forms(short=24, long=100_000)
async def test_a_mutated_document_is_read_or_refused(
    form: Form, request: pytest.FixtureRequest, shared_data: Path | None
) -> None:
    rows = [(row, originals(row, shared_data if form.limits else None)) for row in FORMATS]
    before = zygotes()
    pool = ParserPool(concurrency=AT_ONCE, limits=LIMITS)
    await pool.start()
    forking = zygotes()
    assert len(forking) == len(before) + 1

    async def work(numbers: Iterator[int], report: Report) -> None:
        for number in numbers:
            dice = form.dice(str(number))
            row, known = rows[number % len(rows)]
            data = fuzzed(row, dice.choice(known), dice)
            try:
                outcome = await try_one(pool, row, data, dice)
            except Exception as error:
                raise AssertionError(f"seed {form.seed}, input {number} ({row.name}): {error!r}") from error
            report.count("inputs")
            report.count(outcome)

    try:
        for start in range(0, form.count, PORTION):
            report = Report("fuzzing", form)
            numbers = iter(range(start, min(start + PORTION, form.count)))
            await asyncio.gather(*(work(numbers, report) for _ in range(AT_ONCE)))
            assert zygotes() == forking
            assert report.counts["read"] > 0
            report.tell(request)
    finally:
        await pool.close()
