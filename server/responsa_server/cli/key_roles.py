"""The option with which commands create API keys that have fewer rights than their users."""

from __future__ import annotations

from typing import Annotated, Final

import typer

_USER: Final = "user"


def _checked(given: str | None) -> str | None:
    if given not in (None, _USER):
        raise typer.BadParameter(
            f"'{given}' is not allowed: a key has the role of its user, or with '{_USER}' only the rights of a user."
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
        help=f"With '{_USER}', the key has only the rights of a user, although its user is an administrator; so have keys and sessions that begin with it. Default: the key has the role of its user.",
    ),
]
