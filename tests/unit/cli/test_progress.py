"""The line that says how far the reading of a document is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from responsa.knowledge.v1 import document_pb2, generation_pb2
from responsa_server.cli import progress
from responsa_server.cli.progress import Progress, reading


@pytest.mark.parametrize(
    ("seconds", "left"),
    [(0.0, "1 s"), (90.0, "90 s"), (125.0, "2 min"), (7199.0, "120 min"), (9000.0, "2 h")],
)
@pytest.mark.parametrize("of", [document_pb2.IngestMetadata, generation_pb2.ReindexMetadata])
def test_the_time_left_is_rounded(
    of: type[document_pb2.IngestMetadata | generation_pb2.ReindexMetadata], seconds: float, left: str
) -> None:
    read = of(stage=document_pb2.INGEST_STAGE_EMBEDDING, passages_done=96, passages_total=5470)
    read.time_left.FromTimedelta(timedelta(seconds=seconds))
    assert reading(read) == f"embedding  96 of 5,470 passages, about {left} left"


def test_what_is_not_known_is_left_out() -> None:
    assert reading(document_pb2.IngestMetadata(stage=document_pb2.INGEST_STAGE_PARSING)) == "parsing"


def test_without_a_terminal_lines_say_how_far_a_long_command_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("cairo", 1500) as bar:
        bar.advance()
        monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
        bar.advance()
        bar.reach(1200, 1600)
    assert capsys.readouterr().err == "responsa: cairo: 2 of 1,500\nresponsa: cairo: 1,200 of 1,600\n"
