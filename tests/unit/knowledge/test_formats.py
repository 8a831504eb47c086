"""A new format needs only one row and one file, because all code that depends on formats reads the table."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from responsa_server.calls.convert import knowledge
from responsa_server.domain.errors import Reason
from responsa_server.ingest.formats.table import FORMATS, HTML, MARKDOWN, Format, Formats
from responsa_server.ingest.sandbox.pool import ParserPool
from responsa_server.ingest.settings import IngestionSettings
from responsa_server.ingest.sniff import decide_format, sniff
from tests.unit.knowledge.in_memory import InMemory
from tests.unit.knowledge.originals import rejected

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "toy_format"
FILE = b"TOY1\x0bThe m\xc3\xb6lder\x04rye."


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    return importlib.import_module("toy_format")


async def test_the_sandbox_parses_a_format_that_the_table_has(toy: ModuleType) -> None:
    pool = ParserPool(
        concurrency=2,
        limits=IngestionSettings().parse_limits,
        formats="toy_format:FORMATS",
        import_paths=[FOLDER],
    )
    try:
        for name, declared in (("a.toy", ""), ("", "application/x-toy"), ("", "")):
            parsed = await pool.parse(FILE, name, declared)
            assert (parsed.format, parsed.title) == ("TOY", "The m\xf6lder")
            data = parsed.canonical_text.encode()
            assert [data[b.byte_start : b.byte_end] for b in parsed.blocks] == [b"The m\xc3\xb6lder", b"rye."]
        with rejected(Reason.DOCUMENT_MALFORMED, match="beyond the file"):
            await pool.parse(b"TOY1\x7fcut", "a.toy")
        assert (await pool.parse(b"# Rye", "a.md")).format == "MARKDOWN"
    finally:
        await pool.close()


def test_an_upload_of_it_is_accepted_and_one_under_another_name_is_not(toy: ModuleType) -> None:
    formats: Formats = toy.FORMATS
    assert decide_format(InMemory(FILE), "a.toy", "", formats) == "application/x-toy"
    with rejected(Reason.DOCUMENT_TYPE_MISMATCH, match="but the content is a toy document"):
        decide_format(InMemory(FILE), "a.md", "", formats)
    with rejected(Reason.DOCUMENT_TYPE_MISMATCH, match="but the content is text"):
        decide_format(InMemory(b"words"), "a.toy", "", formats)
    with rejected(
        Reason.DOCUMENT_TYPE_UNSUPPORTED, match=r"Outlook e-mail \(.msg\) and toy \(.toy\)"
    ) as caught:
        decide_format(InMemory(b"words"), "a.rst", "", formats)
    assert caught.value.metadata["accepted"] == ",".join(one.media_type for one in formats)


def test_it_is_listed(toy: ModuleType) -> None:
    listed = [knowledge.document_format(one) for one in toy.FORMATS]
    assert [one.display_name for one in listed] == [*(one.display_name for one in FORMATS), "toy"]
    assert list(listed[-1].suffixes) == [".toy"]
    assert list(listed[-1].media_types) == ["application/x-toy"]


def test_a_format_that_was_decided_before_is_not_decided_again() -> None:
    page = b"<html><p>x</p></html>"
    assert sniff(page, "", "").format == "HTML"
    assert sniff(page, "", "", known="TEXT").format == "TEXT"


@pytest.mark.parametrize(
    "twin",
    [
        replace(HTML, suffixes=("htx",), media_types=("text/htx",)),
        replace(HTML, name="HTX", media_types=("text/htx",)),
        replace(HTML, name="HTX", suffixes=("htx",)),
    ],
)
def test_two_rows_share_nothing(twin: Format) -> None:
    with pytest.raises(ValueError, match="occurs both in the row of HTML and"):
        Formats((*FORMATS, twin))


def test_a_table_of_one_format_says_so() -> None:
    assert Formats([MARKDOWN]).accepted == "Only Markdown (.md) is accepted."
