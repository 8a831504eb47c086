"""The commands `responsa groups list | create | add | remove | delete`."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import typer

from responsa.admin.v1 import group_pb2
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    one_line,
    person,
    print_json,
    print_text,
    reporting,
    valid_text,
)
from responsa_server.cli.session import open_client
from responsa_server.domain.formatting import counted

Group = Annotated[
    str, typer.Argument(help="The group: its name, if no other group has this name, or groups/{uuid}.")
]
Users = Annotated[
    list[str], typer.Argument(help="Users, each by the e-mail address or as users/{uuid}; at most 64.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the Group as proto-JSON.")]


def register(app: typer.Typer, name: str) -> None:
    """Add the group `groups`."""
    group = typer.Typer(no_args_is_help=True, help="List and change groups of users.", rich_markup_mode=None)
    group.command("list")(list_groups)
    group.command("create")(create)
    group.command("add")(add)
    group.command("remove")(remove)
    group.command("delete")(delete)
    app.add_typer(group, name=name)


def list_groups(
    of: Annotated[
        str, typer.Argument(metavar="[GROUP]", help="A group whose members to list, for administrators.")
    ] = "",
    json: Annotated[
        bool, typer.Option("--json", help="Print one Group, or one GroupMember, per line, as proto-JSON.")
    ] = False,
) -> None:
    """List the groups, or the members of one."""
    with reporting(json=json), open_client() as client:
        for item in client.group_members(find_group(client, of).name) if of else client.groups():
            if json:
                print_json(item)
            elif isinstance(item, group_pb2.Group):
                _print_group(item)
            else:
                print_text(f"{person(item.user, item.display_name)}  {item.email}".rstrip())


def create(
    name: Annotated[str, typer.Argument(help="The name to show to people, at most 200 bytes.")],
    json: AsJson = False,
) -> None:
    """Create a group without members."""
    with reporting(json=json), open_client() as client:
        _print_changed(client.create_group(valid_text(name, "The name")), json=json)


def add(group: Group, users: Users, json: AsJson = False) -> None:
    """Add users to a group. From their next call on, they can read the collections that are shared with the group."""
    with reporting(json=json), open_client() as client:
        named = find_group(client, group).name
        members = [find_user(client, user) for user in users]
        _print_changed(client.add_group_members(named, members), json=json)


def remove(group: Group, users: Users, json: AsJson = False) -> None:
    """Remove users from a group. From their next call on, they can no longer read what is shared with them by this
    group alone."""
    with reporting(json=json), open_client() as client:
        named = find_group(client, group).name
        members = [find_user(client, user) for user in users]
        _print_changed(client.remove_group_members(named, members), json=json)


def delete(group: Group) -> None:
    """Delete a group. Its members can no longer read what is shared with them by this group alone."""
    with reporting(), open_client() as client:
        named = find_group(client, group)
        client.delete_group(named.name)
        print_text(f"deleted {_label(named)}")


def find_group(client: Any, text: str) -> group_pb2.Group:
    """The group that a text means: its name, `groups/{uuid}` or its UUID. Raises CommandFailed."""
    wanted = valid_text(text, "The group")
    if wanted.startswith("groups/") or _is_uuid(wanted):
        return client.group(wanted)
    matching = [group for group in client.groups() if group.display_name == wanted]
    if len(matching) == 1:
        return matching[0]
    remedy = "`responsa groups list` lists the groups."
    if matching:
        raise CommandFailed(
            f"{len(matching)} groups have this name.", f"Give groups/{{uuid}}. {remedy}", EXIT_USAGE
        )
    raise CommandFailed(f"No group is called {one_line(wanted, 80)}.", remedy, EXIT_USAGE)


def find_user(client: Any, text: str) -> str:
    """The name of the user whom a text means: an address, `users/{uuid}` or a UUID."""
    wanted = valid_text(text, "The user")
    return client.lookup_user(wanted).name if "@" in wanted else f"users/{wanted.removeprefix('users/')}"


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _label(group: group_pb2.Group) -> str:
    return person(group.name, group.display_name)


def _print_group(group: group_pb2.Group) -> None:
    print_text(f"{group.name}  {one_line(group.display_name, 60)}  {counted(group.member_count, 'member')}")


def _print_changed(group: group_pb2.Group, *, json: bool) -> None:
    if json:
        print_json(group)
    else:
        _print_group(group)
