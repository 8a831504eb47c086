"""The commands `responsa groups list | create | add | remove | delete`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final
from uuid import UUID

import typer

from responsa.admin.v1 import group_pb2
from responsa_client import Responsa
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, one_line, person, valid_text
from responsa_server.cli.resources import CommandGroup
from responsa_server.domain.formatting import counted

Group = Annotated[
    str, typer.Argument(help="The group: its name, if no other group has this name, or groups/{uuid}.")
]
Users = Annotated[
    list[str], typer.Argument(help="Users, each by the e-mail address or as users/{uuid}; at most 64.")
]
_GROUP: Final = "Print the Group as proto-JSON."
register: Final = CommandGroup("List and change groups of users.")


def _line(item: group_pb2.Group | group_pb2.GroupMember) -> str:
    if isinstance(item, group_pb2.Group):
        return f"{item.name}  {one_line(item.display_name, 60)}  {counted(item.member_count, 'member')}"
    return f"{person(item.user, item.display_name)}  {item.email}".rstrip()


@register.show("list", "Print one Group, or one GroupMember, per line, as proto-JSON.", _line)
def list_groups(
    client: Responsa,
    of: Annotated[
        str, typer.Argument(metavar="[GROUP]", help="A group whose members to list, for administrators.")
    ] = "",
) -> Iterable[group_pb2.Group | group_pb2.GroupMember]:
    """List the groups, or the members of one."""
    return client.group_members(find_group(client, of).name) if of else client.groups()


@register.show("create", _GROUP, _line)
def create(
    client: Responsa,
    name: Annotated[str, typer.Argument(help="The name to show to people, at most 200 bytes.")],
) -> group_pb2.Group:
    """Create a group without members."""
    return client.create_group(valid_text(name, "The name"))


@register.show("add", _GROUP, _line)
def add(client: Responsa, group: Group, users: Users) -> group_pb2.Group:
    """Add users to a group. From their next call on, they can read the collections that are shared with the group."""
    named = find_group(client, group).name
    return client.add_group_members(named, [find_user(client, user) for user in users])


@register.show("remove", _GROUP, _line)
def remove(client: Responsa, group: Group, users: Users) -> group_pb2.Group:
    """Remove users from a group. From their next call on, they can no longer read what is shared with them by this
    group alone."""
    named = find_group(client, group).name
    return client.remove_group_members(named, [find_user(client, user) for user in users])


@register.show("delete", "", str)
def delete(client: Responsa, group: Group) -> str:
    """Delete a group. Its members can no longer read what is shared with them by this group alone."""
    named = find_group(client, group)
    client.delete_group(named.name)
    return f"deleted {person(named.name, named.display_name)}"


def find_group(client: Responsa, text: str) -> group_pb2.Group:
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


def find_user(client: Responsa, text: str) -> str:
    """The name of the user whom a text means: an address, `users/{uuid}` or a UUID."""
    wanted = valid_text(text, "The user")
    return client.lookup_user(wanted).name if "@" in wanted else f"users/{wanted.removeprefix('users/')}"


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
