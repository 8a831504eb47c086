"""Templates that overflow the stack of the template engine's parser, as administrators could write them in mappings. The server runs in the process of the test, so a crash ends the test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa_server.sources import sandbox
from tests.rpc.served import Failure, Served, failed

MAPPING = """connection = "staff"
collection = "people"
[queries.d]
sql = "SELECT 1 AS id"
columns = { id = "integer" }
[documents.d]
query = "d"
key = "1"
text = "TEXT"
"""
MINUS = "{{ " + "-" * 30_000 + "1 }}"
SHAPES = [
    MINUS,
    "{{ 1" + "+1" * 20_000 + " }}",
    "{{ 1" + "|abs" * 10_000 + " }}",
    "{{ 1 " + "if 1 else 1 " * 5000 + "}}",
    "{% if 1 %}" + "{% elif 1 %}" * 5000 + "{% endif %}",
]


async def refused(served: Served, mapping: str) -> list[Failure]:
    """The errors of the three calls that take a mapping."""
    source = {"mapping": mapping}
    update = admin.UpdateSourceRequest(
        source={"name": "sources/d", **source}, update_mask={"paths": ["mapping"]}
    )
    return [
        await failed(call)
        for call in (
            served.ann.PreviewSource(mapping=mapping),
            served.ann.CreateSource(source_id="d", source=source),
            served.ann.UpdateSource(update),
        )
    ]


async def test_a_mapping_is_refused_by_the_line_of_its_template(served: Served) -> None:
    for shape in SHAPES:
        preview, create, update = await refused(served, MAPPING.replace("TEXT", shape))
        assert {preview.reason, create.reason} == {"INVALID_FIELD"}
        for error in (preview, create):
            assert error.message.startswith(
                ("mapping: line 9: documents.d.text: ", "source.mapping: line 9: ")
            )
            assert " more than " in error.message
        assert update.reason == "RESOURCE_NOT_FOUND"
    assert (await served.ann.GetMe()).name == served.ann.name


async def test_a_mapping_that_ends_its_process_is_refused(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_LIMITS", replace(sandbox._LIMITS, result_bytes=1))
    for error in (await refused(served, MAPPING.replace("TEXT", "{{ id }}")))[:2]:
        assert error.reason == "INVALID_FIELD"
        assert "mapping: takes too much memory or time to be read; simplify" in error.message
