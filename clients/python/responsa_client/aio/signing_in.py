"""Calls that sign in, and calls about the caller's account and sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator

from google.protobuf import field_mask_pb2

from responsa.auth.v1 import (
    auth_service_pb2,
    deletion_receipt_pb2,
    invitation_pb2,
    session_pb2,
    sign_in_pb2,
    user_pb2,
)
from responsa_client import requests
from responsa_client.aio.calls import AsyncPart


class AsyncSignInCalls(AsyncPart):
    """The calls of AuthService about sign-in, sessions and the caller's account."""

    async def sign_in_methods(self, tenant: str = "") -> auth_service_pb2.ListSignInMethodsResponse:
        """The OpenID Connect providers of a tenant, and who may register. tenant: the tenant's id; "" for the server's default tenant."""
        request = auth_service_pb2.ListSignInMethodsRequest(tenant=tenant)
        return await self._calls.unary(self._stubs.auth.ListSignInMethods, request)

    async def login(self, email: str, password: str, tenant: str = "") -> auth_service_pb2.LoginResponse:
        """Begin a session. The client keeps no tokens: give the access token to a new client as its key.

        Args:
            email: the e-mail address of the account.
            password: the password, at most 256 bytes.
            tenant: the tenant's id; "" for the server's default tenant.

        Raises:
            Unauthenticated: the address or the password is wrong.
            ResourceExhausted: too many attempts have failed; `retry_after` says how long to wait.
        """
        request = auth_service_pb2.LoginRequest(tenant=tenant, email=email, password=password)
        return await self._calls.unary(self._stubs.auth.Login, request, repeatable=False)

    async def refresh_tokens(
        self, refresh_token: str, request_id: str | None = None
    ) -> session_pb2.SessionTokens:
        """Exchange a refresh token for the next tokens. Store them before the next call.

        Args:
            refresh_token: the newest refresh token of the session. A second use with another request_id ends the session.
            request_id: a UUID. Within 60 seconds, a call with the same id and token returns the same tokens again. None generates
                a new id. A program that may crash should store the id before the call.

        Raises:
            Unauthenticated: the token is not valid, or the session has ended.
        """
        made = request_id or requests.new_request_id()
        request = auth_service_pb2.RefreshTokenRequest(refresh_token=refresh_token, request_id=made)
        return (await self._calls.unary(self._stubs.auth.RefreshToken, request)).tokens

    async def logout(self, refresh_token: str) -> None:
        """End the session of a refresh token. Has no effect if the session has ended."""
        request = auth_service_pb2.LogoutRequest(refresh_token=refresh_token)
        await self._calls.unary(self._stubs.auth.Logout, request)

    async def public_keys(self) -> list[session_pb2.JsonWebKey]:
        """The public keys that verify access tokens, newest first."""
        request = auth_service_pb2.GetJwksRequest()
        return list((await self._calls.unary(self._stubs.auth.GetJwks, request)).keys)

    def sessions(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[session_pb2.Session]:
        """The caller's sessions that have not ended, by default newest first."""
        request = auth_service_pb2.ListSessionsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.auth.ListSessions, request, lambda page: page.sessions)

    async def revoke_sessions(self, *names: str, all_others: bool = False) -> int:
        """End sessions of the caller: those with these names, or with `all_others` all but the calling one. Returns their number."""
        request = auth_service_pb2.RevokeSessionsRequest(names=names, all_others=all_others)
        return (await self._calls.unary(self._stubs.auth.RevokeSessions, request)).revoked_count

    async def change_password(self, current_password: str, new_password: str) -> None:
        """Set the caller's password, and end the caller's other sessions. current_password: "" if no password is set.

        Raises:
            InvalidRequest: the new password is too short or easy to guess.
            Unauthenticated: the current password is wrong.
            PermissionDenied: the caller has no password, and did not sign in within the last ten minutes.
        """
        request = auth_service_pb2.ChangePasswordRequest(
            current_password=current_password, new_password=new_password
        )
        await self._calls.unary(self._stubs.auth.ChangePassword, request, repeatable=False)

    async def update_me(self, display_name: str | None = None, *, email: str | None = None) -> user_pb2.User:
        """Change the caller's display name, at most 200 bytes, and ask for another e-mail address. The address changes once `confirm_email` has its code.

        Raises:
            InvalidRequest: a value is wrong.
            PermissionDenied: for a new address, the caller did not sign in within the last ten minutes.
            FailedPrecondition: the server sends no mails, so it cannot confirm an address; or the account has an address but no password, which the confirmation needs.
        """
        given = {"display_name": display_name, "email": email}
        paths = [field for field, value in given.items() if value is not None]
        request = auth_service_pb2.UpdateMeRequest(
            user=user_pb2.User(display_name=display_name or "", email=email or ""),
            update_mask=field_mask_pb2.FieldMask(paths=paths),
        )
        return await self._calls.unary(self._stubs.auth.UpdateMe, request, repeatable=email is None)

    async def delete_me(self, hand_over_to: str = "") -> deletion_receipt_pb2.DeletionReceipt:
        """Delete the caller with all that belongs to the caller. Afterwards, no credential of the caller is valid.

        Args:
            hand_over_to: the name (`users/{uuid}`), the UUID or the e-mail address of the user who receives the collections that others can read or that hold documents of
                others; with "", all collections of the caller are deleted.

        Raises:
            PermissionDenied: the caller did not sign in within the last ten minutes. An API key is not enough.
            FailedPrecondition: the caller is the tenant's last administrator; or hand_over_to is "", and a collection of the caller holds documents of others.
            InvalidRequest: hand_over_to is not another active user of the tenant, or neither an administrator nor a reader of all these collections.
        """
        request = auth_service_pb2.DeleteMeRequest(
            hand_over_to=requests.person_name(hand_over_to) if hand_over_to else ""
        )
        return await self._calls.unary(self._stubs.auth.DeleteMe, request, repeatable=False)

    async def identities(self) -> list[sign_in_pb2.Identity]:
        """The caller's identities at OpenID Connect providers, oldest first."""
        request = auth_service_pb2.ListIdentitiesRequest()
        return list((await self._calls.unary(self._stubs.auth.ListIdentities, request)).identities)

    async def unlink_identity(self, name: str) -> None:
        """Take an identity (`identities/{uuid}`) from the caller: it no longer signs in.

        Raises:
            NotFound: the caller has no such identity.
            PermissionDenied: the caller did not sign in within the last ten minutes. An API key is not enough.
            FailedPrecondition: the caller could not sign in any more without it.
        """
        request = auth_service_pb2.UnlinkIdentityRequest(name=name)
        await self._calls.unary(self._stubs.auth.UnlinkIdentity, request, repeatable=False)

    async def register(
        self, email: str, password: str, display_name: str = "", *, invitation: str = "", tenant: str = ""
    ) -> None:
        """Create an account. If the address is taken, nothing changes and no error is raised. If the server sends mails, the account can be used once `confirm_email` has
        sent the code that the server mails to the address; an invitation that names the address needs no code.

        Raises:
            InvalidRequest: the password is too short or easy to guess, or another field is wrong.
            PermissionDenied: the server's settings do not allow this registration.
            Unauthenticated: the invitation is not valid.
        """
        request = auth_service_pb2.RegisterRequest(
            tenant=tenant, invitation=invitation, email=email, password=password, display_name=display_name
        )
        await self._calls.unary(self._stubs.auth.Register, request, repeatable=False)

    async def confirm_email(self, code: str, password: str = "") -> None:
        """Confirm an e-mail address with the code of a mail.

        Args:
            code: the code. If the call fails for another reason than the code, the code is still valid.
            password: the password of the registration or, for a new address of an account, the password of the account. The first address of an account
            without a password needs no password.

        Raises:
            InvalidRequest: the password is missing.
            Unauthenticated: the code is not valid, the password is wrong, or the address was taken in the meantime.
        """
        request = auth_service_pb2.ConfirmEmailRequest(code=code, password=password)
        await self._calls.unary(self._stubs.auth.ConfirmEmail, request, repeatable=False)

    async def request_reset(self, email: str, tenant: str = "") -> None:
        """Ask for a mail with a reset code. No error is raised if no account has the address.

        Raises:
            FailedPrecondition: the server sends no mails.
            ResourceExhausted: too many mails to the address were asked for.
        """
        request = auth_service_pb2.RequestResetRequest(tenant=tenant, email=email)
        await self._calls.unary(self._stubs.auth.RequestReset, request, repeatable=False)

    async def reset_password(self, code: str, new_password: str) -> None:
        """Set a password with a reset code, and end all sessions of its user. Raises InvalidRequest, Unauthenticated."""
        request = auth_service_pb2.ResetPasswordRequest(code=code, new_password=new_password)
        await self._calls.unary(self._stubs.auth.ResetPassword, request, repeatable=False)

    # For administrators: without the role ADMIN, all methods below raise PermissionDenied.

    async def create_invitation(
        self, email: str = "", *, admin: bool = False, valid_seconds: int | None = None
    ) -> auth_service_pb2.CreateInvitationResponse:
        """Create a code with which one person can register.

        Args:
            email: the only address that may register; "" for any.
            admin: whether the new user is an administrator.
            valid_seconds: how long the code is valid, from 60 to 2,592,000; None for seven days.
        """
        role = user_pb2.USER_ROLE_ADMIN if admin else user_pb2.USER_ROLE_USER
        request = auth_service_pb2.CreateInvitationRequest(
            role=role, email=email, valid_seconds=valid_seconds
        )
        return await self._calls.unary(self._stubs.auth.CreateInvitation, request, repeatable=False)

    def invitations(
        self, filter_by: str = "", order_by: str = ""
    ) -> AsyncIterator[invitation_pb2.Invitation]:
        """The tenant's invitations that are neither used nor expired, by default newest first."""
        request = auth_service_pb2.ListInvitationsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.auth.ListInvitations, request, lambda page: page.invitations)

    async def revoke_invitation(self, name: str) -> None:
        """End an invitation (`invitations/{uuid}`), so that nobody can register with its code. Raises NotFound, also for an invitation that was used, has expired or was revoked before."""
        request = auth_service_pb2.RevokeInvitationRequest(name=name)
        await self._calls.unary(self._stubs.auth.RevokeInvitation, request)

    async def create_reset_code(self, user: str) -> auth_service_pb2.CreateResetCodeResponse:
        """Create a code with which a user (`users/{uuid}`) sets a new password, once and within 30 minutes. Raises NotFound."""
        request = auth_service_pb2.CreateResetCodeRequest(user=user)
        return await self._calls.unary(self._stubs.auth.CreateResetCode, request, repeatable=False)
