"""The command `responsa profile show`."""

from __future__ import annotations

from typing import Annotated

import typer

from responsa.knowledge.v1 import document_pb2, subject_profile_pb2
from responsa_server.cli.output import as_json, one_line, print_json, print_text, reporting, valid_text
from responsa_server.cli.parameters import shown_value
from responsa_server.cli.session import open_client

_STATES = {
    document_pb2.DOCUMENT_STATE_INDEXING: "being read",
    document_pb2.DOCUMENT_STATE_FAILED: "the newest version could not be read",
}


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True, help="Show what Responsa holds about a person.", rich_markup_mode=None
    )
    group.callback()(_group)
    group.command("show")(show_profile)
    app.add_typer(group, name=name)


def _group() -> None:
    """Show what Responsa holds about a person."""


def show_profile(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="[SUBJECT]",
            help="The subject of documents, or users/ and a user's id; only administrators and services may give it. Default: you.",
        ),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print the SubjectProfile, as proto-JSON.")] = False,
) -> None:
    """Show the documents about a person that you may read, by source and kind, and how many rows about the person failed."""
    with reporting(json=json):
        wanted = valid_text(subject, "The subject")
        with open_client() as client:
            found = client.subject_profile(wanted)
        if json:
            print_json(found)
            return
        print_text(one_line(found.subject, 200))
        for part in found.parts:
            print_text("\n".join(_part(part)))
        shown = sum(len(part.documents) for part in found.parts)
        if not found.parts:
            print_text("There are no documents about this person.")
        elif found.document_count > shown:
            print_text(f"\nThe first {shown} of {found.document_count} documents.")


def _part(part: subject_profile_pb2.ProfilePart) -> list[str]:
    name = part.source_display_name or part.source.removeprefix("sources/") or "other documents"
    lines = ["", one_line(name, 200)]
    if part.failed_rows:
        rows = "1 row" if part.failed_rows == 1 else f"{part.failed_rows} rows"
        lines.append(f"  {rows} failed; until no row fails, the documents stay as they are")
    if part.HasField("sync_time"):
        lines.append(f"  in step since {part.sync_time.ToJsonString()}")
    for one in part.documents:
        document = one.document
        state = _STATES.get(document.state, "")
        kind = f"{one.kind}: " if one.kind else ""
        lines.append(f"  {kind}{one_line(document.title, 200)}{f'  ({state})' if state else ''}")
        values = sorted(as_json(document.metadata).items())
        lines.extend(f"    {name}: {one_line(shown_value(value), 100)}" for name, value in values)
    return lines
