"""The part of AdminService that is about groups."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import group_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert.messages import message
from responsa_server.calls.convert.values import uuid_of
from responsa_server.calls.listing import Listing
from responsa_server.calls.services.administration.resource import ResourceCalls
from responsa_server.domain.people import Role
from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.groups import MEMBERS, PostgresGroups


class GroupService:
    """Groups and their members."""

    def __init__(self, groups: PostgresGroups) -> None:
        self._groups = groups
        self._calls = ResourceCalls(group_pb2.Group, groups)

    async def CreateGroup(self, request: pb.CreateGroupRequest) -> group_pb2.Group:
        return await self._calls.create(request)

    async def GetGroup(self, request: pb.GetGroupRequest) -> group_pb2.Group:
        return _hide_mappings(await self._calls.get(request))

    async def ListGroups(self, request: pb.ListGroupsRequest) -> pb.ListGroupsResponse:
        page = await self._calls.list(request, pb.ListGroupsResponse)
        for group in page.groups:
            _hide_mappings(group)
        return page

    async def UpdateGroup(self, request: pb.UpdateGroupRequest) -> group_pb2.Group:
        return await self._calls.update(request)

    async def DeleteGroup(self, request: pb.DeleteGroupRequest) -> Empty:
        return await self._calls.delete(request)

    async def AddGroupMembers(self, request: pb.AddGroupMembersRequest) -> group_pb2.Group:
        group_id = uuid_of("name", "groups", request.name)
        return _message(await self._groups.add(caller(), group_id, _users(request.users)))

    async def RemoveGroupMembers(self, request: pb.RemoveGroupMembersRequest) -> group_pb2.Group:
        group_id = uuid_of("name", "groups", request.name)
        return _message(await self._groups.remove(caller(), group_id, _users(request.users)))

    async def ListGroupMembers(self, request: pb.ListGroupMembersRequest) -> pb.ListGroupMembersResponse:
        listing = Listing(MEMBERS, caller(), request)
        group_id = uuid_of("parent", "groups", request.parent)
        page = await self._groups.members(caller(), group_id, listing.query)
        return pb.ListGroupMembersResponse(
            group_members=[message(group_pb2.GroupMember, member) for member in page.items],
            next_page_token=listing.token(page),
        )


def _hide_mappings(group: group_pb2.Group) -> group_pb2.Group:
    """A group as the caller sees it: only administrators see which groups of providers it stands for."""
    if caller().role is not Role.ADMIN:
        group.ClearField("provider_groups")
    return group


def _message(group: Row) -> group_pb2.Group:
    return message(group_pb2.Group, group)


def _users(named: Sequence[str]) -> Sequence[UUID]:
    return [uuid_of(f"users[{index}]", "users", name) for index, name in enumerate(named)]
