"""Calls about accounts whose arguments differ from the request's fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from google.protobuf import timestamp_pb2

from responsa.admin.v1 import admin_service_pb2, service_grant_pb2, user_limits_pb2, user_quota_pb2
from responsa.auth.v1 import api_key_pb2, auth_service_pb2, user_pb2
from responsa_client import requests
from responsa_client.aio.methods import AsyncAdminMethods, AsyncAuthMethods


class AsyncAccountCalls(AsyncAuthMethods, AsyncAdminMethods):
    """The calls of AuthService and AdminService."""

    async def create_api_key(
        self,
        display_name: str,
        expire_time: timestamp_pb2.Timestamp | None = None,
        request_id: str | None = None,
        *,
        as_user: bool = False,
    ) -> auth_service_pb2.CreateApiKeyResponse:
        """Create an API key for the caller. Only this response contains the key's secret.

        The client does not retry this call after a lost connection, because the second response would not contain the secret.

        Args:
            display_name: a name to show to people, at most 200 bytes.
            expire_time: when the key expires; None for a key that never expires.
            request_id: a UUID. With the id of an earlier call, the server returns the key of that call with an empty
                secret; the caller should revoke that key and create another one. None generates a new id.
            as_user: whether the key has only the rights of the role USER, also if the caller is an administrator.

        Raises:
            AlreadyExists: the request_id was used before for a key with a different name, expiry or role.
        """
        role = user_pb2.USER_ROLE_USER if as_user else user_pb2.USER_ROLE_UNSPECIFIED
        api_key = api_key_pb2.ApiKey(display_name=display_name, expire_time=expire_time, role=role)
        made = request_id or requests.new_request_id()
        request = auth_service_pb2.CreateApiKeyRequest(api_key=api_key, request_id=made)
        return await self._calls.unary(self._stubs.auth.CreateApiKey, request, repeatable=False)

    async def update_me(self, display_name: str | None = None, *, email: str | None = None) -> user_pb2.User:
        """Change the caller's display name, at most 200 bytes, and ask for another e-mail address. The address changes
        once `confirm_email` has its code.

        Raises:
            InvalidRequest: a value is wrong.
            PermissionDenied: for a new address, the caller did not sign in within the last ten minutes.
            FailedPrecondition: the server sends no mails, so it cannot confirm an address; or the account has an
                address but no password, which the confirmation needs.
        """
        request = auth_service_pb2.UpdateMeRequest(
            user=user_pb2.User(display_name=display_name or "", email=email or ""),
            update_mask=requests.changed(display_name=display_name, email=email),
        )
        return await self._calls.unary(self._stubs.auth.UpdateMe, request, repeatable=email is None)

    async def create_invitation(
        self,
        email: str = "",
        *,
        admin: bool = False,
        valid_seconds: int | None = None,
        groups: Sequence[str] = (),
    ) -> auth_service_pb2.CreateInvitationResponse:
        """Create a code with which one person can register.

        Args:
            email: the only address that may register; "" for any.
            admin: whether the new user is an administrator.
            valid_seconds: how long the code is valid, from 60 to 2,592,000; None for seven days.
            groups: those that the new user joins, `groups/{uuid}`.
        """
        role = user_pb2.USER_ROLE_ADMIN if admin else user_pb2.USER_ROLE_USER
        request = auth_service_pb2.CreateInvitationRequest(
            role=role, email=email, valid_seconds=valid_seconds, groups=groups
        )
        return await self._calls.unary(self._stubs.auth.CreateInvitation, request, repeatable=False)

    async def create_service_grant(
        self, service: str, user: str | None = None
    ) -> service_grant_pb2.ServiceGrant:
        """Let a service act on behalf of a user. A second call returns the same grant.

        Args:
            service: the service, a user with the role SERVICE: `users/{uuid}` or the UUID.
            user: the user, with the role USER; None for all users of the tenant with this role.

        Raises:
            NotFound: the service or the user does not exist.
            InvalidRequest: one of them has another role or is disabled.
        """
        grant = service_grant_pb2.ServiceGrant(service=requests.user_name(service))
        if user is None:
            grant.all_users = True
        else:
            grant.user = requests.user_name(user)
        request = admin_service_pb2.CreateServiceGrantRequest(service_grant=grant)
        return await self._calls.unary(self._stubs.admin.CreateServiceGrant, request)

    async def reload_agents(self) -> list[admin_service_pb2.AgentReload]:
        """Like `reload`, but returns only the outcomes for the agents."""
        return list((await self.reload()).agents)

    async def update_user_limits(
        self, user: str, changes: Mapping[str, int | None]
    ) -> user_limits_pb2.UserLimits:
        """Set or remove exceptions of a user, all of them or none.

        Args:
            user: the user's name (`users/{uuid}`) or UUID.
            changes: new values by the name of the limit, e.g. `{"messages_per_minute": 60}`; 0 for no limit, None for
                the default of the user's role.

        Raises:
            NotFound: the user does not exist.
            InvalidRequest: the value is not valid.
            ValueError: there is no limit with such a name.
        """
        request = requests.update_user_limits(user, changes)
        return await self._calls.unary(self._stubs.admin.UpdateUserLimits, request)

    async def update_user_quota(
        self,
        user: str,
        limits: Mapping[str, int | None],
        *,
        dropped: Collection[str] = (),
        etag: str = "",
    ) -> user_quota_pb2.UserQuota:
        """Change the limits of a user, all of them or none.

        Args:
            user: the user's name (`users/{uuid}`) or UUID.
            limits: the new limits by name; None lifts a limit. The names are `tokens_per_day`, `tokens_per_month`,
                `cost_usd_micros_per_day` and `cost_usd_micros_per_month`.
            dropped: the names of limits that were set for the user and that the limits of the user's role replace again.
            etag: the etag that the quota must have; "" accepts any.

        Raises:
            NotFound: the user does not exist.
            Conflict: the quota's etag differs from the given etag.
            InvalidRequest: a limit is negative, or no limit is named.
            ValueError: there is no limit with such a name.
        """
        request = requests.update_user_quota(user, limits, dropped, etag)
        return await self._calls.unary(self._stubs.admin.UpdateUserQuota, request, repeatable=not etag)
