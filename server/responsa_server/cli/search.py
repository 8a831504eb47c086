"""`responsa search`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from responsa.knowledge.v1 import knowledge_service_pb2
from responsa_server.cli.failures import reporting, valid_text
from responsa_server.cli.output import one_line, print_json, print_text
from responsa_server.cli.session import open_client

_EXCERPT = 300


class Mode(StrEnum):
    """Which indexes are asked."""

    HYBRID = "hybrid"
    VECTOR = "vector"
    TEXT = "text"


_MODES = {
    Mode.HYBRID: knowledge_service_pb2.SEARCH_MODE_HYBRID,
    Mode.VECTOR: knowledge_service_pb2.SEARCH_MODE_VECTOR,
    Mode.TEXT: knowledge_service_pb2.SEARCH_MODE_TEXT,
}


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(search)


def search(
    terms: Annotated[
        list[str], typer.Argument(help="1 to 8 terms; a passage scores by the one it matches best.")
    ],
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection", "-c", help="Search this collection; repeatable. Default: all that you may read."
        ),
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", min=1, max=100, help="How many passages at most.")
    ] = 10,
    threshold: Annotated[float, typer.Option(min=0.0, max=1.0, help="Leave out what scores lower.")] = 0.0,
    mode: Annotated[Mode, typer.Option(help="Which indexes are asked.")] = Mode.HYBRID,
    json: Annotated[bool, typer.Option("--json", help="Print one SearchHit a line, as proto-JSON.")] = False,
) -> None:
    """Find the passages that match, best first."""
    with reporting(json=json), open_client() as client:
        texts = [valid_text(term, "A term") for term in terms]
        hits = client.search(texts, collection or (), top_k, threshold, _MODES[mode])
        for number, hit in enumerate(hits, start=1):
            if json:
                print_json(hit)
                continue
            passage = hit.passage
            place = one_line(heading_path(passage.title, passage.headings), 120)
            print_text(f"{number:>2}. {hit.score:.3f}  {place}\n    {one_line(passage.text, _EXCERPT)}")
        if not hits and not json:
            print_text("Nothing found.")


def heading_path(title: str, headings: Sequence[str]) -> str:
    """The place of a passage in its document, e.g. "Security › Sessions". A document's title is usually its first heading too; it is shown once."""
    repeated = bool(headings) and headings[0].strip() == title.strip()
    return " › ".join(part for part in (title, *headings[repeated:]) if part)
