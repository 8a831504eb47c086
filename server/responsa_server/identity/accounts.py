"""Accounts: sign-in with a password, sessions with tokens, registration, and the reset of passwords."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.accounts import (
    Account,
    Claims,
    Confirmation,
    Connection,
    Invitation,
    NewAccount,
    NewSession,
    NotRefreshed,
    Proof,
    RegistrationOutcome,
    SignInProvider,
    code_invalid,
)
from responsa_server.domain.addresses import network_of
from responsa_server.domain.background import Background
from responsa_server.domain.errors import (
    Exhausted,
    InvalidRequest,
    NotFound,
    NotPermitted,
    Precondition,
    Reason,
    Unauthenticated,
)
from responsa_server.domain.limits import check_attempt
from responsa_server.domain.notifications import Mail, MailKind
from responsa_server.domain.people import (
    ANONYMOUS,
    DEFAULT_TENANT,
    AuditEvent,
    Origin,
    Principal,
    Role,
    User,
    other_user,
    owner_required,
)
from responsa_server.identity.credentials import (
    SecretKind,
    digest,
    new_secret,
    token_invalid,
    well_formed,
)
from responsa_server.identity.mailing import code_of
from responsa_server.identity.passwords import Passwords
from responsa_server.identity.service import (
    Identity,
    check_display_name,
    fold_email,
    new_user,
    require_email,
)
from responsa_server.identity.settings import (
    MailSettings,
    PasswordSettings,
    Registration,
    TokenSettings,
)
from responsa_server.identity.tokens import Tokens
from responsa_server.stores.postgres.accounts import PostgresAccountStore

ATTEMPTS_SECONDS: Final = 900
"""The length of a window in which attempts are counted. It begins with the first failed attempt."""
REPEAT_SECONDS: Final = 60.0
"""How long a refresh whose reply was lost can be repeated with its request_id."""
ADDRESS_REPEAT_SECONDS: Final = 5.0
"""How long a refresh without a request_id can be repeated from its network address."""
RECENT_SECONDS: Final = 600.0
"""The age up to which a sign-in counts as recent."""
CODE_SECONDS: Final = 60.0
"""How long the authorisation code of a program is good."""
INVITATION_SECONDS: Final = 604_800
CONFIRMATION_SECONDS: Final = 86_400.0
_UNKNOWN: Final = Origin()
# This process looks for the account of a refused sign-in at most once in this time.
_NOTE_SECONDS: Final = 60.0
_MOST_NOTED: Final = 8192
_NOTE_DELAY_SECONDS: Final = 1.0
# The maximum number of refusals that a process writes in one delay.
_MOST_WAITING: Final = 64
_CLOSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The tokens of a session. Both times are in UTC. scopes: of a program's session."""

    access_token: str
    access_expire_time: datetime
    refresh_token: str
    refresh_expire_time: datetime
    scopes: Sequence[str] = ()

    def __repr__(self) -> str:
        return "SignedIn(…)"


@dataclass(frozen=True, slots=True)
class AccountOptions:
    """The settings that accounts read. registration: who may register. session_seconds: how long a browser's session is
    valid. providers: all OpenID Connect providers, of whatever tenant. mails_per_account: how many e-mails with codes one
    e-mail address of a tenant may get in ATTEMPTS_SECONDS.
    """

    passwords: PasswordSettings
    tokens: TokenSettings
    mail: MailSettings
    registration: Registration
    session_seconds: float
    providers: Sequence[SignInProvider] = ()
    mails_per_account: int = 5


