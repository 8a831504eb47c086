"""The commands `responsa admin keys list | create | revoke`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from google.protobuf import timestamp_pb2

from responsa.auth.v1 import api_key_pb2, user_pb2
from responsa_client import requests
from responsa_server.cli.key_roles import KeyRole
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
        help="Show and revoke the API keys of all users of your tenant, and create keys for services and for yourself. These commands need the role ADMIN.",
        rich_markup_mode=None,
    )
    group.command("list")(list_keys)
    group.command("create")(create_key)
    group.command("revoke")(revoke_keys)
    app.add_typer(group, name=name)


def list_keys(
    owner: Annotated[
        str | None,
        typer.Option(help="List only the keys of this user: users/{uuid}, the UUID or the e-mail address."),
    ] = None,
    matching: Annotated[
        str, typer.Option("--filter", help="A filter in AIP-160 syntax, e.g. 'create_time < 2026-01-01'.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one ApiKey per line, as proto-JSON.")] = False,
) -> None:
    """List the keys of all users, newest first, revoked keys included."""
    with reporting(json=json), open_client() as client:
        parts = [f"({matching})"] if matching else []
        if owner is not None:
            parts.insert(0, f'owner = "{requests.user_name(found_name(client, owner))}"')
        labels = UserLabels(client)
        keys = client.tenant_api_keys(filter_by=" AND ".join(parts))
        for key in labels.ahead(keys, lambda one: (one.owner,), wanted=not json):
            if json:
                print_json(key)
            else:
                print_text(_line(key, labels))


def create_key(
    service: Annotated[
        str | None,
        typer.Option(
            help="The service, a user with the role service: users/{uuid}, the UUID or the e-mail address. Default: the key is yours, and makes calls in your name."
        ),
    ] = None,
    role: KeyRole = None,
    display_name: Annotated[str, typer.Option(help="The purpose of the key.")] = "",
    valid_days: Annotated[
        int | None,
        typer.Option(
            help="After how many days the key expires. Default: it does not expire.", min=1, max=36500
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the key and its secret as one JSON object: apiKey, secret.")
    ] = False,
) -> None:
    """Create an API key for a service or for yourself, and print its secret. The secret is never shown again. To create a key for yourself, sign in first: the
    sign-in must be at most ten minutes old. If you use an API key instead, the new key ends with that key.
    """
    with reporting(json=json), open_client() as client:
        if service is not None and role is not None:
            raise CommandFailed(
                "The key of a service always has the role service.", "Leave out --role.", EXIT_USAGE
            )
        expire_time = None if valid_days is None else timestamp_pb2.Timestamp()
        if expire_time is not None and valid_days is not None:
            expire_time.FromDatetime(datetime.now(UTC) + timedelta(days=valid_days))
        purpose = valid_text(display_name, "The display name")
        made = (
            client.create_api_key(purpose, expire_time, as_user=role is not None)
            if service is None
            else client.create_service_api_key(found_name(client, service), purpose, expire_time)
        )
        if json:
            print_json(made)
        else:
            print_text(made.secret)


def revoke_keys(
    keys: Annotated[list[str], typer.Argument(help="The keys, each as apiKeys/{uuid} or as the UUID alone.")],
    json: Annotated[
        bool, typer.Option("--json", help="Print one revoked ApiKey per line, as proto-JSON.")
    ] = False,
) -> None:
    """Revoke keys of any users, each together with the keys that were created with it."""
    with reporting(json=json), open_client() as client:
        labels = UserLabels(client)
        for key in dict.fromkeys(valid_text(one, "The key") for one in keys):
            revoked = client.revoke_tenant_api_key(key if "/" in key else f"apiKeys/{key}")
            if json:
                print_json(revoked)
            else:
                print_text(_line(revoked, labels))


def _line(key: api_key_pb2.ApiKey, labels: UserLabels) -> str:
    times = as_json(key)
    parts = [key.name.removeprefix("apiKeys/"), f"{key.prefix}…", labels.of(key.owner)]
    if key.display_name:
        parts.append(one_line(key.display_name, 60))
    if key.role == user_pb2.USER_ROLE_USER:
        parts.append("only the rights of a user")
    if "revokeTime" in times:
        parts.append(f"revoked {times['revokeTime']}")
    elif "expireTime" in times:
        parts.append(f"expires {times['expireTime']}")
    return "  ".join(parts)
