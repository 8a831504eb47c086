"""AuthService."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from google.protobuf.empty_pb2 import Empty

from responsa.auth.v1 import (
    api_key_pb2,
    deletion_receipt_pb2,
    invitation_pb2,
    session_pb2,
    usage_report_pb2,
    user_pb2,
    user_usage_pb2,
)
from responsa.auth.v1 import auth_service_pb2 as pb
from responsa_server.calls.call import caller, current
from responsa_server.calls.convert import insight, people
from responsa_server.calls.convert.enums import REGISTRATION, ROLE
from responsa_server.calls.convert.messages import message
from responsa_server.calls.convert.values import request_id, timestamp, unmask, uuid_of, uuids_of
from responsa_server.calls.interceptors.access import bearer_of
from responsa_server.calls.listing import Listing
from responsa_server.calls.services.parts import Services
from responsa_server.domain import lists, names
from responsa_server.domain.background import Background
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.people import Role, UserChange
from responsa_server.identity.accounts import INVITATION_SECONDS


class AuthService:
    """Sign-in, and the caller's account and credentials."""

    def __init__(self, parts: Services, work: Background) -> None:
        """work: holds the tasks that continue when the caller has left."""
        self._parts = parts
        self._accounts = parts.accounts
        self._identity = parts.identity
        self._work = work

    async def ListSignInMethods(self, request: pb.ListSignInMethodsRequest) -> pb.ListSignInMethodsResponse:
        tenant, providers, registration, sends_mails = self._accounts.sign_in_methods(request.tenant)
        return pb.ListSignInMethodsResponse(
            oidc_providers=[people.oidc_provider(provider) for provider in providers],
            registration=REGISTRATION.number(registration),
            sends_mails=sends_mails,
            tenant=names.tenant(tenant),
        )

    async def Login(self, request: pb.LoginRequest) -> pb.LoginResponse:
        tokens, user = await self._accounts.login(
            request.tenant, request.email, request.password, current().origin
        )
        return pb.LoginResponse(tokens=people.session_tokens(tokens), user=people.user(user))

    async def RefreshToken(self, request: pb.RefreshTokenRequest) -> pb.RefreshTokenResponse:
        tokens = await self._accounts.refresh(
            request.refresh_token, request_id(request.request_id), current().origin
        )
        return pb.RefreshTokenResponse(tokens=people.session_tokens(tokens))

    async def Logout(self, request: pb.LogoutRequest) -> Empty:
        call = current()
        if request.refresh_token:
            await self._accounts.logout(request.refresh_token, call.origin)
            return Empty()
        # Anybody may make this call, so nobody has looked at its credential.
        credential = bearer_of(call.metadata)
        if credential is None or credential.kind != "token":
            raise InvalidRequest.of_field(
                "refresh_token", "required", "must be given, unless an access token makes the call"
            )
        who = await self._identity.authenticate(credential, call.log_tenant)
        await self._accounts.end_session(replace(who, address=call.address, call_id=call.id))
        return Empty()

    async def GetJwks(self, request: pb.GetJwksRequest) -> pb.GetJwksResponse:
        keys = await self._accounts.public_keys()
        return pb.GetJwksResponse(
            keys=[session_pb2.JsonWebKey(**people.jwk(kid, public)) for kid, public in keys]
        )

    async def ListSessions(self, request: pb.ListSessionsRequest) -> pb.ListSessionsResponse:
        asked = Listing(lists.SESSIONS, caller(), request)
        page = await self._accounts.store.sessions(caller(), asked.query)
        return asked.answer(
            pb.ListSessionsResponse, page, lambda item: people.session(item, caller().session_id)
        )

    async def RevokeSessions(self, request: pb.RevokeSessionsRequest) -> pb.RevokeSessionsResponse:
        wanted = [uuid_of(f"names[{index}]", "sessions", name) for index, name in enumerate(request.names)]
        count = await self._accounts.revoke_sessions(caller(), wanted, all_others=request.all_others)
        return pb.RevokeSessionsResponse(revoked_count=count)

    async def ChangePassword(self, request: pb.ChangePasswordRequest) -> Empty:
        await self._accounts.change_password(
            caller(), request.current_password, request.new_password, current().origin
        )
        return Empty()

    async def GetMyUsage(self, request: pb.GetMyUsageRequest) -> user_usage_pb2.UserUsage:
        return people.user_usage(await self._parts.quotas.mine(caller()))

    async def QueryMyUsage(self, request: pb.QueryMyUsageRequest) -> pb.QueryMyUsageResponse:
        who = caller()
        report = await self._parts.insight.usage(
            who, who.user_id, insight.span(request), *insight.grouping(request)
        )
        return pb.QueryMyUsageResponse(
            rows=[message(usage_report_pb2.UsageRow, row) for row in report.rows],
            complete_through=timestamp(report.complete_through),
        )

    async def UpdateMe(self, request: pb.UpdateMeRequest) -> user_pb2.User:
        wanted = unmask(request.update_mask, ("display_name", "email"), request.user)
        principal = caller()
        name = request.user.display_name if "display_name" in wanted else None
        # A mask of all fields comes with the address as it is.
        if "email" not in wanted or request.user.email == (await self._identity.me(principal)).email:
            change = UserChange(display_name=name)
            await self._parts.users.update(principal, principal.user_id, change, request.user.etag)
            return people.user(await self._identity.me(principal))
        # A name that is not valid, and an etag that has changed, are refused before a mail is stored.
        change = self._parts.users.check(
            await self._identity.me(principal), UserChange(display_name=name), request.user.etag
        )
        await self._accounts.change_email(principal, request.user.email, current().origin)
        await self._parts.users.update(principal, principal.user_id, change, request.user.etag)
        return people.user(await self._identity.me(principal))

    async def DeleteMe(self, request: pb.DeleteMeRequest) -> deletion_receipt_pb2.DeletionReceipt:
        who = caller()
        heir = people.heir(request.hand_over_to)
        return people.deletion_receipt(
            await self._work.run(self._parts.erasing.erase(who, who.user_id, heir, ""))
        )

    async def ListIdentities(self, request: pb.ListIdentitiesRequest) -> pb.ListIdentitiesResponse:
        identities = await self._parts.identities.list(caller())
        return pb.ListIdentitiesResponse(identities=[people.identity(*item) for item in identities])

    async def UnlinkIdentity(self, request: pb.UnlinkIdentityRequest) -> Empty:
        await self._parts.identities.unlink(caller(), uuid_of("name", "identities", request.name))
        return Empty()

    async def CreateInvitation(self, request: pb.CreateInvitationRequest) -> pb.CreateInvitationResponse:
        role = ROLE.value(request.role) or Role.USER
        if role is Role.ADMIN:
            await self._accounts.require_recent_session(caller())
        seconds = request.valid_seconds if request.HasField("valid_seconds") else INVITATION_SECONDS
        groups = uuids_of("groups", request.groups)
        code, expire_time = await self._accounts.create_invitation(
            caller(), role, request.email, seconds, groups
        )
        return pb.CreateInvitationResponse(code=code, expire_time=timestamp(expire_time))

    async def ListInvitations(self, request: pb.ListInvitationsRequest) -> pb.ListInvitationsResponse:
        asked = Listing(lists.INVITATIONS, caller(), request)
        page = await self._accounts.store.invitations(caller().tenant_id, asked.query)
        return asked.answer(pb.ListInvitationsResponse, page, partial(message, invitation_pb2.Invitation))

    async def RevokeInvitation(self, request: pb.RevokeInvitationRequest) -> Empty:
        await self._accounts.revoke_invitation(caller(), uuid_of("name", "invitations", request.name))
        return Empty()

    async def Register(self, request: pb.RegisterRequest) -> Empty:
        await self._accounts.register(
            request.tenant,
            request.invitation,
            request.email,
            request.password,
            request.display_name,
            current().origin,
        )
        return Empty()

    async def ConfirmEmail(self, request: pb.ConfirmEmailRequest) -> Empty:
        await self._accounts.confirm_email(request.code, request.password, current().origin)
        return Empty()

    async def RequestReset(self, request: pb.RequestResetRequest) -> Empty:
        await self._accounts.request_reset(request.tenant, request.email, current().origin)
        return Empty()

    async def CreateResetCode(self, request: pb.CreateResetCodeRequest) -> pb.CreateResetCodeResponse:
        user_id = uuid_of("user", "users", request.user)
        code, expire_time = await self._accounts.create_reset_code(caller(), user_id)
        return pb.CreateResetCodeResponse(code=code, expire_time=timestamp(expire_time))

    async def ResetPassword(self, request: pb.ResetPasswordRequest) -> Empty:
        await self._accounts.reset_password(request.code, request.new_password, current().origin)
        return Empty()

    async def GetMe(self, request: pb.GetMeRequest) -> user_pb2.User:
        return people.user(await self._identity.me(caller()))

    async def CreateSessionCode(self, request: pb.CreateSessionCodeRequest) -> pb.CreateSessionCodeResponse:
        code, expire_time = await self._identity.create_session_code(caller())
        return pb.CreateSessionCodeResponse(code=code, expire_time=timestamp(expire_time))

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest) -> pb.CreateApiKeyResponse:
        """Create a key for the caller. The secret is returned only once, so a repeated request gets no secret."""
        # A caller with an API key is bound by that key instead: the new key never outlives it, and is revoked with it.
        limits = await self._parts.limits.of(caller())
        key, secret = await self._identity.create_api_key(
            caller(),
            people.new_key(request.api_key, self._parts.catalogue),
            request_id(request.request_id),
            limits.api_keys,
        )
        return pb.CreateApiKeyResponse(api_key=people.api_key(key), secret=secret)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest) -> pb.ListApiKeysResponse:
        asked = Listing(lists.API_KEYS, caller(), request)
        page = await self._identity.store.list_keys(caller(), asked.query)
        return asked.answer(pb.ListApiKeysResponse, page, people.api_key)

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest) -> api_key_pb2.ApiKey:
        return people.api_key(
            await self._identity.revoke_api_key(caller(), uuid_of("name", "apiKeys", request.name))
        )
