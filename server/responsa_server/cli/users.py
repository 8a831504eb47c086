"""The commands `responsa admin users list | show | create | invite | update | reset-code | disable | enable | revoke-credentials | delete | grant-ownership | revoke-ownership`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import islice
from typing import Annotated, Final, TypeVar

import typer

from responsa.auth.v1 import user_pb2
from responsa_client import Responsa, requests
from responsa_client.errors import NotFound
from responsa_server.cli.accounts import Receipt, Yes, ask, print_receipt
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
from responsa_server.domain.people import Role
from responsa_server.domain.words import counted

User = Annotated[
    str, typer.Argument(help="The user, as users/{uuid}, as the UUID alone, or as the e-mail address.")
]
Etag = Annotated[
    str,
    typer.Option(
        help="The etag from `show --json`. If the user has changed since then, the command changes nothing."
    ),
]
_DAY_SECONDS: Final = 24 * 60 * 60
# The number of items of a list whose users are asked for together, and the number of users in a filter, which may have 1,024 bytes.
_AT_ONCE: Final = 50
_NAMED: Final = 15

Item = TypeVar("Item")


class _Invited(StrEnum):
    """The roles of users who register."""

    USER = "user"
    ADMIN = "admin"


AsJson = Annotated[bool, typer.Option("--json", help="Print the User, as proto-JSON.")]


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Show, create, invite, change, disable, enable and delete users of your tenant. These commands need the role ADMIN.",
        rich_markup_mode=None,
    )
    group.command("list")(list_users)
    group.command("show")(show_user)
    group.command("create")(create_user)
    group.command("invite")(invite_user)
    group.command("update")(update_user)
    group.command("reset-code")(reset_code)
    group.command("disable")(disable_user)
    group.command("enable")(enable_user)
    group.command("revoke-credentials")(revoke_credentials)
    group.command("grant-ownership")(grant_ownership)
    group.command("revoke-ownership")(revoke_ownership)
    group.command("delete")(delete_user)
    app.add_typer(group, name=name)


def list_users(
    matching: Annotated[
        str,
        typer.Option("--filter", help="A filter in AIP-160 syntax, e.g. 'role = ADMIN AND state = ACTIVE'."),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one User per line, as proto-JSON.")] = False,
) -> None:
    """List the users of your tenant, oldest first, with the last sign-in of each."""
    with reporting(json=json), open_client() as client:
        for user in client.users(filter_by=matching):
            if json:
                print_json(user)
            else:
                print_text(f"{_line(user)}{_signed_in(user)}")


def show_user(user: User, json: AsJson = False) -> None:
    """Show one user."""
    with reporting(json=json), open_client() as client:
        _print(found_user(client, user), json=json)


def create_user(
    display_name: Annotated[str, typer.Argument(help="The user's name, at most 200 bytes.")],
    email: Annotated[str, typer.Option(help="The user's e-mail address.")] = "",
    role: Annotated[Role, typer.Option(help="The user's role.")] = Role.USER,
    request_id: Annotated[
        str | None,
        typer.Option(
            help="Any UUID. A repeated command with the same UUID shows the existing user and creates nothing."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Create a user and print it, beginning with its id. The user has no API key yet."""
    with reporting(json=json), open_client() as client:
        made = client.create_user(
            valid_text(display_name, "The name"), valid_text(email, "The address"), _role(role), request_id
        )
        _print(made, json=json)


def invite_user(
    email: Annotated[
        str, typer.Option(help="The only e-mail address that may register with the code. Default: any.")
    ] = "",
    role: Annotated[_Invited, typer.Option(help="The role of the new user.")] = _Invited.USER,
    days: Annotated[int, typer.Option(min=1, max=30, help="The days for which the code is valid.")] = 7,
    json: Annotated[
        bool, typer.Option("--json", help="Print the CreateInvitationResponse, as proto-JSON.")
    ] = False,
) -> None:
    """Print a code with which one person registers (`responsa register --invited`). The code is never shown again."""
    with reporting(json=json), open_client() as client:
        made = client.create_invitation(
            valid_text(email, "The e-mail address"),
            admin=role is _Invited.ADMIN,
            valid_seconds=days * _DAY_SECONDS,
        )
        if json:
            print_json(made)
        else:
            print_text(made.code)


def update_user(
    user: User,
    name: Annotated[str | None, typer.Option(help="The new name.")] = None,
    email: Annotated[str | None, typer.Option(help="The new e-mail address.")] = None,
    no_email: Annotated[bool, typer.Option("--no-email", help="Remove the e-mail address.")] = False,
    role: Annotated[Role | None, typer.Option(help="The new role.")] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            help="The name of the person in documents that have a subject; an empty text removes it."
        ),
    ] = None,
    etag: Etag = "",
    json: AsJson = False,
) -> None:
    """Change the given fields. The tenant's last active administrator keeps the role."""
    with reporting(json=json):
        if email is not None and no_email:
            raise CommandFailed(
                "You gave an address and also asked to remove it.",
                "Give either --email or --no-email.",
                EXIT_USAGE,
            )
        if name is None and email is None and role is None and subject is None and not no_email:
            raise CommandFailed(
                "There is nothing to change.",
                "Give --name, --email, --no-email, --role or --subject.",
                EXIT_USAGE,
            )
        address = "" if no_email else email
        with open_client() as client:
            changed = client.update_user(
                found_name(client, user),
                display_name=None if name is None else valid_text(name, "The name"),
                email=None if address is None else valid_text(address, "The address"),
                role=None if role is None else _role(role),
                subject=None if subject is None else valid_text(subject, "The subject"),
                etag=etag,
            )
            _print(changed, json=json)


