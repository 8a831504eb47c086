"""The commands `responsa users list | invite | role | reset | disable | enable`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from responsa.auth.v1 import user_pb2
from responsa_client.errors import InvalidRequest
from responsa_server.cli.groups import find_user
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    as_json,
    person,
    print_error,
    print_json,
    print_text,
    reporting,
    valid_text,
)
from responsa_server.cli.session import open_client
from responsa_server.domain.formatting import counted

User = Annotated[str, typer.Argument(help="The user: the e-mail address, or users/{uuid}.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the User as proto-JSON.")]


class AccountRole(StrEnum):
    """A role as an argument of a command."""

    USER = "user"
    ADMIN = "admin"
    SERVICE = "service"


class _PersonRole(StrEnum):
    USER = "user"
    ADMIN = "admin"


def register(app: typer.Typer, name: str) -> None:
    """Add the group `users`."""
    group = typer.Typer(no_args_is_help=True, help="List, invite and change users.", rich_markup_mode=None)
    group.command("list")(list_users)
    group.command("invite")(invite)
    group.command("role")(change_role)
    group.command("reset")(reset)
    group.command("disable")(disable)
    group.command("enable")(enable)
    app.add_typer(group, name=name)


def list_users(
    matching: Annotated[
        str,
        typer.Option("--filter", help="A filter in AIP-160 syntax, e.g. 'role = ADMIN AND state = ACTIVE'."),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one User per line, as proto-JSON.")] = False,
) -> None:
    """List the users of your tenant, by display name."""
    with reporting(json=json), open_client() as client:
        for user in client.users(filter_by=matching, order_by="display_name"):
            _print_user(user, json=json)


def invite(
    emails: Annotated[
        list[str], typer.Argument(metavar="EMAIL...", help="The e-mail addresses of the people to invite.")
    ],
    role: Annotated[_PersonRole, typer.Option(help="The role of the new users.")] = _PersonRole.USER,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object for each address: email, code, link, expireTime."),
    ] = False,
) -> None:
    """Invite people. The command prints a link for each address, with which only this address can register, within
    seven days. Hand each person their link; it is not shown again."""
    with reporting(json=json), open_client() as client:
        base = _page(client)
        refused = 0
        for email in dict.fromkeys(valid_text(text, "The address") for text in emails):
            try:
                invitation = client.create_invitation(email, admin=role is _PersonRole.ADMIN)
            except InvalidRequest as error:
                refused += 1
                print_error(f"{email}: {error.message}")
                continue
            link = f"{base}#invitation={invitation.code}&email={quote(email)}" if base else ""
            if json:
                expiry = as_json(invitation).get("expireTime")
                print_json({"email": email, "code": invitation.code, "link": link, "expireTime": expiry})
            else:
                print_text(f"{email}  {link or invitation.code}")
        if refused:
            raise CommandFailed(
                f"{counted(refused, 'address', 'addresses')} got no invitation.", "", EXIT_USAGE
            )


def change_role(
    user: User, role: Annotated[AccountRole, typer.Argument(help="The new role.")], json: AsJson = False
) -> None:
    """Give a user another role."""
    with reporting(json=json), open_client() as client:
        wanted = user_pb2.UserRole.Value(f"USER_ROLE_{role.name}")
        _print_user(client.update_user(find_user(client, user), role=wanted), json=json)


def reset(
    user: User,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: code, link, expireTime.")
    ] = False,
) -> None:
    """Print a link with which a user sets a new password. It works once, within 30 minutes."""
    with reporting(json=json), open_client() as client:
        created = client.create_reset_code(find_user(client, user))
        base = _page(client)
        link = f"{base}#reset={created.code}" if base else ""
        if json:
            print_json({"code": created.code, "link": link, "expireTime": as_json(created).get("expireTime")})
        else:
            print_text(link or created.code)


def disable(user: User, json: AsJson = False) -> None:
    """Refuse all further calls of a user. Nothing of the user is deleted."""
    with reporting(json=json), open_client() as client:
        _print_user(client.disable_user(find_user(client, user)), json=json)


def enable(user: User, json: AsJson = False) -> None:
    """Let a disabled user make calls again."""
    with reporting(json=json), open_client() as client:
        _print_user(client.enable_user(find_user(client, user)), json=json)


def _page(client: Any) -> str:
    """The address of the page for the caller's tenant; "" if the server has none that a browser can open."""
    if not client.url.startswith("http"):
        return ""
    tenant = client.me().tenant
    usual = client.sign_in_methods().tenant
    return f"{client.url}/" if tenant == usual else f"{client.url}/?tenant={tenant.removeprefix('tenants/')}"


def _print_user(user: user_pb2.User, *, json: bool) -> None:
    if json:
        print_json(user)
        return
    role = user_pb2.UserRole.Name(user.role).removeprefix("USER_ROLE_").lower()
    state = "disabled" if user.HasField("disable_time") else "active"
    print_text(f"{role:<7}  {state:<8}  {user.email:<32}  {person(user.name, user.display_name)}")
