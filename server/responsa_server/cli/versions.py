"""The commands `responsa documents versions | compare | restore | reread`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from responsa.knowledge.v1 import document_pb2, document_version_pb2, knowledge_service_pb2
from responsa_server.cli import completion
from responsa_server.cli.named_documents import Collection, Named, find_document
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    one_line,
    print_error,
    print_json,
    print_text,
    reporting,
    shown_name,
    valid_text,
)
from responsa_server.cli.session import open_client
from responsa_server.domain.words import counted

AsJson = Annotated[bool, typer.Option("--json", help="Print the IngestResult as proto-JSON.")]


def register(group: typer.Typer) -> None:
    """Add the commands to the group `documents`."""
    group.command("versions")(list_versions)
    group.command("compare")(compare)
    group.command("restore")(restore)
    group.command("reread")(reread)


def list_versions(
    document: Named,
    collection: Collection = "default",
    json: Annotated[
        bool, typer.Option("--json", help="Print one DocumentVersion per line, as proto-JSON.")
    ] = False,
) -> None:
    """List the stored versions of a document, the newest first. Searches use the version marked with *."""
    with reporting(json=json), open_client() as client:
        found = find_document(client, document, collection)
        for version in client.document_versions(found.name):
            if json:
                print_json(version)
            else:
                print_text(_line(version))


def compare(
    document: Named,
    base: Annotated[int, typer.Argument(min=1, help="The number of the first version.")],
    other: Annotated[
        int | None,
        typer.Argument(
            min=1, help="The number of the second version. Default: the version that searches use."
        ),
    ] = None,
    collection: Collection = "default",
    json: Annotated[
        bool, typer.Option("--json", help="Print the CompareDocumentVersionsResponse as proto-JSON.")
    ] = False,
) -> None:
    """Show the lines in which the texts of two versions differ: - stands before lines of the first version, + before lines
    of the second.
    """
    with reporting(json=json), open_client() as client:
        found = find_document(client, document, collection)
        compared = client.compare_document_versions(f"{found.name}/versions/{base}", other)
    if json:
        print_json(compared)
        return
    print_text("\n".join(differences(compared)))
    if compared.cut:
        print_error("The texts differ too much to compare all of them; the last lines stand for the rest.")


def restore(
    document: Named,
    version: Annotated[int, typer.Argument(min=1, help="The number of the version to restore.")],
    collection: Collection = "default",
    json: AsJson = False,
) -> None:
    """Make a new version from the bytes of an older one, and return when searches use it. No version is lost."""
    with reporting(json=json), open_client() as client:
        found = find_document(client, document, collection)
        result = client.wait(client.restore_document_version(f"{found.name}/versions/{version}"))
    if json:
        print_json(result)
    elif result.unchanged:
        print_text(f"{shown_name(found.source_key)}: version {version} is the newest; nothing changed")
    else:
        print_text(
            f"{shown_name(found.source_key)}: version {version} is restored as version {result.document.version}"
        )


def reread(
    documents: Annotated[
        list[str] | None,
        typer.Argument(
            help="Each document as documents/{uuid} or as a source key of the collection.",
            autocompletion=completion.documents,
        ),
    ] = None,
    matching: Annotated[
        str,
        typer.Option(
            "--filter",
            help="Read the documents of the collection that match this filter, e.g. 'media_type = \"application/pdf\"'.",
        ),
    ] = "",
    collection: Collection = "default",
    json: Annotated[
        bool, typer.Option("--json", help="Print one IngestResult per line, as proto-JSON.")
    ] = False,
) -> None:
    """Read the stored originals again, with the server's present parsers. If the text differs, it becomes a new version.

    Use this command after an upgrade that reads a format better. If one of the documents does not exist, none is read.
    """
    with reporting(json=json), open_client() as client:
        if bool(documents) == bool(matching):
            raise CommandFailed("Name documents, or give a --filter.", "Give one of the two.", EXIT_USAGE)
        if documents:
            found = [find_document(client, named, collection) for named in documents]
        else:
            found = list(
                client.documents(
                    valid_text(collection, "The collection"), filter_by=valid_text(matching, "The filter")
                )
            )
        for document in {document.name: document for document in found}.values():
            result = client.wait(client.reindex_document(document.name))
            if json:
                print_json(result)
            elif result.unchanged:
                print_text(f"{shown_name(document.source_key)}: the text is the same; nothing changed")
            else:
                print_text(
                    f"{shown_name(document.source_key)}: the new text is version {result.document.version}"
                )


def differences(compared: knowledge_service_pb2.CompareDocumentVersionsResponse) -> Iterator[str]:
    """Yield the lines that show a comparison to the user."""
    yield f"--- version {compared.base.version}  {one_line(compared.base.title, 100)}"
    yield f"+++ version {compared.other.version}  {one_line(compared.other.title, 100)}"
    equal = True
    for hunk in compared.hunks:
        if hunk.kind == document_version_pb2.HUNK_KIND_EQUAL:
            continue
        equal = False
        before, after = hunk.base_range, hunk.other_range
        yield f"@@ bytes {before.start}-{before.end} → {after.start}-{after.end} @@"
        yield from _lines("-", hunk.base_text, before.end - before.start)
        yield from _lines("+", hunk.other_text, after.end - after.start)
    if equal:
        yield "The texts are equal."


def _lines(sign: str, text: str, size: int) -> Iterator[str]:
    """Yield the lines of one side. size: the bytes of all its lines, of which the server may have sent only the first."""
    if text:
        yield from (f"{sign} {line}".rstrip() for line in text.removesuffix("\n").split("\n"))
    if left := size - len(text.encode()):
        yield f"{sign} … and {counted(left, 'more byte')}"


def _line(version: document_version_pb2.DocumentVersion) -> str:
    ready = version.state == document_pb2.DOCUMENT_STATE_READY
    facts = (
        f"{version.version:>4}{'*' if version.searchable else ' '}",
        version.create_time.ToJsonString(),
        counted(version.size_bytes, "byte"),
        version.parser if ready else "indexing",
        one_line(version.title, 60),
    )
    return "  ".join(fact for fact in facts if fact)