class Accounts:
    """Signs users in and manages their accounts."""

    def __init__(
        self,
        store: PostgresAccountStore,
        identity: Identity,
        passwords: Passwords,
        tokens: Tokens,
        options: AccountOptions,
    ) -> None:
        self.store = store
        self._identity = identity
        self._passwords = passwords
        self._tokens = tokens
        self._options = options
        self._background = Background()
        self._refused: dict[bytes, float] = {}
        self._notes: list[tuple[str, str, Origin, Reason]] = []
        self._closing = asyncio.Event()

    @property
    def refresh_seconds(self) -> int:
        """How long a session with tokens lasts after its last refresh."""
        return self._options.tokens.refresh_seconds

    def sign_in_methods(self, tenant_id: str) -> tuple[str, Sequence[SignInProvider], Registration, bool]:
        """Return the id of a tenant ("": of the default tenant), its OpenID Connect providers, by their ids, the
        registration in effect, and whether the server sends mails. The tenant need not exist."""
        tenant = self._tenant(tenant_id)
        providers = [provider for provider in self._options.providers if provider.tenant_id == tenant]
        by_id = sorted(providers, key=lambda provider: provider.id)
        return tenant, by_id, self._options.registration, self._options.mail.configured

    async def login(self, tenant_id: str, email: str, password: str, origin: Origin) -> tuple[SignedIn, User]:
        """Begin a session with tokens. tenant_id: the tenant's id or name; "" for the default tenant.

        Raises:
            Unauthenticated: the address or the password is wrong (SIGN_IN_FAILED).
            Exhausted: too many attempts have failed (TOO_MANY_ATTEMPTS), or too many passwords are being checked (OVERLOADED).
        """
        account = await self._check_password(tenant_id, email, password, origin)
        signed = await self.begin_tokens(account.user, origin, account.password_time)
        if signed is None:
            raise _sign_in_error()
        return signed, account.user

    async def begin_tokens(
        self, user: User, origin: Origin, password_time: datetime | None = None
    ) -> SignedIn | None:
        """Begin a session with tokens of a user who has signed in. password_time: see
        `PostgresAccountStore.begin_session`. Returns None if the user may not sign in."""
        refresh, session_id = new_secret(SecretKind.REFRESH_TOKEN), self._identity.new_id()
        settings = self._options.tokens
        seconds = min(settings.refresh_seconds, settings.session_seconds)
        session = NewSession(session_id, digest(refresh), origin, seconds)
        event = AuditEvent.of_origin(
            origin, user.tenant_id, names.user(user.id), "session.create", names.session(session_id)
        )
        begun = await self.store.begin_session(user.id, "tokens", session, event, password_time)
        if begun is None:
            return None
        claims = Claims(user.tenant_id, user.id, session_id)
        access, _, end = await self._tokens.sign(claims, begun.begin_time)
        return SignedIn(access, datetime.fromtimestamp(end, UTC), refresh, begun.expire_time)

    async def login_browser(
        self, tenant_id: str, email: str, password: str, origin: Origin, present: Principal | None = None
    ) -> tuple[str, datetime]:
        """Begin a browser's session. present: the caller whose session the new one may not replace, unless both are the
        same user. Returns the secret of its cookie, and the time when it expires. Raises the errors of `login`, and
        AlreadyExists for another user than `present`.
        """
        account = await self._check_password(tenant_id, email, password, origin)
        if present is not None and account.user.id != present.user_id:
            raise other_user(present)
        begun = await begin_browser_session(
            self.store,
            account.user,
            self._identity.new_id(),
            origin,
            self._options.session_seconds,
            account.password_time,
        )
        if begun is None:
            raise _sign_in_error()
        return begun

    async def begin_connection(
        self, caller: Principal, connection: Connection, code_challenge: str, origin: Origin
    ) -> str:
        """Begin the session of a program that the caller connects. It has the rights of the caller's session, and ends
        within `CODE_SECONDS` unless the returned authorisation code is exchanged, which `refresh` does. Raises
        Unauthenticated if the caller may not sign in any more."""
        code, session_id = new_secret(SecretKind.PROGRAM_CODE), self._identity.new_id()
        session = NewSession(session_id, digest(code), origin, CODE_SECONDS, connection, code_challenge)
        event = AuditEvent.of(caller, "session.connect", names.session(session_id))
        begun = await self.store.begin_session(caller.user_id, "tokens", session, event, key_id=caller.key_id)
        if begun is None:
            raise token_invalid()
        return code

    async def refresh(
        self,
        token: str,
        request_id: UUID | None,
        origin: Origin = _UNKNOWN,
        proof: Proof | None = None,
        kind: SecretKind = SecretKind.REFRESH_TOKEN,
    ) -> SignedIn:
        """Exchange a refresh token for the next tokens, or repeat an exchange whose reply was lost: one with the same
        request_id within `REPEAT_SECONDS`, or one without a request_id from the same network address within
        `ADDRESS_REPEAT_SECONDS`. Raises Unauthenticated (TOKEN_INVALID).

        proof: what a program shows; None for a user's own session. kind: of the token; PROGRAM_CODE is an authorisation
        code, whose exchange cannot be repeated.
        """
        if not well_formed(kind, token):
            raise token_invalid()

        def event(tenant_id: str, user_id: UUID, session_id: UUID) -> AuditEvent:
            return AuditEvent.of_origin(
                origin, tenant_id, names.user(user_id), "session.token_reused", names.session(session_id)
            )

        # Whoever repeats the exchange derives the same successor, and whoever has another request_id or address derives
        # another one. So no reply is stored, and no address.
        network = network_of(origin.address) if request_id is None else ""
        repeat_seconds = ADDRESS_REPEAT_SECONDS if network else REPEAT_SECONDS if request_id else 0.0
        next_kind = SecretKind.REFRESH_TOKEN if proof is None else SecretKind.PROGRAM_TOKEN
        successor = next_kind.value + self._tokens.secret.successor(token, str(request_id or network))
        settings = self._options.tokens
        outcome = await self.store.refresh(
            digest(token),
            digest(successor),
            request_id,
            (await self._tokens.newest()).kid,
            settings.refresh_seconds,
            settings.session_seconds,
            0.0 if kind is SecretKind.PROGRAM_CODE else repeat_seconds,
            event,
            proof,
        )
        if outcome.tenant_id:
            origin.log_tenant(outcome.tenant_id)
        if isinstance(outcome, NotRefreshed):
            if outcome.ended is not None:
                self._identity.forget([outcome.ended])
            if outcome.wrong:
                name = "code_verifier" if outcome.wrong == "code_challenge" else outcome.wrong
                raise Unauthenticated(
                    Reason.TOKEN_INVALID,
                    f"{name} differs from the request for authorisation; send the same value.",
                )
            raise token_invalid()
        claims, scopes = Claims(outcome.tenant_id, outcome.user_id, outcome.session_id), ()
        if (program := outcome.connection) is not None:
            scopes = program.scopes
            claims = replace(claims, resource=program.resource, scopes=frozenset(scopes))
        access, _, end = await self._tokens.sign(claims, outcome.use_time, outcome.kid)
        return SignedIn(access, datetime.fromtimestamp(end, UTC), successor, outcome.expire_time, scopes)

    async def logout(
        self, token: str, origin: Origin = _UNKNOWN, kind: SecretKind = SecretKind.REFRESH_TOKEN
    ) -> None:
        """End the session of a refresh token. kind: REFRESH_TOKEN or PROGRAM_TOKEN. Does nothing if no session has the token."""

        def audit(tenant_id: str, user_id: UUID, session_id: UUID) -> AuditEvent:
            origin.log_tenant(tenant_id)
            return AuditEvent.of_origin(
                origin, tenant_id, names.user(user_id), "session.end", names.session(session_id)
            )

        if well_formed(kind, token):
            ended = await self.store.end_session_of(digest(token), audit)
            self._identity.forget([] if ended is None else [ended])

    async def end_session(self, caller: Principal) -> None:
        """End the session in which the caller makes the call; none if the call is made with an API key."""
        wanted = () if caller.session_id is None else (caller.session_id,)
        ended = await self.store.end_sessions(
            caller, wanted, None, lambda id_: AuditEvent.of(caller, "session.end", names.session(id_))
        )
        self._identity.forget(ended)

    async def close(self) -> None:
        """Write refused sign-ins to the audit log at once, and wait a moment for this."""
        self._closing.set()
        await self._background.drain(_CLOSE_SECONDS)

    async def public_keys(self) -> Sequence[tuple[str, str]]:
        """Return the id and the public key (URL-safe Base64) of each key that verifies tokens, newest first. Raises Unavailable."""
        return await self._tokens.public_keys()

    async def revoke_sessions(self, caller: Principal, wanted: Sequence[UUID], *, all_others: bool) -> int:
        """End sessions of the caller: those in `wanted`, or all but the calling one. Returns the number of sessions that ended."""
        own = caller.session_id if all_others else None
        ended = await self.store.end_sessions(
            caller,
            None if all_others else wanted,
            None if own in wanted else own,
            lambda ended: AuditEvent.of_call(caller, names.session(ended)),
        )
        self._identity.forget(ended)
        return len(ended)

    async def revoke_tenant_sessions(
        self, caller: Principal, wanted: Sequence[UUID], user_id: UUID | None
    ) -> int:
        """End the sessions in `wanted`, and all sessions of the user `user_id` if it is given. Only sessions of the
        caller's tenant are ended. Only administrators may ask for this. Returns the number of sessions that ended.
        Raises NotPermitted (ROLE_REQUIRED) if one of the users is an owner and the caller is not.
        """
        ended = await self.store.end_tenant_sessions(caller, wanted, user_id)
        self._identity.forget(ended)
        return len(ended)

    async def change_password(self, caller: Principal, current: str, new: str, origin: Origin) -> None:
        """Set the caller's password and end the caller's other sessions.

        Raises:
            InvalidRequest: the new password is weak (INVALID_FIELD).
            Unauthenticated: the current password is wrong (SIGN_IN_FAILED).
            NotPermitted: no password is set, and the session did not begin recently (SIGN_IN_REQUIRED).
            Precondition: the user cannot sign in with a password (PASSWORD_NOT_USABLE).
            Exhausted: TOO_MANY_ATTEMPTS, OVERLOADED.
        """
        account = await self.store.account_of(caller.tenant_id, caller.user_id)
        if account is None or not account.user.email:
            raise _not_usable(caller.user_id)
        await self._passwords.check("new_password", new, (account.user.email, account.user.display_name))
        if account.hash is None:
            await self.require_recent_sign_in(caller)
        else:
            async with self._count_attempt(caller.tenant_id, account.user.email, origin):
                if not (await self._passwords.verify(account.hash, current)).good:
                    raise _sign_in_error()
        hash_text = await self._passwords.hash(new)
        ended = await self.store.set_password(caller, account.hash, hash_text, caller.session_id)
        if ended is None:
            raise _sign_in_error()
        self._identity.forget(ended)

    async def require_recent_sign_in(self, caller: Principal) -> None:
        """Check that the caller signed in during the last ten minutes. An API key is not a sign-in. Raises NotPermitted
        (SIGN_IN_REQUIRED)."""
        session_id = caller.session_id
        if session_id is None or not await self.store.signed_in_recently(caller, session_id, RECENT_SECONDS):
            raise NotPermitted(
                Reason.SIGN_IN_REQUIRED,
                (
                    "This call needs a sign-in within the last ten minutes. If your account has a password, sign in "
                    "with it again, for example with `responsa login`. If it has none, run `responsa open` where the server "
                    "runs, and open the link that it prints, or ask an administrator. An API key does not count."
                ),
            )

    async def require_recent_session(self, caller: Principal) -> None:
        """Check that a caller in a session signed in during the last ten minutes; a caller with an API key passes.
        Raises NotPermitted (SIGN_IN_REQUIRED).

        This check is for calls that make a new way to sign in, delete a user or another user's collections and
        documents, or suspend or erase a tenant. An open browser must not be enough for these calls. API keys pass,
        because the holder of an administrator's key can make further keys anyway.
        """
        if caller.session_id is not None:
            await self.require_recent_sign_in(caller)

    async def create_invitation(
        self, caller: Principal, role: Role, email: str, seconds: float, groups: Sequence[UUID] = ()
    ) -> tuple[str, datetime]:
        """Create the code of an invitation. groups: those that the new user joins. Returns the code and the time when it expires.

        Raises InvalidRequest, NotFound for a group, NotPermitted (REGISTRATION_CLOSED).
        """
        if self._options.registration is Registration.CLOSED:
            raise self._shut("Ask the operator to set accounts.registration to invited.")
        code, invitation_id = new_secret(SecretKind.INVITATION), self._identity.new_id()
        audit = AuditEvent.of_call(caller, names.invitation(invitation_id))
        invitation = Invitation(caller.tenant_id, role, fold_email(email), groups)
        return code, await self.store.add_invitation(
            caller, invitation, invitation_id, digest(code), seconds, audit
        )

    async def revoke_invitation(self, caller: Principal, invitation_id: UUID) -> None:
        """End an invitation of the caller's tenant. Only administrators may ask for this. Raises NotFound."""
        name = names.invitation(invitation_id)
        audit = AuditEvent.of_call(caller, name)
        if not await self.store.revoke_invitation(caller.tenant_id, invitation_id, audit):
            raise NotFound.of("invitation", name)

    async def register(
        self,
        tenant_id: str,
        code: str,
        email: str,
        password: str,
        name: str,
        origin: Origin = _UNKNOWN,
    ) -> None:
        """Create an account, or, if mails are sent, ask for the confirmation of its address. A taken address raises no
        error and creates nothing. Without mails, it
        uses up the invitation, as an account does: otherwise one invitation would answer for any number of addresses.

        code: that of an invitation, or "". An invitation that names the address is the administrator's word for it, so no mail is sent.

        Raises:
            InvalidRequest: a field is wrong, or the password is weak (INVALID_FIELD).
            NotPermitted: the settings do not allow it (REGISTRATION_CLOSED).
            Unauthenticated: the invitation is not good (CODE_INVALID).
            Exhausted: OVERLOADED; TOO_MANY_ATTEMPTS if too many mails to the address were asked for.
        """
        invitation = await self._invitation(tenant_id, code)
        if code:
            origin.log_tenant(invitation.tenant_id)
        folded = fold_email(email) or invitation.email
        if not folded or (invitation.email and folded != invitation.email):
            remedy = (
                "must be the address that was invited; to register with another address, ask for an invitation to that address"
                if invitation.email
                else "must be the e-mail address of the new account"
            )
            raise InvalidRequest.of_field("email", "email.required", remedy)
        display = check_display_name(name)
        await self._passwords.check("password", password, (folded, display))
        user = new_user(self._identity.new_id(), invitation.tenant_id, display, folded, invitation.role)
        # The hash is made for a taken address as well, so that the reply takes as long.
        hash_text = await self._passwords.hash(password)
        if self._options.mail.configured and not invitation.email:
            await self._count_mail(MailKind.REGISTER, user.tenant_id, folded, origin)
            mail, digest_of_code = self._new_mail(user.tenant_id, MailKind.REGISTER, folded)
            pending = NewAccount(user, hash_text, digest(code) if code else None)
            await self.store.await_registration(mail, digest_of_code, pending, CONFIRMATION_SECONDS)
            return

        def audit(invitation_id: UUID | None) -> AuditEvent:
            if invitation_id is None:
                return AuditEvent.of_origin(
                    origin, user.tenant_id, names.user(user.id), "user.register", names.user(user.id)
                )
            name, taken = names.invitation(invitation_id), Reason.RESOURCE_ALREADY_EXISTS.value
            return AuditEvent.of_origin(
                origin, user.tenant_id, ANONYMOUS, "user.register", name, outcome=taken
            )

        match await self.store.register(user, hash_text, digest(code) if code else None, audit):
            case RegistrationOutcome.DONE:
                origin.log_tenant(user.tenant_id)
            case RegistrationOutcome.NO_TENANT:
                pass
            case RegistrationOutcome.CODE_NOT_GOOD:
                raise code_invalid()

    async def confirm_email(self, code: str, password: str = "", origin: Origin = _UNKNOWN) -> None:
        """Confirm an address with the code of a mail: make the account, or change the user's address.

        password: that of the registration, or the present one of the user. Without it, somebody could register a
        stranger's address, or ask for it as a new address, and share the account that the stranger then confirms and
        uses.

        Raises:
            InvalidRequest: the password is missing (INVALID_FIELD).
            Unauthenticated: the code is not good (CODE_INVALID), or the password is wrong (SIGN_IN_FAILED).
            Exhausted: TOO_MANY_ATTEMPTS, OVERLOADED.
        """

        def audit(done: Confirmation) -> AuditEvent:
            action = "user.change_email" if done.changes else "user.register"
            return AuditEvent.of_origin(
                origin, done.tenant_id, names.user(done.user_id), action, names.user(done.user_id)
            )

        good = well_formed(SecretKind.CONFIRMATION, code)
        waiting = await self.store.find_unconfirmed(digest(code)) if good else None
        # `change_email` asks every user with an address for a password. A user without either can only confirm with the code.
        if waiting is None or (waiting.hash is None and waiting.email):
            raise code_invalid()
        origin.log_tenant(waiting.tenant_id)
        if waiting.hash is not None:
            if not password:
                raise InvalidRequest.of_field(
                    "password",
                    "password.required",
                    "must be the password of the registration; if you confirm a new address of your account, the password of the account",
                )
            async with self._count_attempt(waiting.tenant_id, waiting.email, origin):
                if not (await self._passwords.verify(waiting.hash, password)).good:
                    raise Unauthenticated(
                        Reason.SIGN_IN_FAILED,
                        (
                            "This is not the password of the registration or of the account. Use the code from the "
                            "latest e-mail, or register again."
                        ),
                    )
        if await self.store.confirm(digest(code), audit) is None:
            raise code_invalid()

    async def request_reset(self, tenant_id: str, email: str, origin: Origin) -> None:
        """Ask for a mail with a reset code. The same work and the same result whether or not the account exists.

        Raises InvalidRequest, Precondition (MAIL_NOT_CONFIGURED), Exhausted (TOO_MANY_ATTEMPTS).
        """
        self._require_mail("Ask an administrator for a reset code.")
        tenant, folded = self._tenant(tenant_id), require_email(email, "email")
        await self._count_mail(MailKind.RESET, tenant, folded, origin)
        mail, _ = self._new_mail(tenant, MailKind.RESET, folded)
        await self.store.put_mail(mail, self._options.passwords.reset_code_seconds)

    async def change_email(self, caller: Principal, email: str, origin: Origin) -> None:
        """Ask for the confirmation of the caller's new address. The address changes when it is confirmed, and only if
        no other user has it then.

        Raises InvalidRequest, Precondition (MAIL_NOT_CONFIGURED, PASSWORD_NOT_USABLE), NotPermitted (SIGN_IN_REQUIRED),
        Exhausted (TOO_MANY_ATTEMPTS).
        """
        folded = require_email(email, "user.email")
        self._require_mail("Ask an administrator to change the address.")
        await self.require_recent_sign_in(caller)
        account = await self.store.account_of(caller.tenant_id, caller.user_id)
        if account is not None and account.user.email and account.hash is None:
            raise Precondition(
                Reason.PASSWORD_NOT_USABLE,
                (
                    "The confirmation of the new address needs your password, but your account has no "
                    "password yet. Set one first, in your profile on the page or with `responsa call "
                    "AuthService.ChangePassword --new-password -`."
                ),
                {"user": names.user(caller.user_id)},
            )
        await self._count_mail(MailKind.CHANGE_EMAIL, caller.tenant_id, folded, origin)
        mail, code = self._new_mail(caller.tenant_id, MailKind.CHANGE_EMAIL, folded)
        audit = AuditEvent.of(caller, "user.request_email", names.user(caller.user_id))
        await self.store.await_email(caller, mail, code, CONFIRMATION_SECONDS, audit)

    def _require_mail(self, remedy: str) -> None:
        if not self._options.mail.configured:
            raise Precondition(
                Reason.MAIL_NOT_CONFIGURED, f"The settings of this server name no mail server. {remedy}"
            )

    def _new_mail(self, tenant_id: str, kind: MailKind, email: str) -> tuple[Mail, bytes]:
        mail = Mail(self._identity.new_id(), tenant_id, kind, email)
        return mail, digest(code_of(self._tokens.secret, kind, mail.id))

    async def _count_mail(self, kind: MailKind, tenant_id: str, email: str, origin: Origin) -> None:
        """Count a mail that somebody asks for. Raises Exhausted, whether or not the account exists."""
        secret = self._tokens.secret
        # Resets count apart: registrations with somebody's address, whose mails let nobody in, must not keep that person from a reset.
        what = "reset mail" if kind is MailKind.RESET else "mail"
        limits = [(secret.name(what, tenant_id, email), self._options.mails_per_account)]
        if network := network_of(origin.address):
            address = secret.name("mail address", network)
            limits.append((address, self._options.passwords.attempts_per_address))
        check_attempt(
            await self.store.count_attempt(limits, ATTEMPTS_SECONDS),
            "Too many e-mails to this address were requested; look for the earlier ones, or try again later.",
        )

    async def create_reset_code(self, caller: Principal, user_id: UUID) -> tuple[str, datetime]:
        """Create a code with which a user of the caller's tenant sets a new password. Returns the code and the time when it expires.

        Raises NotFound, Precondition (PASSWORD_NOT_USABLE), and NotPermitted (ROLE_REQUIRED) for an owner of the
        installation if the caller is not one.
        """
        user = await self._identity.user_of(caller.tenant_id, user_id)
        if user.owner and not caller.owner:
            raise owner_required(
                "This user is an owner of the installation; only owners can create a reset code for an owner."
            )
        if user.role is Role.SERVICE or not user.email:
            raise _not_usable(user_id)
        code = new_secret(SecretKind.RESET_CODE)
        seconds = self._options.passwords.reset_code_seconds
        return code, await self.store.add_reset_code(caller, user_id, digest(code), seconds)

    async def reset_password(self, code: str, new: str, origin: Origin = _UNKNOWN) -> None:
        """Set a password with a reset code, and end all sessions of the user.

        Raises InvalidRequest (INVALID_FIELD), Unauthenticated (CODE_INVALID), Exhausted (OVERLOADED).
        """
        if not well_formed(SecretKind.RESET_CODE, code):
            raise code_invalid()
        account = await self.store.reset_account(digest(code))
        if account is None:
            raise code_invalid()
        origin.log_tenant(account.user.tenant_id)
        await self._passwords.check("new_password", new, (account.user.email, account.user.display_name))
        hash_text = await self._passwords.hash(new)

        def audit(tenant_id: str, user_id: UUID) -> AuditEvent:
            return AuditEvent.of_origin(
                origin, tenant_id, names.user(user_id), "user.reset_password", names.user(user_id)
            )

        ended = await self.store.reset_password(digest(code), hash_text, audit)
        if ended is None:
            raise code_invalid()
        self._identity.forget(ended)

    async def _check_password(self, tenant_id: str, email: str, password: str, origin: Origin) -> Account:
        """Check a password. Returns the account as it was then; the password may have changed since."""
        tenant = self._tenant(tenant_id)
        folded = fold_email(email)
        async with self._note_refused(tenant, folded, origin), self._count_attempt(tenant, folded, origin):
            account = await self.store.account(tenant, folded)
            if account is not None:
                origin.log_tenant(tenant)
            stored = None if account is None else account.hash
            verified = await self._passwords.verify(stored, password)
            if account is None or stored is None or not verified.good:
                raise _sign_in_error()
        if verified.upgraded is not None:
            await self.store.upgrade_hash(tenant, account.user.id, stored, verified.upgraded)
        return account

    @asynccontextmanager
    async def _note_refused(self, tenant_id: str, email: str, origin: Origin) -> AsyncGenerator[None]:
        """Note a sign-in that the block refuses for the audit log. It is written later, so that times do not tell accounts apart."""
        try:
            yield
        except (Unauthenticated, Exhausted) as error:
            if error.reason in (Reason.SIGN_IN_FAILED, Reason.TOO_MANY_ATTEMPTS):
                attempt = self._tokens.secret.name("refused", tenant_id, email, error.reason.value)
                # Whoever tries again and again causes a query only once in a while.
                now = time.monotonic()
                if now - self._refused.get(attempt, float("-inf")) >= _NOTE_SECONDS:
                    if len(self._refused) >= _MOST_NOTED:
                        self._refused.clear()
                    self._refused[attempt] = now
                    if not self._notes:
                        self._background.start(self._write_notes())
                    if len(self._notes) < _MOST_WAITING:
                        self._notes.append((tenant_id, email, origin, error.reason))
            raise

    async def _write_notes(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_NOTE_DELAY_SECONDS):
                await self._closing.wait()
        notes, self._notes = self._notes, []
        for note in notes:
            await self._note(*note)

    async def _note(self, tenant_id: str, email: str, origin: Origin, reason: Reason) -> None:
        """Write a refusal. In each window, an existing account gets one event for each reason, and so do all other
        addresses of the tenant together; therefore strangers cannot fill the log.
        """
        account = await self.store.account(tenant_id, email)
        resource = "" if account is None else names.user(account.user.id)
        audit = AuditEvent.of_origin(
            origin, tenant_id, ANONYMOUS, "session.create", resource, outcome=reason.value
        )
        subject = self._tokens.secret.name("refusals", tenant_id, resource, reason.value)
        await self.store.note_refusal(subject, ATTEMPTS_SECONDS, audit)

    @asynccontextmanager
    async def _count_attempt(self, tenant_id: str, email: str, origin: Origin) -> AsyncGenerator[None]:
        """Count the attempt that the block makes. It is counted before, so that attempts at the same time cannot exceed the limit."""
        settings, secret = self._options.passwords, self._tokens.secret
        account = secret.name("account", tenant_id, email)
        network = network_of(origin.address)
        if network:
            # A stranger at one address cannot keep the owner of the account from signing in at another.
            cleared = secret.name("account at", tenant_id, email, network)
            reduced = [account, secret.name("address", network)]
            limits = [
                (cleared, settings.attempts_per_account),
                (account, max(settings.attempts_per_account, settings.attempts_per_account_everywhere)),
                (reduced[1], settings.attempts_per_address),
            ]
        else:
            cleared, reduced, limits = account, [], [(account, settings.attempts_per_account)]
        check_attempt(
            await self.store.count_attempt(limits, ATTEMPTS_SECONDS),
            "Too many attempts to sign in have failed; try again later.",
        )
        try:
            yield
        except Exhausted:
            # The password was not checked.
            await self.store.forgive_attempt(b"", [cleared, *reduced])
            raise
        await self.store.forgive_attempt(cleared, reduced)

    async def _invitation(self, tenant_id: str, code: str) -> Invitation:
        registration = self._options.registration
        if registration is Registration.CLOSED:
            raise self._shut("Ask an administrator to create your account.")
        if not code:
            if registration is not Registration.OPEN:
                raise self._shut("Ask an administrator for an invitation, and register with its code.")
            return Invitation(self._tenant(tenant_id), Role.USER, "")
        invitation = (
            await self.store.invitation(digest(code)) if well_formed(SecretKind.INVITATION, code) else None
        )
        if invitation is None:
            raise code_invalid()
        return invitation

    def _tenant(self, tenant: str) -> str:
        return tenant.removeprefix("tenants/") or DEFAULT_TENANT

    def _shut(self, remedy: str) -> NotPermitted:
        registration = self._options.registration.value
        return NotPermitted(
            Reason.REGISTRATION_CLOSED,
            f"The settings of this server do not allow this registration. {remedy}",
            {"registration": registration},
        )


