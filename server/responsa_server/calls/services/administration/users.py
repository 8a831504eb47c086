"""The part of AdminService that is about users and owners."""

from __future__ import annotations

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.auth.v1 import deletion_receipt_pb2, user_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert import people
from responsa_server.calls.convert.values import request_id, unmask, uuid_of
from responsa_server.calls.listing import Listing
from responsa_server.calls.services.parts import Services
from responsa_server.calls.violations import check_texts
from responsa_server.domain import lists
from responsa_server.domain.background import Background
from responsa_server.domain.people import Role, UserChange
from responsa_server.identity.service import require_email


class UserService:
    """Users and owners."""

    def __init__(self, parts: Services, work: Background) -> None:
        """work: holds the tasks that continue when the caller has left."""
        self._parts = parts
        self._users = parts.users
        self._work = work

    async def CreateUser(self, request: pb.CreateUserRequest) -> user_pb2.User:
        user = request.user
        role = people.role(user) or Role.USER
        if role is Role.ADMIN:
            await self._parts.accounts.require_recent_session(caller())
        created = await self._users.create(
            caller(), user.display_name, user.email, role, request_id(request.request_id)
        )
        return people.user(created)

    async def GetUser(self, request: pb.GetUserRequest) -> user_pb2.User:
        user_id = uuid_of("name", "users", request.name)
        return people.user(await self._users.store.get(caller().tenant_id, user_id))

    async def LookupUser(self, request: pb.LookupUserRequest) -> user_pb2.User:
        email = require_email(request.email)
        return people.user(await self._users.store.with_email(caller().tenant_id, email))

    async def ListUsers(self, request: pb.ListUsersRequest) -> pb.ListUsersResponse:
        asked = Listing(lists.USERS, caller(), request)
        page = await self._users.store.list(caller().tenant_id, asked.query)
        return asked.answer(pb.ListUsersResponse, page, people.user)

    async def UpdateUser(self, request: pb.UpdateUserRequest) -> user_pb2.User:
        user = request.user
        change = people.user_change(
            user, unmask(request.update_mask, ("display_name", "email", "role", "subject"), user)
        )
        check_texts("user", display_name=change.display_name)
        # A new address and the role of an administrator are ways in: a mail with a reset code goes to the address.
        if change.email is not None or change.role is Role.ADMIN:
            await self._parts.accounts.require_recent_session(caller())
        changed = await self._users.update(
            caller(), uuid_of("user.name", "users", user.name), change, user.etag
        )
        return people.user(changed)

    async def DisableUser(self, request: pb.DisableUserRequest) -> user_pb2.User:
        user_id = uuid_of("name", "users", request.name)
        return people.user(
            await self._users.update(caller(), user_id, UserChange(disabled=True), request.etag)
        )

    async def EnableUser(self, request: pb.EnableUserRequest) -> user_pb2.User:
        user_id = uuid_of("name", "users", request.name)
        return people.user(
            await self._users.update(caller(), user_id, UserChange(disabled=False), request.etag)
        )

    async def RevokeCredentials(self, request: pb.RevokeCredentialsRequest) -> pb.RevokeCredentialsResponse:
        revoked = await self._users.revoke_credentials(caller(), uuid_of("name", "users", request.name))
        return pb.RevokeCredentialsResponse(
            session_count=len(revoked.sessions), api_key_count=len(revoked.keys)
        )

    async def GrantOwnership(self, request: pb.GrantOwnershipRequest) -> user_pb2.User:
        user_id = uuid_of("name", "users", request.name)
        return people.user(await self._users.update(caller(), user_id, UserChange(owner=True), ""))

    async def RevokeOwnership(self, request: pb.RevokeOwnershipRequest) -> user_pb2.User:
        user_id = uuid_of("name", "users", request.name)
        return people.user(await self._users.update(caller(), user_id, UserChange(owner=False), ""))

    async def DeleteUser(self, request: pb.DeleteUserRequest) -> deletion_receipt_pb2.DeletionReceipt:
        user_id = uuid_of("name", "users", request.name)
        heir = people.heir(request.hand_over_to)
        return people.deletion_receipt(
            await self._work.run(self._parts.erasing.erase(caller(), user_id, heir, request.etag))
        )
