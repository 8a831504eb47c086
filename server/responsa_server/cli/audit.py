"""The command `responsa admin audit`."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from responsa.admin.v1 import audit_event_pb2
from responsa.auth.v1 import user_pb2
from responsa.knowledge.v1 import reader_pb2
from responsa_client import requests
from responsa_server.cli.output import as_json, one_line, print_json, print_text, reporting, valid_text
from responsa_server.cli.session import open_client
from responsa_server.cli.users import found_name

_LOCAL = "local"


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(audit)


def audit(
    actor: Annotated[
        str | None,
        typer.Option(
            help="The user who acted: users/{uuid}, the UUID or the e-mail address; local for commands on the server's machine."
        ),
    ] = None,
    action: Annotated[
        str | None, typer.Option(help="The act, e.g. user.disable; 'user.*' means all acts on users.")
    ] = None,
    resource: Annotated[
        str | None, typer.Option(help="The name of the resource, e.g. users/{uuid} or 'teachers/*'.")
    ] = None,
    affected: Annotated[
        str | None,
        typer.Option(
            help="The user whom somebody else's act was about, also a deleted one: users/{uuid}, the UUID or the e-mail address."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Lists only events from this time on, e.g. 2026-11-01 or 2026-11-01T08:00:00Z."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Lists only events before this time.")] = None,
    matching: Annotated[
        str, typer.Option("--filter", help="A filter in AIP-160 syntax, e.g. 'outcome != OK'.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="The maximum number of events.")] = 50,
    json: Annotated[
        bool, typer.Option("--json", help="Print one AuditEvent per line, as proto-JSON.")
    ] = False,
) -> None:
    """Print the audit log of your tenant, newest events first. This command needs the role ADMIN."""
    with reporting(json=json), open_client() as client:
        who = actor
        if actor is not None and actor != _LOCAL:
            who = requests.user_name(found_name(client, actor))
        given = (
            ("actor =", who),
            ("action =", action),
            ("resource =", resource),
            (
                "affected_user =",
                None if affected is None else requests.user_name(found_name(client, affected)),
            ),
            ("create_time >=", since),
            ("create_time <", until),
        )
        parts = [f"{field} {_quoted(value)}" for field, value in given if value is not None]
        if matching:
            parts.append(f"({matching})")
        for event in islice(client.audit_events(filter_by=" AND ".join(parts)), limit):
            if json:
                print_json(event)
            else:
                print_text(_line(event))


def _quoted(value: str) -> str:
    escaped = valid_text(value, "The value").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _reader(one: reader_pb2.Reader) -> str:
    if one.WhichOneof("who") == "role":
        return f"role {user_pb2.UserRole.Name(one.role).removeprefix('USER_ROLE_').lower()}"
    return one.user or "everyone"


def _line(event: audit_event_pb2.AuditEvent) -> str:
    parts = [
        str(as_json(event).get("createTime", "")),
        event.actor,
        f"for {event.on_behalf_of}" if event.on_behalf_of else "",
        event.action,
        one_line(event.resource, 200),
        ""
        if event.affected_user in f"{event.on_behalf_of} {event.resource}"
        else f"about {event.affected_user}",
        *(f"added {_reader(one)}" for one in event.added_readers),
        *(f"removed {_reader(one)}" for one in event.removed_readers),
    ]
    if event.outcome != "OK":
        parts.append(event.outcome)
    if event.address:
        parts.append(f"from {one_line(event.address, 64)}")
    return "  ".join(one for one in parts if one)
