"""The command `responsa search`, and the group `responsa documents` with its commands that list, show, edit and delete documents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Final, TextIO

import typer

from responsa.chat.v1 import excerpt_pb2
from responsa.knowledge.v1 import document_pb2
from responsa.knowledge.v1.knowledge_service_pb2 import SearchMode
from responsa_client import Responsa, SearchHit, search_request
from responsa_client.errors import NotFound
from responsa_server.cli.excerpts import MOST_CARDS, print_cards
from responsa_server.cli.labels import FilterOption, escape
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    as_json,
    one_line,
    print_error,
    print_json,
    print_text,
    reporting,
    safe_name,
    valid_text,
)
from responsa_server.cli.resources import CommandGroup, Made, text_of
from responsa_server.cli.session import open_client
from responsa_server.cli.tables import facts
from responsa_server.domain.formatting import counted

_DEFAULT: Final = "default"
_NAME: Final = re.compile(r"documents/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Collection = Annotated[str, typer.Option("--collection", "-c", help="The collection.")]


def find_document(client: Responsa, named: str, collection: str) -> document_pb2.Document:
    """Return the document with this name, or with this source key in the collection.

    Raises:
        CommandFailed: the text is not valid UTF-8, or the collection has no document with this source key.
        ResponsaError: see GetDocument and ListDocuments in the contract.
    """
    valid_text(named, "A document's name")
    if _NAME.fullmatch(named):
        return client.get_document(named)
    matches = client.documents(
        valid_text(collection, "The collection"), filter_by=f'source_key = "{escape(named)}"'
    )
    document = next(matches, None)
    if document is None:
        raise CommandFailed(
            f"The collection {collection} has no document {named!r}.",
            f"`responsa documents list --collection {collection}` lists its documents.",
            EXIT_USAGE,
        )
    return document


_STATES = {
    document_pb2.DOCUMENT_STATE_INDEXING: "indexing",
    document_pb2.DOCUMENT_STATE_READY: "ready",
    document_pb2.DOCUMENT_STATE_FAILED: "failed",
}

_EXCERPT = 300


class Mode(StrEnum):
    """The indexes to search."""

    HYBRID = "hybrid"
    VECTOR = "vector"
    TEXT = "text"


_documents: Final = CommandGroup("List, show and delete documents.")


def register(app: typer.Typer, name: str) -> None:
    """Add the command `search`, or the group `documents`."""
    if name == "search":
        app.command(name)(search)
    else:
        _documents(app, name)


def search(
    terms: Annotated[list[str] | None, typer.Argument()] = None,
    collection: Annotated[list[str] | None, typer.Option("--collection", "-c")] = None,
    matching: FilterOption = "",
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=100)] = 10,
    threshold: Annotated[float, typer.Option(min=0.0, max=1.0)] = 0.0,
    mode: Mode = Mode.HYBRID,
    rerank: Annotated[bool, typer.Option("--rerank/--no-rerank")] = True,
    batch: Annotated[typer.FileText | None, typer.Option("--batch", metavar="FILE", encoding="utf-8")] = None,
    more: Annotated[bool, typer.Option("--more")] = False,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Find the passages that match, best first.

    Args:
        terms: 1 to 8 terms; a passage gets the score of the term that it matches best.
        collection: Search this collection; repeatable. Default: all that you may read, but Responsa's
            documentation and the samples only if there are no others.
        top_k: The maximum number of passages.
        threshold: Leave out passages with a lower score.
        mode: The indexes to search.
        rerank: Let the reranking model order the passages, if one is configured.
        batch: Search once for each line of this file (- reads standard input). Give either terms or this
            option.
        more: Print all passages in full.
        json: Print one SearchHit per line, as proto-JSON. With --batch, print one object for each searched
            line, with the text of the line and its hits.
    """
    with reporting(json=json):
        if bool(terms) == (batch is not None):
            raise CommandFailed(
                "Give either terms or --batch." if terms else "The search has no terms.",
                'Examples: responsa search "how is a lease renewed"; responsa search --batch questions.txt',
                EXIT_USAGE,
            )
        searches = [[valid_text(term, "A term") for term in terms]] if terms else _lines(batch)
        filter_by = valid_text(matching, "The filter")
        named, indexes = collection or (), SearchMode.Value(f"SEARCH_MODE_{mode.name}")
        with open_client() as client:
            if batch is None:
                hits = client.search(
                    searches[0], named, top_k, threshold, indexes, rerank=rerank, filter_by=filter_by
                )
                _print_hits(hits, json=json, more=more)
                return
            requests = [
                search_request(text, named, top_k, threshold, indexes, rerank=rerank, filter_by=filter_by)
                for text in searches
            ]
            # A call may have 64 searches, and return 640 passages together.
            size = max(1, min(64, 640 // top_k))
            for start in range(0, len(requests), size):
                batches = client.batch_search(requests[start : start + size])
                for [line], hits in zip(searches[start : start + size], batches, strict=True):
                    if json:
                        print_json({"search": line, "hits": [as_json(hit) for hit in hits]})
                        continue
                    print_text(one_line(line, _EXCERPT))
                    _print_hits(hits, json=False, more=more)


def _lines(file: TextIO | None) -> list[list[str]]:
    try:
        lines = [] if file is None else file.read().splitlines()
    except UnicodeDecodeError:
        raise CommandFailed("The file is not text in UTF-8.", "Save it as UTF-8.", EXIT_USAGE) from None
    return [[valid_text(line.strip(), "A line")] for line in lines if line.strip()]


def _print_hits(hits: Sequence[SearchHit], *, json: bool, more: bool) -> None:
    if json:
        for hit in hits:
            print_json(hit)
        return
    print_cards([_card(hit) for hit in hits], notes=[_scores(hit) for hit in hits], whole=more)
    if not hits:
        print_text("Nothing found.")
    if not more and (left := len(hits) - MOST_CARDS) > 0:
        print_error(f"{counted(left, 'more passage', 'more passages')}: --more prints all of them in full.")


def _card(hit: SearchHit) -> excerpt_pb2.Excerpt:
    """What to show of a hit; of one that the search ranks low, all of its passage."""
    if hit.HasField("excerpt"):
        return hit.excerpt
    passage = hit.passage
    return excerpt_pb2.Excerpt(
        document_version=passage.document_version,
        collection=passage.collection,
        title=passage.title,
        headings=passage.headings,
        source_range=passage.source_range,
        markdown=passage.text,
        page=passage.page,
        path=passage.path,
        locator=passage.locator,
        date=passage.date,
    )


def _scores(hit: SearchHit) -> str:
    reranker = f", reranker {hit.parts.reranker:.3f}" if hit.parts.HasField("reranker") else ""
    copies = f", and {counted(len(hit.copies), 'copy', 'copies')}" if hit.copies else ""
    return f"score {hit.score:.3f}{reranker}{copies}"


@_documents.add("list")
def list_documents(
    collection: Collection = _DEFAULT,
    matching: Annotated[str, typer.Option("--filter")] = "",
    order: Annotated[str, typer.Option("--order")] = "",
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """List a collection's documents.

    Args:
        matching: List the documents that match this filter, e.g. 'state = FAILED' or 'labels.team = legal AND
            size_bytes > 1000'.
        order: source_key, title, size_bytes, create_time or update_time; with ' desc' after it, in descending
            order. Default: source_key.
        json: Print one Document per line, as proto-JSON.
    """
    with reporting(json=json), open_client() as client:
        listed = client.documents(
            valid_text(collection, "The collection"),
            valid_text(matching, "The filter"),
            valid_text(order, "The order"),
        )
        try:
            documents = [*listed]
        except NotFound:
            # The first upload makes this collection.
            if collection != _DEFAULT:
                raise
            documents = []
        for document in documents:
            if json:
                print_json(document)
            else:
                state = _STATES.get(document.state, "?")
                line = f"{document.name}  {state:<8}  {safe_name(document.source_key)}  {one_line(document.title, 60)}"
                if document.state == document_pb2.DOCUMENT_STATE_FAILED:
                    line += f"\n    {one_line(document.error.message, 200)}"
                print_text(line)
        if not documents and collection == _DEFAULT and not (matching or json):
            print_error(
                f"The collection {_DEFAULT} has no documents. `-c` names another one; `responsa collections list` lists them."
            )


@_documents.show("show", "Print the Document as proto-JSON.", facts)
def show_document(
    client: Responsa,
    document: Annotated[
        str, typer.Argument(help="The document, as documents/{uuid} or as a source key of the collection.")
    ],
    collection: Collection = _DEFAULT,
) -> document_pb2.Document:
    """Show one document: its current version, what its file states, and the labels and metadata that callers gave it."""
    return find_document(client, document, collection)


@_documents.show("delete", "Print one JSON object per line, with the name of what was deleted.", text_of)
def delete_documents(
    client: Responsa,
    documents: Annotated[
        list[str],
        typer.Argument(help="Each document as documents/{uuid} or as a source key of the collection."),
    ],
    collection: Collection = _DEFAULT,
) -> Iterator[Made]:
    """Delete documents with their passages and vectors. Existing answers keep their quotes.

    If one of the documents does not exist, nothing is deleted.
    """
    matches = [find_document(client, named, collection) for named in documents]
    for document in {document.name: document for document in matches}.values():
        client.delete_document(document.name)
        plain = {"deleted": document.name, "sourceKey": document.source_key}
        yield plain, f"deleted {document.name}  {safe_name(document.source_key)}"
