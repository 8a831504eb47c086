"""The users of a tenant, as administrators see and change them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import Conflict, InvalidRequest
from responsa_server.domain.people import AuditEvent, Principal, RevokedCredentials, Role, User, UserChange
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.service import (
    MAX_SUBJECT_BYTES,
    checked_display_name,
    fold_email,
    new_user,
    required_email,
)
from responsa_server.stores.postgres.users import PostgresUsers

# The paths of the fields in the requests.
_NAME: Final = "user.display_name"
_EMAIL: Final = "user.email"


class UserAdministration:
    """Administers the users of the caller's tenant. The caller must be an administrator, except that anyone may change their own display name; the authorisation
    table and the services check this.
    """

    def __init__(self, store: PostgresUsers, new_id: Callable[[], UUID], cache: CredentialCache) -> None:
        """new_id: returns new UUIDv7 ids. cache: the cache of the `Identity` that authenticates this process's callers."""
        self.store = store
        self._new_id = new_id
        self._cache = cache

    async def create(
        self, who: Principal, display_name: str, email: str, role: Role, request_id: UUID | None
    ) -> User:
        """Create a user, or return the user that this request_id created. Raises InvalidRequest, AlreadyExists (RESOURCE_ALREADY_EXISTS, REQUEST_ID_REUSED)."""
        folded = fold_email(email, _EMAIL)
        name = checked_display_name(display_name, _NAME)
        user = new_user(self._new_id(), who.tenant_id, name, folded, role)
        return await self.store.add(who, user, self._event(who, "user.create", user.id), request_id)

    async def with_email(self, who: Principal, email: str) -> User:
        """Return the user with this e-mail address. Raises InvalidRequest, NotFound."""
        return await self.store.with_email(who.tenant_id, required_email(email))

    async def update(self, who: Principal, user_id: UUID, change: UserChange, etag: str) -> User:
        """Change a user; a new role takes effect at the next call. Raises InvalidRequest and the errors of `PostgresUsers.update`."""
        checked = _checked(change)
        event = self._event(who, "user.update", user_id)
        try:
            return await self.store.update(who.tenant_id, user_id, checked, etag, event, by_owner=who.owner)
        finally:
            self._cache.forget_user(user_id)

    async def set_owner(self, who: Principal, user_id: UUID, *, owner: bool) -> User:
        """Give or end the ownership of the installation; it takes effect at the next call. Raises NotFound, InvalidRequest, Precondition (LAST_OWNER)."""
        action = "user.grant_ownership" if owner else "user.revoke_ownership"
        event, change = self._event(who, action, user_id), UserChange(owner=owner)
        try:
            return await self.store.update(who.tenant_id, user_id, change, "", event, by_owner=who.owner)
        finally:
            self._cache.forget_user(user_id)

    def checked(self, user: User, change: UserChange, etag: str) -> UserChange:
        """Check a change that is made later. Raises InvalidRequest, Conflict (ETAG_MISMATCH)."""
        if etag and etag != user.etag:
            raise Conflict.of_etag(names.user(user.id))
        return _checked(change)

    async def disable(self, who: Principal, user_id: UUID, etag: str) -> User:
        """Disable a user. This process refuses the user's calls at once, and others within a second. Raises the errors of `PostgresUsers.disable`."""
        event = self._event(who, "user.disable", user_id)
        try:
            return await self.store.disable(who.tenant_id, user_id, etag, event, by_owner=who.owner)
        finally:
            self._cache.forget_user(user_id)

    async def enable(self, who: Principal, user_id: UUID, etag: str) -> User:
        """Enable a disabled user. Raises the errors of `PostgresUsers.enable`."""
        event = self._event(who, "user.enable", user_id)
        return await self.store.enable(who.tenant_id, user_id, etag, event, by_owner=who.owner)

    async def revoke_credentials(self, who: Principal, user_id: UUID) -> RevokedCredentials:
        """End all sessions and revoke all keys of a user. This process refuses them at once, and others within a second. Raises the errors of `PostgresUsers.revoke_credentials`."""
        event = self._event(who, "user.revoke_credentials", user_id)
        try:
            return await self.store.revoke_credentials(who.tenant_id, user_id, event, by_owner=who.owner)
        finally:
            self._cache.forget_user(user_id)

    def _event(self, who: Principal, action: str, user_id: UUID) -> AuditEvent:
        return AuditEvent.of(who, action, names.user(user_id))


def _checked(change: UserChange) -> UserChange:
    return UserChange(
        None if change.display_name is None else checked_display_name(change.display_name, _NAME),
        None if change.email is None else fold_email(change.email, _EMAIL),
        change.role,
        subject=None if change.subject is None else checked_subject(change.subject),
    )


def checked_subject(text: str) -> str:
    """Check the name of a person in documents. The names of users are given by the server alone. Raises InvalidRequest."""
    if (
        len(text.encode(errors="replace")) > MAX_SUBJECT_BYTES
        or not text.isprintable()
        or text.startswith("users/")
    ):
        raise InvalidRequest.of_field(
            "user.subject",
            "user.subject",
            f"must be at most {MAX_SUBJECT_BYTES} bytes of printable text, and must not begin with users/; leave it empty for a user without a subject",
        )
    return text
