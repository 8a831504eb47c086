"""The commands `responsa synonyms show | set | remove`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from responsa_server.cli.named_documents import Collection
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    print_json,
    print_text,
    reporting,
    valid_text,
)
from responsa_server.cli.session import open_client
from responsa_server.domain.words import counted

AsJson = Annotated[bool, typer.Option("--json", help="Print the Collection as proto-JSON.")]


def register(app: typer.Typer, name: str) -> None:
    """Add the group `synonyms`."""
    group = typer.Typer(
        no_args_is_help=True, help="Show and change the synonyms of a collection.", rich_markup_mode=None
    )
    group.command("show")(show)
    group.command("set")(set_file)
    group.command("remove")(remove)
    app.add_typer(group, name=name)


def show(collection: Collection = "default", json: AsJson = False) -> None:
    """Print the collection's file of synonyms."""
    with reporting(json=json), open_client() as client:
        found = client.get_collection(valid_text(collection, "The collection"))
        if json:
            print_json(found)
        else:
            print_text(found.synonyms.rstrip("\n") or f"The collection {collection} has no synonyms.")


def set_file(
    file: Annotated[
        Path,
        typer.Argument(
            help="A text file with one group of synonyms per line, separated by commas, such as “PTO, paid time off”. Lines that begin with # are ignored."
        ),
    ],
    collection: Collection = "default",
    json: AsJson = False,
) -> None:
    """Replace the collection's synonyms with a file of at most 32 KiB. Searches use the new synonyms at once."""
    with reporting(json=json):
        text = read_file(file)
        if not text.strip():
            raise CommandFailed(
                f"{file} is empty.",
                f"`responsa synonyms remove --collection {collection}` removes the synonyms.",
                EXIT_USAGE,
            )
        _update(collection, text, json=json)


def remove(collection: Collection = "default", json: AsJson = False) -> None:
    """Remove the collection's synonyms."""
    with reporting(json=json):
        _update(collection, "", json=json)


def read_file(file: Path) -> str:
    """Read a file of synonyms. Raises CommandFailed if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}.", "", EXIT_USAGE) from None
    except UnicodeDecodeError:
        raise CommandFailed(f"{file} is not text in UTF-8.", "Save it as UTF-8.", EXIT_USAGE) from None


def _update(collection: str, text: str, *, json: bool) -> None:
    with open_client() as client:
        changed = client.update_collection(valid_text(collection, "The collection"), synonyms=text)
    if json:
        print_json(changed)
        return
    groups = [one for one in text.splitlines() if one.strip() and not one.lstrip().startswith("#")]
    print_text(
        f"{changed.name} has {counted(len(groups), 'group')} of synonyms."
        if groups
        else f"{changed.name} has no synonyms."
    )
