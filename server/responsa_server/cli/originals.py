"""The commands `responsa documents original | page`, which write files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from responsa_server.cli.named_documents import Collection, NamedOrVersion, version_name
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
from responsa_server.text.drawn import marked

_STDOUT = "-"

Version = Annotated[
    int | None,
    typer.Option(
        "--version", min=1, help="The number of the version. Default: the version that searches use."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object with the file and its bytes.")]


def register(group: typer.Typer) -> None:
    """Add the commands to the group `documents`."""
    group.command("original")(original)
    group.command("page")(page)


def original(
    document: NamedOrVersion,
    version: Version = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="The file or folder to write to; - for stdout. Default: the document's own file name, in the current folder.",
        ),
    ] = "",
    force: Force = False,
    collection: Collection = "default",
    json: AsJson = False,
) -> None:
    """Write the bytes of a document to a file, exactly as they were uploaded."""
    with reporting(json=json):
        _check(output, json=json)
        with open_client() as client:
            name = version_name(client, document, collection, version)
            if not Path(output).is_dir():
                check_free(output, force=force)
            file_name, data = client.document_original(name)
        _report(write_file(output, plain_name(file_name), data, force=force), len(data), json=json)


def page(
    document: NamedOrVersion,
    number: Annotated[int, typer.Argument(metavar="PAGE", min=1, help="The number of the page, from 1.")],
    version: Version = None,
    box: Annotated[
        str,
        typer.Option(
            help="Mark a part of the page, such as the box of a citation or passage. Give left,top,right,bottom in thousandths of the page."
        ),
    ] = "",
    width: Annotated[
        int | None,
        typer.Option(min=100, max=2000, help="The width of the image in pixels. Default: 1,000."),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="The file or folder to write to; - for stdout. Default: page-PAGE.png, in the current folder.",
        ),
    ] = "",
    force: Force = False,
    collection: Collection = "default",
    json: AsJson = False,
) -> None:
    """Write one page of a PDF as an image (PNG). The server draws the page, so that no program here opens the PDF."""
    with reporting(json=json):
        _check(output, json=json)
        part = edges(box) if box else None
        with open_client() as client:
            name = version_name(client, document, collection, version)
            drawn = client.document_page(name, number, width)
        image = drawn.image if part is None else _marked(drawn.image, part)
        _report(write_file(output, f"page-{number}.png", image, force=force), len(image), json=json)


def _check(output: str, *, json: bool) -> None:
    """Raise CommandFailed if the options contradict each other."""
    valid_text(output, "The output")
    if json and output == _STDOUT:
        raise CommandFailed("--json and the file cannot both go to stdout.", "Leave one out.", EXIT_USAGE)


def edges(box: str) -> tuple[int, int, int, int]:
    """Parse a box: the left, top, right and bottom edge, in thousandths of the page. Raises CommandFailed."""
    try:
        left, top, right, bottom = (int(edge) for edge in box.split(","))
    except ValueError:
        left, top, right, bottom = -1, -1, -1, -1
    if not (0 <= left <= right <= 1000 and 0 <= top <= bottom <= 1000):
        raise CommandFailed(
            f"--box takes left,top,right,bottom from 0 to 1000, not {box!r}.",
            "Example: --box 100,250,900,300.",
            EXIT_USAGE,
        )
    return left, top, right, bottom


def _marked(image: bytes, part: tuple[int, int, int, int]) -> bytes:
    try:
        return marked(image, part)
    except ValueError:
        raise CommandFailed(
            "The image from the server has a format in which --box cannot mark a part.", "Leave --box out."
        ) from None


def plain_name(file_name: str) -> str:
    """Return the name if it names a visible file of the folder itself, and else "document". A server may be hostile."""
    harmless = file_name.isprintable() and Path(file_name).name == file_name and "\\" not in file_name
    return file_name if harmless and file_name and not file_name.startswith(".") else "document"


def write_file(output: str, own_name: str, data: bytes, *, force: bool) -> Path | None:
    """Write the bytes, and return the path of the file; None for stdout.

    output: a file, a folder, "-" for stdout, or "" for the current folder. own_name: the name of the file if `output` does not name a file.

    Raises:
        CommandFailed: the file exists and `force` is not given, or it cannot be written.
    """
    if output == _STDOUT:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return None
    path = Path(output or own_name)
    if path.is_dir():
        path /= own_name
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(data)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise CommandFailed(
            f"{path} cannot be written ({error.strerror}).", "Give another file with -o."
        ) from None
    return path


def check_free(output: str, *, force: bool) -> None:
    """Raise CommandFailed before a download if the file exists and may not be overwritten. `write_file` checks again. output: a file, "-" or ""."""
    if not force and output not in ("", _STDOUT) and os.path.lexists(output):
        raise _exists(Path(output))


def _exists(path: Path) -> CommandFailed:
    return CommandFailed(
        f"{path} exists.", "Add --force to overwrite it, or give another file with -o.", EXIT_USAGE
    )


def _report(path: Path | None, size: int, *, json: bool) -> None:
    if path is None:
        return
    if json:
        print_json({"file": str(path), "bytes": size})
    else:
        print_text(f"wrote {path}, {counted(size, 'byte')}")
