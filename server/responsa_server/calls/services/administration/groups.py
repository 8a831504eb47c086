"""The part of AdminService that is about groups."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import group_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert.messages import message
from responsa_server.calls.convert.values import uuid_of, uuids_of
from responsa_server.calls.listing import Listing
from responsa_server.calls.services.administration.resource import ResourceCalls
from responsa_server.domain.people import Role
from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.groups import MEMBERS, PostgresGroups


class GroupService(ResourceCalls[group_pb2.Group]):
    """Groups and their members."""

    def __init__(self, groups: PostgresGroups) -> None:
        super().__init__(group_pb2.Group, pb.ListGroupsResponse, groups)
        self._groups = groups

    async def AddGroupMembers(self, request: pb.AddGroupMembersRequest) -> group_pb2.Group:
        group_id = uuid_of("name", "groups", request.name)
        return self._message(await self._groups.add(caller(), group_id, *_read_members(request)))

    async def RemoveGroupMembers(self, request: pb.RemoveGroupMembersRequest) -> group_pb2.Group:
        group_id = uuid_of("name", "groups", request.name)
        return self._message(await self._groups.remove(caller(), group_id, *_read_members(request)))

    async def ListGroupMembers(self, request: pb.ListGroupMembersRequest) -> pb.ListGroupMembersResponse:
        listing = Listing(MEMBERS, caller(), request)
        group_id = uuid_of("parent", "groups", request.parent)
        page = await self._groups.members(caller(), group_id, listing.query)
        return listing.answer(pb.ListGroupMembersResponse, page, partial(message, group_pb2.GroupMember))

    def _message(self, value: Row) -> group_pb2.Group:
        """A group as the caller sees it: only administrators see which groups of providers it stands for."""
        group = super()._message(value)
        if caller().role is not Role.ADMIN:
            group.ClearField("provider_groups")
        return group


def _read_members(
    request: pb.AddGroupMembersRequest | pb.RemoveGroupMembersRequest,
) -> tuple[Sequence[UUID], Sequence[UUID]]:
    return uuids_of("users", request.users), uuids_of("invitations", request.invitations)