async def begin_browser_session(
    store: PostgresAccountStore,
    user: User,
    session_id: UUID,
    origin: Origin,
    seconds: float,
    password_time: datetime | None = None,
) -> tuple[str, datetime] | None:
    """Begin a browser's session. password_time: see `PostgresAccountStore.begin_session`. Returns the secret of its
    cookie, and the time when it expires; None if the user may not sign in.
    """
    token, actor, name = new_secret(SecretKind.SESSION), names.user(user.id), names.session(session_id)
    event = AuditEvent.of_origin(origin, user.tenant_id, actor, "session.create", name)
    session = NewSession(session_id, digest(token), origin, seconds)
    begun = await store.begin_session(user.id, "browser", session, event, password_time)
    return None if begun is None else (token, begun.expire_time)


def _sign_in_error() -> Unauthenticated:
    # The same text for all causes: strangers must not learn which accounts and tenants exist.
    return Unauthenticated(
        Reason.SIGN_IN_FAILED,
        (
            "The e-mail address or the password is wrong, or your account or your tenant is "
            "suspended. Check both, or ask an administrator, for example for a reset code."
        ),
    )


def _not_usable(user_id: UUID) -> Precondition:
    return Precondition(
        Reason.PASSWORD_NOT_USABLE,
        "A service, or a user without an e-mail address, cannot have a password. Use an API key.",
        {"user": names.user(user_id)},
    )
