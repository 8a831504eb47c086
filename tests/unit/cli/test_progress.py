"""The line that says how far the reading of a document is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from responsa.knowledge.v1 import document_pb2, generation_pb2
from responsa_server.cli.progress import reading


@pytest.mark.parametrize(
    ("seconds", "left"),
    [(0.0, "1 s"), (90.0, "90 s"), (125.0, "2 min"), (7199.0, "120 min"), (9000.0, "2 h")],
)
@pytest.mark.parametrize("of", [document_pb2.IngestMetadata, generation_pb2.ReindexMetadata])
def test_the_time_left_is_rounded(
    of: type[document_pb2.IngestMetadata | generation_pb2.ReindexMetadata], seconds: float, left: str
) -> None:
    progress = of(stage=document_pb2.INGEST_STAGE_EMBEDDING, passages_done=96, passages_total=5470)
    progress.time_left.FromTimedelta(timedelta(seconds=seconds))
    assert reading(progress) == f"embedding  96 of 5,470 passages, about {left} left"


def test_what_is_not_known_is_left_out() -> None:
    assert reading(document_pb2.IngestMetadata(stage=document_pb2.INGEST_STAGE_PARSING)) == "parsing"
