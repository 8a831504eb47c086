"""What runs in the sandbox for sources: reading mappings, and filling in their templates. The server imports none of
it; `sandbox` asks for it by name.

The bytes of a computation are lines of JSON, and so is its result: a line for each thing that was asked for, in the
same order, written as soon as it is known. So the server knows at which one a process ended. A process takes so many as
it can within a moment, and the server starts another one for the rest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import cronsim  # noqa: F401  # pyright: ignore[reportUnusedImport] - so does `mapping`, as `origin_of` below
import httpx2  # noqa: F401  # pyright: ignore[reportUnusedImport] - `origin_of` imports it late, when the sandbox imports nothing
from pydantic import TypeAdapter

from responsa_etl.sources.mapping import RowProblem
from responsa_etl.sources.mapping_text import DocumentTemplates, parse_mapping
from responsa_etl.sources.sandbox import MOST_PROBLEM, ReadMapping, RenderedRow
from responsa_formats.sandbox.computation import Computation, Write

_MOMENT: Final = 1.0
_MOST_BYTES: Final = 4 << 20
_READ: Final = TypeAdapter(ReadMapping)
_RENDERED: Final = TypeAdapter(RenderedRow)
_SAMPLE: Final = """connection = "a"
collection = "a"
[queries.a]
sql = "SELECT a"
columns = { a = "text" }
[documents.a]
query = "a"
key = "{{ a | uper }}"
text = "{% if a %}{{ a }}{% endif %}"
"""


def _answer(each: Iterator[bytes], write: Write) -> None:
    size, until = 0, time.monotonic() + _MOMENT
    for line in each:
        write(line + b"\n")
        size += len(line)
        if size > _MOST_BYTES or time.monotonic() > until:
            return


def _read(data: bytes, write: Write) -> None:
    def read(line: bytes) -> bytes:
        mapping, problems = parse_mapping(json.loads(line))
        return _READ.dump_json(ReadMapping(mapping and replace(mapping, text=""), problems))

    _answer(map(read, data.splitlines()), write)


def _fill(data: bytes, write: Write) -> None:
    head, *rows = data.splitlines()
    templates = DocumentTemplates(json.loads(head))

    def fill(line: bytes) -> bytes:
        kind, row, whole = json.loads(line)
        return _RENDERED.dump_json(_fill_row(templates, kind, row, whole=whole))

    _answer(map(fill, rows), write)


def _fill_row(
    templates: DocumentTemplates, kind: str, row: Mapping[str, object], *, whole: bool
) -> RenderedRow:
    row, problem = templates.read(kind, row)
    unfit = bool(problem)
    if whole and not unfit:
        try:
            doc = templates.document(kind, row)
            metadata = {name: str(value) for name, value in doc.metadata.items()}
            return RenderedRow("", doc.key, doc.subject, doc.title, doc.text, doc.uri, metadata)
        except RowProblem as error:
            problem = str(error)[:MOST_PROBLEM]
    return RenderedRow(problem, *templates.about(kind, row), unfit=unfit)


def _lines(*values: object) -> bytes:
    return b"\n".join(json.dumps(value).encode() for value in values)


READ: Final = Computation(_read, _lines(_SAMPLE, _SAMPLE.replace("uper", "upper"), "["))
"""Reads mappings: a JSON text for each."""
FILL: Final = Computation(
    _fill, _lines(_SAMPLE.replace("uper", "upper"), ["a", {"a": "b"}, True], ["a", {"a": None}, False])
)
"""Fills in templates: a mapping, and for each row its kind, its values, and whether its document is wanted, or only its
key and its subject."""
