"""The commands `responsa users list | invite | role | reset | disable | enable`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Final
from urllib.parse import quote

import typer

from responsa.auth.v1 import user_pb2
from responsa.auth.v1.auth_service_pb2 import CreateInvitationResponse, CreateResetCodeResponse
from responsa_client import Responsa
from responsa_client.errors import InvalidRequest
from responsa_server.cli.groups import find_group, find_user
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, as_json, person, print_error, valid_text
from responsa_server.cli.resources import CommandGroup, Made, text_of
from responsa_server.domain.formatting import counted

User = Annotated[str, typer.Argument(help="The user: the e-mail address, or users/{uuid}.")]


AccountRole = StrEnum("AccountRole", ["USER", "ADMIN", "SERVICE"])
"""A role as an argument of a command."""
_PersonRole = StrEnum("_PersonRole", ["USER", "ADMIN"])
_USER: Final = "Print the User as proto-JSON."
register: Final = CommandGroup("List, invite and change users.")


def _line(user: user_pb2.User) -> str:
    role = user_pb2.UserRole.Name(user.role).removeprefix("USER_ROLE_").lower()
    state = "disabled" if user.HasField("disable_time") else "active"
    return f"{role:<7}  {state:<8}  {user.email:<32}  {person(user.name, user.display_name)}"


@register.show("list", "Print one User per line, as proto-JSON.", _line)
def list_users(
    client: Responsa,
    matching: Annotated[
        str,
        typer.Option("--filter", help="A filter in AIP-160 syntax, e.g. 'role = ADMIN AND state = ACTIVE'."),
    ] = "",
) -> Iterable[user_pb2.User]:
    """List the users of your tenant, by display name."""
    return client.users(filter_by=matching, order_by="display_name")


@register.show("invite", "Print one JSON object for each address: email, code, link, expireTime.", text_of)
def invite(
    client: Responsa,
    emails: Annotated[
        list[str], typer.Argument(metavar="EMAIL...", help="The e-mail addresses of the people to invite.")
    ],
    role: Annotated[_PersonRole, typer.Option(help="The role of the new users.")] = _PersonRole.USER,
    group: Annotated[
        list[str] | None, typer.Option(help="A group that they join, by its name or id. Repeatable.")
    ] = None,
) -> Iterator[Made]:
    """Invite people. The command prints a link for each address, with which only this address can register, within
    seven days. Hand each person their link; it is not shown again."""
    page = _page(client)
    groups = [find_group(client, each).name for each in group or ()]
    refused = 0
    for email in dict.fromkeys(valid_text(text, "The address") for text in emails):
        try:
            invitation = client.create_invitation(email, admin=role is _PersonRole.ADMIN, groups=groups)
        except InvalidRequest as error:
            refused += 1
            print_error(f"{email}: {error.message}")
        else:
            plain, text = _link(page, f"invitation={invitation.code}&email={quote(email)}", invitation)
            yield {"email": email, **plain}, f"{email}  {text}"
    if refused:
        raise CommandFailed(f"{counted(refused, 'address', 'addresses')} got no invitation.", "", EXIT_USAGE)


@register.show("role", _USER, _line)
def change_role(
    client: Responsa, user: User, role: Annotated[AccountRole, typer.Argument(help="The new role.")]
) -> user_pb2.User:
    """Give a user another role."""
    return client.update_user(find_user(client, user), role=user_pb2.UserRole.Value(f"USER_ROLE_{role.name}"))


@register.show("reset", "Print one JSON object: code, link, expireTime.", text_of)
def reset(client: Responsa, user: User) -> Made:
    """Print a link with which a user sets a new password. It works once, within 30 minutes."""
    created = client.create_reset_code(find_user(client, user))
    return _link(_page(client), f"reset={created.code}", created)


@register.show("disable", _USER, _line)
def disable(client: Responsa, user: User) -> user_pb2.User:
    """Refuse all further calls of a user. Nothing of the user is deleted."""
    return client.disable_user(find_user(client, user))


@register.show("enable", _USER, _line)
def enable(client: Responsa, user: User) -> user_pb2.User:
    """Let a disabled user make calls again."""
    return client.enable_user(find_user(client, user))


def _page(client: Responsa) -> str:
    """The address of the page for the caller's tenant; "" if the server has none that a browser can open."""
    if not client.url.startswith("http"):
        return ""
    tenant = client.me().tenant
    usual = client.sign_in_methods().tenant
    return f"{client.url}/" if tenant == usual else f"{client.url}/?tenant={tenant.removeprefix('tenants/')}"


def _link(page: str, anchor: str, created: CreateInvitationResponse | CreateResetCodeResponse) -> Made:
    """The link for people, or the code if there is no page."""
    link = f"{page}#{anchor}" if page else ""
    plain = {"code": created.code, "link": link, "expireTime": as_json(created).get("expireTime")}
    return plain, link or created.code
