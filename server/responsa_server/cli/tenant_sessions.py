"""The commands `responsa admin sessions list | revoke`."""

from __future__ import annotations

from typing import Annotated

import typer

from responsa.auth.v1 import session_pb2
from responsa_client import requests
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    as_json,
    one_line,
    print_json,
    print_text,
    reporting,
    valid_text,
)
from responsa_server.cli.session import open_client
from responsa_server.cli.users import UserLabels, found_name


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Show and end the sessions of all users of your tenant. These commands need the role ADMIN.",
        rich_markup_mode=None,
    )
    group.command("list")(list_sessions)
    group.command("revoke")(revoke_sessions)
    app.add_typer(group, name=name)


def list_sessions(
    user: Annotated[
        str | None,
        typer.Option(
            help="List only the sessions of this user: users/{uuid}, the UUID or the e-mail address."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one Session per line, as proto-JSON.")] = False,
) -> None:
    """List the sessions of all users that have not ended, newest first."""
    with reporting(json=json), open_client() as client:
        matching = "" if user is None else f'user = "{requests.user_name(found_name(client, user))}"'
        labels = UserLabels(client)
        found = client.tenant_sessions(filter_by=matching)
        for one in labels.ahead(found, lambda session: (session.user,), wanted=not json):
            if json:
                print_json(one)
            else:
                print_text(_line(one, labels))


def revoke_sessions(
    sessions: Annotated[
        list[str] | None, typer.Argument(help="The sessions, each as sessions/{uuid} or as the UUID alone.")
    ] = None,
    user: Annotated[
        str,
        typer.Option(
            help="End all sessions of this user: users/{uuid}, the UUID alone or the e-mail address."
        ),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object: revokedCount.")] = False,
) -> None:
    """End sessions of any users at once. The users can sign in again; `responsa admin users disable` keeps a user out."""
    with reporting(json=json):
        if not sessions and not user:
            raise CommandFailed("There is no session to end.", "Name sessions, or give --user.", EXIT_USAGE)
        given = [valid_text(one, "The session") for one in sessions or ()]
        with open_client() as client:
            count = client.revoke_tenant_sessions(
                *(one if "/" in one else f"sessions/{one}" for one in given),
                user=found_name(client, user) if user else "",
            )
        if json:
            print_json({"revokedCount": count})
        else:
            print_text("1 session ended" if count == 1 else f"{count} sessions ended")


def _line(session: session_pb2.Session, labels: UserLabels) -> str:
    times = as_json(session)
    parts = [session.name.removeprefix("sessions/"), labels.of(session.user), f"used {times['lastUseTime']}"]
    parts += [one_line(one, 60) for one in (session.address, session.user_agent) if one]
    return "  ".join(parts)
