"""The commands `responsa admin limits show | set`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from responsa.admin.v1 import user_limits_pb2
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    print_json,
    print_text,
    reporting,
    valid_text,
)
from responsa_server.cli.session import open_client
from responsa_server.cli.users import User, found_name

_DEFAULT = "default"
_KNOWN = tuple(user_limits_pb2.Limits.DESCRIPTOR.fields_by_name)
AsJson = Annotated[bool, typer.Option("--json", help="Print the UserLimits, as proto-JSON.")]


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Show and change the limits of single users of your tenant. These commands need the role ADMIN. The limits of all other users are settings (`limits.user`, `limits.admin`, `limits.service`).",
        rich_markup_mode=None,
    )
    group.command("show")(show_limits)
    group.command("set")(set_limits)
    app.add_typer(group, name=name)


def show_limits(user: User, json: AsJson = False) -> None:
    """Show the limits of a user, one per line. A star marks an exception."""
    with reporting(json=json), open_client() as client:
        _print(client.user_limits(found_name(client, user)), json=json)


def set_limits(
    user: User,
    changes: Annotated[
        list[str],
        typer.Argument(
            help="NAME=VALUE, e.g. messages_per_minute=60. The value 0 means no limit, and `default` removes the exception."
        ),
    ],
    json: AsJson = False,
) -> None:
    """Set or remove exceptions of a user, all of them or none."""
    with reporting(json=json):
        wanted = _changes(changes)
        with open_client() as client:
            _print(client.update_user_limits(found_name(client, user), wanted), json=json)


def _changes(texts: Sequence[str]) -> Mapping[str, int | None]:
    found: dict[str, int | None] = {}
    for text in texts:
        name, equals, value = valid_text(text, "The change").partition("=")
        if not equals or not name or not (value == _DEFAULT or (value.isascii() and value.isdigit())):
            raise CommandFailed(
                f"“{text}” is not a change of a limit.",
                "Give NAME=VALUE, e.g. messages_per_minute=60, streams=0 or streams=default.",
                EXIT_USAGE,
            )
        if name not in _KNOWN:
            raise CommandFailed(f"“{name}” is not a limit.", f"Known: {', '.join(_KNOWN)}.", EXIT_USAGE)
        if name in found:
            raise CommandFailed(f"The limit {name} is given twice.", "Give it once.", EXIT_USAGE)
        found[name] = None if value == _DEFAULT else int(value)
    return found


def _print(limits: user_limits_pb2.UserLimits, *, json: bool) -> None:
    if json:
        print_json(limits)
        return
    exceptions = {field.name for field, _ in limits.exceptions.ListFields()}
    for field in user_limits_pb2.Limits.DESCRIPTOR.fields:
        value = getattr(limits.effective, field.name)
        star = "  *" if field.name in exceptions else ""
        print_text(f"{field.name:21} {f'{value:,}' if value else 'no limit'}{star}")
