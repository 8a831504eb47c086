"""A mapping at which its process in the sandbox ends. It is the mapping's fault, and the server lives on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa_etl.sources import sandbox
from tests.rpc.served import Failure, Served, failed

MAPPING = """connection = "staff"
collection = "people"
[queries.d]
sql = "SELECT 1 AS id"
columns = { id = "integer" }
[documents.d]
query = "d"
key = "1"
text = "{{ id }}"
"""


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


async def test_a_mapping_that_ends_its_process_is_refused(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_LIMITS", replace(sandbox._LIMITS, result_bytes=1))
    for error in (await refused(served, MAPPING))[:2]:
        assert error.reason == "INVALID_FIELD"
        assert "mapping: takes too much memory or time to be read; simplify" in error.message
