"""The commands `responsa admin grants list | create | delete`."""

from __future__ import annotations

from typing import Annotated

import typer

from responsa.admin.v1 import service_grant_pb2
from responsa_client import requests
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
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
        help="Show, make and take back the grants with which services act on behalf of users. These commands need the role ADMIN.",
        rich_markup_mode=None,
    )
    group.command("list")(list_grants)
    group.command("create")(create_grant)
    group.command("delete")(delete_grants)
    app.add_typer(group, name=name)


def list_grants(
    service: Annotated[
        str | None,
        typer.Option(
            help="List only the grants of this service: users/{uuid}, the UUID or the e-mail address."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one ServiceGrant per line, as proto-JSON.")
    ] = False,
) -> None:
    """List the grants of your tenant, oldest first."""
    with reporting(json=json), open_client() as client:
        filter_by = (
            "" if service is None else f'service = "{requests.user_name(found_name(client, service))}"'
        )
        labels = UserLabels(client)
        found = client.service_grants(filter_by=filter_by)
        for grant in labels.ahead(found, lambda one: (one.service, one.user), wanted=not json):
            _print(grant, labels, json=json)


def create_grant(
    service: Annotated[
        str,
        typer.Argument(
            help="The service, a user with the role service: users/{uuid}, the UUID or the e-mail address."
        ),
    ],
    user: Annotated[
        str | None,
        typer.Option(help="The user with the role user: users/{uuid}, the UUID or the e-mail address."),
    ] = None,
    all_users: Annotated[
        bool,
        typer.Option(
            "--all-users",
            help="Let the service act on behalf of all users with the role user, including users who are created later.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the ServiceGrant, as proto-JSON.")] = False,
) -> None:
    """Let a service act on behalf of one user, or of all users with the role user."""
    with reporting(json=json):
        if (user is None) is not all_users:
            raise CommandFailed(
                "The grant needs either a user or all users.", "Give --user or --all-users.", EXIT_USAGE
            )
        with open_client() as client:
            named = None if user is None else found_name(client, user)
            made = client.create_service_grant(found_name(client, service), named)
            _print(made, UserLabels(client), json=json)


def delete_grants(
    grants: Annotated[
        list[str], typer.Argument(help="The grants, each as serviceGrants/{uuid} or as the UUID alone.")
    ],
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object per line, with the name of what was deleted."),
    ] = False,
) -> None:
    """Take grants back. The services' next calls on behalf of the users are refused."""
    with reporting(json=json), open_client() as client:
        for grant in dict.fromkeys(valid_text(one, "The grant") for one in grants):
            client.delete_service_grant(grant)
            name = f"serviceGrants/{grant.removeprefix('serviceGrants/')}"
            if json:
                print_json({"deleted": name})
            else:
                print_text(f"deleted {name}")


def _print(grant: service_grant_pb2.ServiceGrant, labels: UserLabels, *, json: bool) -> None:
    if json:
        print_json(grant)
        return
    users = labels.of(grant.user) if grant.user else "all users"
    print_text("  ".join((grant.name.removeprefix("serviceGrants/"), labels.of(grant.service), "for", users)))