def reset_code(
    user: User,
    json: Annotated[
        bool, typer.Option("--json", help="Print the CreateResetCodeResponse, as proto-JSON.")
    ] = False,
) -> None:
    """Print a code with which a user sets a new password (`responsa reset-password`). The code works once, within 30 minutes, and is never shown again."""
    with reporting(json=json), open_client() as client:
        made = client.create_reset_code(requests.user_name(found_name(client, user)))
        if json:
            print_json(made)
        else:
            print_text(made.code)


def disable_user(user: User, etag: Etag = "", json: AsJson = False) -> None:
    """Refuse all further calls of a user, and end the user's open streams. Nothing is deleted."""
    with reporting(json=json), open_client() as client:
        _print(client.disable_user(found_name(client, user), etag), json=json)


def enable_user(user: User, etag: Etag = "", json: AsJson = False) -> None:
    """Let a disabled user make calls again."""
    with reporting(json=json), open_client() as client:
        _print(client.enable_user(found_name(client, user), etag), json=json)


def revoke_credentials(
    user: User,
    json: Annotated[
        bool, typer.Option("--json", help="Print the RevokeCredentialsResponse, as proto-JSON.")
    ] = False,
) -> None:
    """End all sessions and revoke all API keys of a user. The user can sign in again with a password; `disable` keeps a user out."""
    with reporting(json=json), open_client() as client:
        done = client.revoke_credentials(found_name(client, user))
        if json:
            print_json(done)
        else:
            ended = counted(done.session_count, "session")
            print_text(f"{ended} ended; {counted(done.api_key_count, 'API key')} revoked")


def grant_ownership(user: User, json: AsJson = False) -> None:
    """Make an administrator of the installation's own tenant an owner of the installation. This command needs an owner."""
    with reporting(json=json), open_client() as client:
        _print(client.grant_ownership(found_name(client, user)), json=json)


def revoke_ownership(user: User, json: AsJson = False) -> None:
    """End the ownership of a user, who stays an administrator. This command needs an owner."""
    with reporting(json=json), open_client() as client:
        _print(client.revoke_ownership(found_name(client, user)), json=json)


def delete_user(
    user: User,
    hand_over_to: Annotated[
        str,
        typer.Option(
            "--hand-over-to",
            help="The user who receives the deleted user's shared collections: those that other users can read, and those that hold documents of other users. Give users/{uuid}, the UUID alone, or the e-mail address. Default: all collections are deleted; the server refuses this as long as they hold documents of others.",
        ),
    ] = "",
    yes: Yes = False,
    etag: Etag = "",
    json: Receipt = False,
) -> None:
    """Delete a user with all that belongs to the user. This cannot be undone."""
    with reporting(json=json), open_client() as client:
        name = found_name(client, user)
        ask(user, hand_over_to, yes=yes)
        heir = valid_text(hand_over_to, "The user")
        print_receipt(client.delete_user(name, heir, etag), json=json)


def found_user(client: Responsa, text: str) -> user_pb2.User:
    """The user that an argument names."""
    given = valid_text(text, "The user")
    return client.lookup_user(given) if "@" in given else client.user(given)


def found_name(client: Responsa, text: str) -> str:
    """The name or the UUID of the user that an argument names."""
    given = valid_text(text, "The user")
    return client.lookup_user(given).name if "@" in given else given


class UserLabels:
    """The texts that stand for users in lists: the e-mail address, or else the name to show to people. Each user is asked for once."""

    def __init__(self, client: Responsa) -> None:
        self._client = client
        self._known: dict[str, str] = {}

    def ahead(
        self, items: Iterable[Item], users: Callable[[Item], Iterable[str]], *, wanted: bool = True
    ) -> Iterator[Item]:
        """Yield the items, after asking for the users of several items with one call. users: the names of an item's users; "" for none. wanted: False yields the items alone."""
        if not wanted:
            yield from items
            return
        rest = iter(items)
        while part := list(islice(rest, _AT_ONCE)):
            named = {name for one in part for name in users(one) if name}
            unknown = sorted(named - self._known.keys())
            for first in range(0, len(unknown), _NAMED):
                some = unknown[first : first + _NAMED]
                for user in self._client.users(" OR ".join(f'name = "{one}"' for one in some)):
                    self._learn(user)
            yield from part

    def of(self, name: str) -> str:
        """The text for `users/{uuid}`, which stays as it is for a user who was deleted meanwhile."""
        if name not in self._known:
            self._known[name] = name
            with contextlib.suppress(NotFound):
                self._learn(self._client.user(name))
        return self._known[name]

    def _learn(self, user: user_pb2.User) -> None:
        self._known[user.name] = one_line(user.email or user.display_name or user.name, 254)


def _role(role: Role) -> user_pb2.UserRole.ValueType:
    return user_pb2.UserRole.Value(f"USER_ROLE_{role.name}")


def _print(user: user_pb2.User, *, json: bool) -> None:
    if json:
        print_json(user)
    else:
        print_text(_line(user))


def _signed_in(user: user_pb2.User) -> str:
    if user.role == user_pb2.USER_ROLE_SERVICE:  # a service cannot sign in
        return ""
    when = as_json(user).get("lastSignInTime")
    return f"  signed in {when}" if when else "  never signed in"


def _line(user: user_pb2.User) -> str:
    role = user_pb2.UserRole.Name(user.role).removeprefix("USER_ROLE_").lower()
    parts = [user.name.removeprefix("users/"), f"{role:7}", one_line(user.display_name, 60)]
    if user.email:
        parts.append(f"<{one_line(user.email, 254)}>")
    if user.subject:
        parts.append(f"subject {one_line(user.subject, 200)}")
    if user.owns_installation:
        parts.append("owner")
    if user.HasField("disable_time"):
        parts.append(f"disabled since {as_json(user)['disableTime']}")
    return "  ".join(parts)
