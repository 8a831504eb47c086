"""The option with which commands create API keys that have fewer rights than their users."""

from __future__ import annotations

from typing import Annotated, Final

import typer

_USER: Final = "user"


def _checked(given: str | None) -> str | None:
    if given not in (None, _USER):
        raise typer.BadParameter(
            f"'{given}' is not allowed. Without this option, the key has the role of its user. With '{_USER}', the key has only the rights of an ordinary user."
        )
    return given


def _suggested() -> list[tuple[str, str]]:
    return [(_USER, "only the rights of a user")]


KeyRole = Annotated[
    str | None,
    typer.Option(
        metavar=_USER,
        callback=_checked,
        autocompletion=_suggested,
        help=f"With '{_USER}', the key has only the rights of an ordinary user, even if its user is an administrator. Keys and sessions that begin with this key have the same rights. Default: the key has the role of its user.",
    ),
]
