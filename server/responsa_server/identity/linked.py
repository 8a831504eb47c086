"""The identities at OpenID Connect providers with which a user signs in."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.accounts import SignInProvider
from responsa_server.domain.errors import NotFound
from responsa_server.domain.openid import LinkedIdentity
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.identity.accounts import Accounts
from responsa_server.identity.service import Identity
from responsa_server.stores.postgres.openid import PostgresOpenIdStore


class LinkedIdentities:
    """Lists and unlinks the caller's identities."""

    def __init__(
        self,
        store: PostgresOpenIdStore,
        accounts: Accounts,
        identity: Identity,
        providers: Sequence[SignInProvider] = (),
    ) -> None:
        """providers: the OpenID Connect providers of the settings, of whatever tenant."""
        self._store = store
        self._accounts = accounts
        self._identity = identity
        self._providers = providers

    async def list(self, who: Principal) -> Sequence[tuple[LinkedIdentity, SignInProvider | None]]:
        """Return the caller's identities, oldest first, each with its provider; None if the settings have it no longer."""
        providers = {one.issuer: one for one in reversed(self._of(who))}
        return [(identity, providers.get(identity.issuer)) for identity in await self._store.identities(who)]

    async def unlink(self, who: Principal, identity_id: UUID) -> None:
        """Take an identity from the caller. Raises NotFound, NotPermitted (SIGN_IN_REQUIRED), Precondition (LAST_SIGN_IN)."""
        await self._accounts.require_recent_sign_in(who)
        name = names.user(who.user_id)
        audit = AuditEvent.of(who, "user.unlink", name)
        issuers = {one.issuer for one in self._of(who)}
        if not await self._store.unlink(who, identity_id, sorted(issuers), audit):
            raise NotFound.of("identity", names.external_identity(identity_id))

    def _of(self, who: Principal) -> Sequence[SignInProvider]:
        return [provider for provider in self._providers if provider.tenant_id == who.tenant_id]
