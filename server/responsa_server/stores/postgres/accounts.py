"""Accounts, sessions with refresh tokens, invitations, reset codes, counted attempts and signing keys in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg import errors

from responsa_server.domain import accounts as domain
from responsa_server.domain import names
from responsa_server.domain.accounts import (
    Account,
    Confirmation,
    Invitation,
    NewAccount,
    NewSession,
    NotRefreshed,
    Proof,
    RefreshedToken,
    RegistrationOutcome,
    SealedKey,
    StartedSession,
    UnconfirmedAddress,
)
from responsa_server.domain.errors import NotFound
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import INVITATIONS, SESSIONS, TENANT_SESSIONS
from responsa_server.domain.notifications import Mail, MailKind
from responsa_server.domain.people import AuditEvent, Principal, Role, User
from responsa_server.domain.rows import Row, build
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
    uuid_array,
)
from responsa_server.stores.postgres.groups import join_invited
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.mail import Outbox
from responsa_server.stores.postgres.rows import one_row, to_row
from responsa_server.stores.postgres.sessions import begin_session
from responsa_server.stores.postgres.users import check_ownership, user_of

_SESSIONS: Final[SqlList[Row]] = SqlList(SESSIONS, table="s.")
_TENANT_SESSIONS: Final[SqlList[Row]] = SqlList(TENANT_SESSIONS, {"user": "s.user_id"}, table="s.")
_INVITATIONS: Final[SqlList[Row]] = SqlList(INVITATIONS, table="i.")

_Fetched = tuple[Any, ...]


class _CodeNotGood(Exception):
    """An invitation was used or has expired in the meantime. This error rolls the transaction back."""


class _Refused(Exception):
    """An attempt is one too many. This error rolls its count back. wait: seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__(wait)
        self.wait = wait


class PostgresAccountStore:
    """The store of accounts. Each method runs in one transaction, which also writes the method's audit event. The store
    receives only the SHA-256 digests of secrets, 32 bytes each. All methods raise Unavailable if the store cannot be
    reached. A method that has begun runs to its end even if the caller is cancelled."""

    def __init__(self, database: Database, outbox: Outbox | None = None) -> None:
        """outbox: None if no mails are sent."""
        self._outbox = outbox
        self._mails = Queries("mail.sql")
        self._database = database
        self._queries = Queries("accounts.sql")
        self._shared = Queries("identity.sql")
        self._audit = AuditLog()

    @shielded
    async def count_attempt(
        self, subjects: Sequence[tuple[bytes, int]], window_seconds: float
    ) -> float | None:
        """Count an attempt that is about to be made. subjects: the digest of each name that is counted, and its limit.

        Return None if the attempt may be made; otherwise the number of seconds until it may.
        """
        try:
            async with self._database.no_tenant() as connection:
                wait = 0.0
                # Always in the same order, so that two attempts never wait for each other's row.
                for subject, limit in sorted(subjects):
                    values = {"subject": subject, "limit": limit, "window": window_seconds}
                    row = await self._one(connection, "count_attempt", values)
                    assert row is not None
                    if row[0]:
                        wait = max(wait, row[1])
                if wait:
                    # A refused attempt guesses nothing, so it does not count: else a refused stranger could use up the
                    # attempts of everybody.
                    raise _Refused(wait)
                await connection.execute(self._queries["drop_old_attempts"])
        except _Refused as refused:
            return refused.wait
        return None

    @shielded
    async def ask_for_redirects(self, name: str, uris: Sequence[str], network: bytes) -> None:
        """Show owners of the installation the addresses that a program asked for, with its name. network: a digest of
        its network address."""
        await self._ask("ask_for_redirects", {"name": name, "uris": list(uris), "network": network})

    @shielded
    async def find_allowed_redirects(self, uris: Sequence[str]) -> Sequence[str]:
        """Those of these addresses that owners of the installation have allowed."""
        return await self._ask("allowed_redirects", {"uris": list(uris)})

    async def _ask(self, query: str, values: Mapping[str, object]) -> Any:
        async with self._database.no_tenant() as connection:
            row = await self._one(connection, query, values)
        return row and row[0]

    @shielded
    async def forgive_attempt(self, cleared: bytes, reduced: Sequence[bytes]) -> None:
        """An attempt succeeded: forget the failures of one subject, and uncount this attempt for the others."""
        steps = [(cleared, "clear_attempts"), *((subject, "uncount_attempt") for subject in reduced)]
        async with self._database.no_tenant() as connection:
            for subject, query in sorted(steps):
                await connection.execute(self._queries[query], {"subject": subject})

    @shielded
    async def note_refusal(self, subject: bytes, window_seconds: float, audit: AuditEvent) -> None:
        """Write the event of a refused sign-in, unless the event of this subject was written in the same window, or the
        tenant does not exist."""
        async with self._database.tenant(audit.tenant_id) as connection:
            values = {"subject": subject, "limit": 1, "window": window_seconds, "tenant_id": audit.tenant_id}
            if await self._one(connection, "find_tenant", values) is None:
                return
            counted = await self._one(connection, "count_attempt", values)
            if counted is not None and not counted[0]:
                await self._audit.write(connection, audit)

    @shielded
    async def account(self, tenant_id: str, email: str) -> Account | None:
        """Find the account with this folded address. Disabled users and users with the role service have no account."""
        async with self._database.tenant(tenant_id) as connection:
            values = {"tenant_id": tenant_id, "email": email}
            return _account(await one_row(connection, self._queries["find_account"], values))

    @shielded
    async def account_of(self, tenant_id: str, user_id: UUID) -> Account | None:
        """Find a user's account. Users with the role service have no account."""
        async with self._database.tenant(tenant_id) as connection:
            values = {"tenant_id": tenant_id, "user_id": user_id}
            return _account(await one_row(connection, self._queries["find_account_of"], values))

    @shielded
    async def upgrade_hash(self, tenant_id: str, user_id: UUID, old: str, new: str) -> None:
        """Replace a hash, unless the password was changed in the meantime."""
        values = {"tenant_id": tenant_id, "user_id": user_id, "old": old, "new": new}
        async with self._database.tenant(tenant_id) as connection:
            await connection.execute(self._queries["upgrade_hash"], values)

    @shielded
    async def begin_session(
        self,
        user_id: UUID,
        kind: str,
        session: NewSession,
        audit: AuditEvent,
        password_time: datetime | None = None,
        key_id: UUID | None = None,
    ) -> StartedSession | None:
        """Begin a session in the tenant of the event, and delete the tenant's expired ones. kind: "browser" or
        "tokens". password_time: when the password that the caller has checked was set; None if the sign-in was not by
        password. key_id: the API key that began the session with which a program was connected.

        A user has at most `MOST_SESSIONS` sessions: those that were unused for longest end. Return None, and change
        nothing, if the user is disabled, deleted or a service, if the tenant is suspended, or if the password is not
        the checked one any more.
        """
        values = {"token": session.token, "tenant_id": audit.tenant_id, "session_id": session.id}
        async with self._database.tenant(audit.tenant_id) as connection:
            begun = await begin_session(
                connection, user_id, kind, session, audit, key_id=key_id, password_time=password_time
            )
            if begun is not None and kind == "tokens":
                await connection.execute(self._queries["add_refresh_token"], values)
        return begun

    @shielded
    async def refresh(
        self,
        token: bytes,
        successor: bytes,
        request_id: UUID | None,
        kid: str,
        seconds: float,
        max_seconds: float,
        repeat_seconds: float,
        audit: Callable[[str, UUID, UUID], AuditEvent],
        proof: Proof | None = None,
    ) -> RefreshedToken | NotRefreshed:
        """Exchange a refresh token for its successor, or repeat the exchange, or end the session of a token that was used twice.

        proof: what the program shows whose session it is; None for a user's own session. If it is not what the session
        has, nothing changes.

        seconds: how long the session is then valid. audit: makes the event of a second use from the tenant, the user
        and the session. max_seconds: how long a session may last in all. repeat_seconds: how long the same exchange,
        with the same successor and request_id, may be repeated.
        """
        async with self._database.no_tenant() as connection:
            tenant_id = await self._within_tenant_of(connection, token)
            if tenant_id is None:
                return NotRefreshed()
            values: dict[str, object] = {
                "tenant_id": tenant_id,
                "token": token,
                "successor": successor,
                "request_id": request_id,
                "kid": kid,
                "seconds": seconds,
                "max_seconds": max_seconds,
                "repeat": repeat_seconds,
            }
            # The lock of the session orders all exchanges of its tokens, on all servers.
            session = await one_row(connection, self._queries["lock_session_of"], values)
            if session is None or session["refused"]:
                return NotRefreshed(tenant_id)
            if (wrong := _unproven(session, proof)) is not None:
                return NotRefreshed(tenant_id, wrong=wrong)
            session_id, user_id = session["id"], session["user_id"]
            program = _connection(session)
            values["session_id"] = session_id
            row = await self._one(connection, "find_refresh_token", values)
            assert row is not None, "a session's refresh tokens are deleted with it"
            use_time, first_request, first_successor, first_kid, recent, unused = row
            if use_time is None:
                used = await self._one(connection, "use_refresh_token", values)
                await connection.execute(
                    self._queries["add_refresh_token"],
                    {"token": successor, "tenant_id": tenant_id, "session_id": session_id},
                )
                end = await self._one(connection, "prolong_session", values)
                assert used is not None
                assert end is not None
                return RefreshedToken(tenant_id, user_id, session_id, used[0], end[0], kid, program)
            same = request_id == first_request and successor == bytes(first_successor)
            if same and recent and unused:
                end = await self._one(connection, "session_end", values)
                assert end is not None
                return RefreshedToken(tenant_id, user_id, session_id, use_time, end[0], first_kid, program)
            await connection.execute(self._queries["delete_session"], values)
            await self._audit.write(connection, audit(tenant_id, user_id, session_id))
        return NotRefreshed(tenant_id, session_id)

    @shielded
    async def end_session_of(
        self, token: bytes, audit: Callable[[str, UUID, UUID], AuditEvent]
    ) -> UUID | None:
        """End the session of a refresh token, newest or used. Return None if no session has the token. audit: makes the
        event from the tenant, the user and the session."""
        async with self._database.no_tenant() as connection:
            tenant_id = await self._within_tenant_of(connection, token)
            values = {"tenant_id": tenant_id, "token": token}
            session = None if tenant_id is None else await self._one(connection, "lock_session_of", values)
            if session is None:
                return None
            assert tenant_id is not None, "a session was found, so its tenant is known"
            await connection.execute(self._queries["delete_session"], {**values, "session_id": session[0]})
            await self._audit.write(connection, audit(tenant_id, session[1], session[0]))
        return session[0]

    @shielded
    async def sessions(self, caller: Principal, query: ListQuery) -> Page[Row]:
        """List the user's sessions that have not expired."""
        values = {"tenant_id": caller.tenant_id, "user_id": caller.user_id}
        async with self._database.tenant(caller.tenant_id) as connection:
            statement = self._queries["list_sessions"]
            return await _SESSIONS.read(connection, statement, query, values, _session)

    @shielded
    async def tenant_sessions(self, caller: Principal, query: ListQuery) -> Page[Row]:
        """List the sessions of all users of the caller's tenant that have not expired."""
        values = {"tenant_id": caller.tenant_id}
        async with self._database.tenant(caller.tenant_id) as connection:
            statement = self._queries["list_tenant_sessions"]
            return await _TENANT_SESSIONS.read(connection, statement, query, values, _session)

    @shielded
    async def end_tenant_sessions(
        self,
        caller: Principal,
        wanted: Sequence[UUID],
        user_id: UUID | None,
    ) -> Sequence[UUID]:
        """End sessions of users of the caller's tenant: those in `wanted`, and all of one user. Raises NotPermitted
        (ROLE_REQUIRED) if one of the users is an owner and the caller is not; then no session ends.
        """
        values = {"tenant_id": caller.tenant_id, "wanted": uuid_array(wanted), "user_id": user_id}
        async with self._database.tenant(caller.tenant_id) as connection:
            rows = await (await connection.execute(self._queries["end_tenant_sessions"], values)).fetchall()
            for owner in {owner for _, owner in rows}:
                await check_ownership(connection, caller.tenant_id, owner, by_owner=caller.owner)
            for session_id, owner in rows:
                event = AuditEvent.of_call(caller, names.session(session_id), about=owner)
                await self._audit.write(connection, event)
        return [session_id for session_id, _ in rows]

    @shielded
    async def end_sessions(
        self,
        caller: Principal,
        wanted: Sequence[UUID] | None,
        spared: UUID | None,
        audit: Callable[[UUID], AuditEvent],
    ) -> Sequence[UUID]:
        """End sessions of the user. wanted: their ids; None for all. spared: a session that does not end. audit: makes
        the event of each session that ended."""
        async with self._database.tenant(caller.tenant_id) as connection:
            ended = await self._end_sessions(connection, caller.tenant_id, caller.user_id, wanted, spared)
            for session in ended:
                await self._audit.write(connection, audit(session))
        return ended

    @shielded
    async def signed_in_recently(self, caller: Principal, session_id: UUID, seconds: float) -> bool:
        """Whether the user's session began with a sign-in at most this long ago."""
        values = {
            "tenant_id": caller.tenant_id,
            "user_id": caller.user_id,
            "session_id": session_id,
            "seconds": seconds,
        }
        async with self._database.tenant(caller.tenant_id) as connection:
            return await self._one(connection, "signed_in_recently", values) is not None

    @shielded
    async def set_password(
        self, caller: Principal, old: str | None, new: str, spared: UUID | None
    ) -> Sequence[UUID] | None:
        """Store a hash, and end the user's sessions except one. old: the hash that was checked.

        Return None, and change nothing, if the password has another hash by now.
        """
        values = {"tenant_id": caller.tenant_id, "user_id": caller.user_id}
        async with self._database.tenant(caller.tenant_id) as connection:
            if await self._one(connection, "lock_user", values) is None:
                return None
            row = await self._one(connection, "find_hash", values)
            if (None if row is None else row[0]) != old:
                return None
            event = AuditEvent.of_call(caller, names.user(caller.user_id))
            return await self._put_password(connection, event, caller.user_id, new, spared)

    @shielded
    async def add_invitation(
        self,
        caller: Principal,
        invitation: Invitation,
        invitation_id: UUID,
        code: bytes,
        seconds: float,
        audit: AuditEvent,
    ) -> datetime:
        """Store an invitation that a user makes, delete the tenant's expired ones, and return the time when it expires.
        Raises NotFound for a group that the tenant does not have."""
        values = {
            "id": invitation_id,
            "maker": caller.user_id,
            "tenant_id": invitation.tenant_id,
            "code": code,
            "role": invitation.role.value,
            "email": invitation.email,
            "groups": list(invitation.groups),
            "seconds": seconds,
        }
        async with self._database.tenant(invitation.tenant_id) as connection:
            await connection.execute(self._queries["drop_expired_invitations"], values)
            row = await self._one(connection, "add_invitation", values)
            assert row is not None
            for group_id in invitation.groups:
                if group_id not in row[1]:
                    raise NotFound.of("group", names.group(group_id))
            await self._audit.write(connection, audit)
        return row[0]

    @shielded
    async def invitations(self, tenant_id: str, query: ListQuery) -> Page[Row]:
        """List the tenant's invitations that are neither used nor expired."""
        values = {"tenant_id": tenant_id}
        async with self._database.tenant(tenant_id) as connection:
            statement = self._queries["list_invitations"]
            return await _INVITATIONS.read(connection, statement, query, values, to_row)

    @shielded
    async def revoke_invitation(self, tenant_id: str, invitation_id: UUID, audit: AuditEvent) -> bool:
        """Delete an invitation. audit: becomes an event about the maker of the invitation. Return False if the tenant
        has no such invitation, or it has expired."""
        values = {"tenant_id": tenant_id, "id": invitation_id}
        async with self._database.tenant(tenant_id) as connection:
            row = await self._one(connection, "delete_invitation", values)
            if row is not None:
                await self._audit.write(connection, replace(audit, about=row[0]))
        return row is not None

    @shielded
    async def invitation(self, code: bytes) -> Invitation | None:
        """Find a good invitation."""
        async with self._database.no_tenant() as connection:
            tenant_id = await self._within_tenant_of(connection, code)
            values = {"tenant_id": tenant_id, "code": code}
            row = None if tenant_id is None else await self._one(connection, "find_invitation", values)
        return None if tenant_id is None or row is None else Invitation(tenant_id, Role(row[0]), row[1])

    @shielded
    async def register(
        self, user: User, hash_text: str, code: bytes | None, audit: Callable[[UUID | None], AuditEvent]
    ) -> RegistrationOutcome:
        """Use up the invitation, and store a user with a password unless the e-mail address is taken. audit: returns
        the event of the registration or, given the id of an invitation, the event of an invitation that a taken address
        has used up.
        """
        values = {
            **asdict(user),
            "user_id": user.id,
            "hash": hash_text,
            "code": code,
            "first": False,
        }
        async with self._database.tenant(user.tenant_id) as connection:
            tenant = await connection.execute(self._shared["find_tenant"], values)
            if await tenant.fetchone() is None:
                return RegistrationOutcome.NO_TENANT
            invitation = None
            if code is not None:
                # First, so that of registrations at once with one code, one goes on, whatever their addresses are.
                invitation = await self._one(connection, "use_invitation", values)
                if invitation is None:
                    return RegistrationOutcome.CODE_NOT_GOOD
            added = await connection.execute(self._shared["add_user"], values)
            if await added.fetchone() is not None:
                await connection.execute(self._queries["put_password"], values)
                await self._audit.write(connection, audit(None))
                if invitation is not None:
                    await join_invited(connection, self._audit, user.id, invitation[1], audit(None))
            elif invitation is not None:
                await self._audit.write(connection, audit(invitation[0]))
        return RegistrationOutcome.DONE

    @shielded
    async def await_registration(self, mail: Mail, code: bytes, pending: NewAccount, seconds: float) -> None:
        """Store an account that is made with this code, and the mail that carries the code. Does the same work whether
        or not the address is taken. Does nothing if the tenant does not exist.
        """
        values = {
            "id": mail.id,
            "tenant_id": mail.tenant_id,
            "code": code,
            "email": mail.email,
            "new_user": pending.user.id,
            "display_name": pending.user.display_name,
            "role": pending.user.role.value,
            "hash": pending.hash,
            "invitation": pending.invitation,
            "seconds": seconds,
        }
        async with self._database.tenant(mail.tenant_id) as connection:
            await connection.execute(self._mails["drop_expired_confirmations"], values)
            await connection.execute(self._mails["add_registration"], values)
            await self._sending.put(connection, mail, seconds)

    @shielded
    async def await_email(
        self, caller: Principal, mail: Mail, code: bytes, seconds: float, audit: AuditEvent
    ) -> None:
        """Store a new address of the user, in place of an earlier one that was not confirmed, and the mail that carries the code."""
        values = {
            "id": mail.id,
            "tenant_id": caller.tenant_id,
            "user_id": caller.user_id,
            "code": code,
            "email": mail.email,
            "seconds": seconds,
        }
        async with self._database.tenant(caller.tenant_id) as connection:
            await connection.execute(self._mails["drop_expired_confirmations"], values)
            await connection.execute(self._mails["replace_change"], values)
            await self._sending.put(connection, mail, seconds, caller.user_id)
            await self._audit.write(connection, audit)

    @shielded
    async def put_mail(self, mail: Mail, seconds: float) -> None:
        """Store a mail to send, within this time. Does nothing if the tenant does not exist."""
        async with self._database.tenant(mail.tenant_id) as connection:
            await self._sending.put(connection, mail, seconds)

    @shielded
    async def find_unconfirmed(self, code: bytes) -> UnconfirmedAddress | None:
        """Find the address that waits for this code."""
        async with self._database.no_tenant() as connection:
            tenant_id = await self._within_tenant_of(connection, code)
            if tenant_id is None:
                return None
            values = {"tenant_id": tenant_id, "code": code}
            row = await one_row(connection, self._mails["find_confirmation"], values)
        return None if row is None else UnconfirmedAddress(tenant_id, row["email"], row["hash"])

    @shielded
    async def confirm(self, code: bytes, audit: Callable[[Confirmation], AuditEvent]) -> Confirmation | None:
        """Use up the code of an address: make the account, or change the user's address. Return None, and change
        nothing, if the code is not good, or the address has been taken in the meantime.
        """
        try:
            async with self._database.no_tenant() as connection:
                tenant_id = await self._within_tenant_of(connection, code)
                if tenant_id is None:
                    return None
                values = {"tenant_id": tenant_id, "code": code}
                row = await one_row(connection, self._mails["use_confirmation"], values)
                if row is None:
                    return None
                changes = row["user_id"] is not None
                done = Confirmation(tenant_id, row["user_id"] if changes else row["new_user_id"], changes)
                groups = await (self._move if changes else self._make)(connection, done, row)
                await self._audit.write(connection, audit(done))
                await join_invited(connection, self._audit, done.user_id, groups, audit(done))
        except (_CodeNotGood, errors.UniqueViolation):  # the transaction was rolled back
            return None
        return done

    async def _move(
        self, connection: Connection, done: Confirmation, row: Mapping[str, Any]
    ) -> Sequence[UUID]:
        values = {"tenant_id": done.tenant_id, "user_id": done.user_id, "email": row["email"]}
        before = await one_row(connection, self._mails["change_email"], values)
        if before is None:
            raise _CodeNotGood
        # They were sent to the earlier address.
        await connection.execute(self._queries["drop_reset_codes"], values)
        if self._outbox is not None:
            await self._outbox.notice(
                connection, done.tenant_id, done.user_id, MailKind.EMAIL_CHANGED, str(before["email"])
            )
        return ()

    async def _make(
        self, connection: Connection, done: Confirmation, row: Mapping[str, Any]
    ) -> Sequence[UUID]:
        """Returns the groups of the invitation."""
        values = {
            **row,
            "id": done.user_id,
            "tenant_id": done.tenant_id,
            "user_id": done.user_id,
            "hash": row["password_hash"],
            "code": row["invitation_sha256"],
            "first": False,
        }
        used = (None, ()) if values["code"] is None else await self._one(connection, "use_invitation", values)
        if used is None:
            raise _CodeNotGood
        added = await connection.execute(self._shared["add_user"], values)
        if await added.fetchone() is None:
            raise _CodeNotGood
        await connection.execute(self._queries["put_password"], values)
        return used[1]

    @property
    def _sending(self) -> Outbox:
        assert self._outbox is not None, "mails are requested only if the settings name a mail server"
        return self._outbox

    @shielded
    async def add_reset_code(self, caller: Principal, user_id: UUID, code: bytes, seconds: float) -> datetime:
        """Store a reset code in place of the user's earlier ones, and return the time when it expires. Raises NotFound."""
        values = {"tenant_id": caller.tenant_id, "user_id": user_id, "code": code, "seconds": seconds}
        async with self._database.tenant(caller.tenant_id) as connection:
            if await self._one(connection, "lock_user", values) is None:
                raise NotFound.of("user", names.user(user_id))
            await connection.execute(self._queries["drop_reset_codes"], values)
            row = await self._one(connection, "add_reset_code", values)
            await self._audit.write(connection, AuditEvent.of_call(caller, names.user(user_id)))
        assert row is not None
        return row[0]

    @shielded
    async def reset_account(self, code: bytes) -> Account | None:
        """Find the account of a good reset code. The codes of a disabled user are not good."""
        async with self._database.no_tenant() as connection:
            tenant_id = await self._within_tenant_of(connection, code)
            if tenant_id is None:
                return None
            values = {"tenant_id": tenant_id, "code": code}
            return _account(await one_row(connection, self._queries["find_reset_account"], values))

    @shielded
    async def reset_password(
        self, code: bytes, new: str, audit: Callable[[str, UUID], AuditEvent]
    ) -> Sequence[UUID] | None:
        """Use up a reset code, store a hash and end all sessions of the user. Return None, and change nothing, if the
        code is not good. audit: makes the event from the tenant and the user.
        """
        async with self._database.no_tenant() as connection:
            tenant_id = await self._within_tenant_of(connection, code)
            if tenant_id is None:
                return None
            row = await self._one(connection, "use_reset_code", {"tenant_id": tenant_id, "code": code})
            if row is None:
                return None
            return await self._put_password(connection, audit(tenant_id, row[0]), row[0], new, None)

    @shielded
    async def signing_keys(self) -> Sequence[SealedKey]:
        """Return all keys, newest first."""
        async with self._database.no_tenant_statements() as connection:
            return await self._signing_keys(connection)

    @shielded
    async def add_signing_key(
        self, kid: str, sealed: bytes, older_than_seconds: float
    ) -> Sequence[SealedKey]:
        """Add a key if the newest one is older than this, and return all keys, newest first.

        Of several replicas that call this at once, one adds its key. A key that was replaced more than a day ago is deleted.
        """
        values = {"kid": kid, "sealed": sealed, "older": older_than_seconds}
        async with self._database.no_tenant() as connection:
            await connection.execute(self._queries["lock_signing_keys"])
            await connection.execute(self._queries["add_signing_key"], values)
            await connection.execute(self._queries["drop_replaced_keys"])
            return await self._signing_keys(connection)

    async def _signing_keys(self, connection: Connection) -> Sequence[SealedKey]:
        rows = await (await connection.execute(self._queries["signing_keys"])).fetchall()
        return [SealedKey(kid, bytes(sealed), create_time) for kid, sealed, create_time in rows]

    async def _put_password(
        self, connection: Connection, audit: AuditEvent, user_id: UUID, new: str, spared: UUID | None
    ) -> Sequence[UUID]:
        values = {"tenant_id": audit.tenant_id, "user_id": user_id, "hash": new}
        await connection.execute(self._queries["put_password"], values)
        await connection.execute(self._queries["drop_reset_codes"], values)
        # Whoever asked for another address may have had the old password.
        await connection.execute(self._mails["drop_changes"], values)
        if self._outbox is not None:
            await self._outbox.notice(connection, audit.tenant_id, user_id, MailKind.PASSWORD_CHANGED)
        ended = await self._end_sessions(connection, audit.tenant_id, user_id, None, spared)
        await self._audit.write(connection, audit)
        return ended

    async def _end_sessions(
        self,
        connection: Connection,
        tenant_id: str,
        user_id: UUID,
        wanted: Sequence[UUID] | None,
        spared: UUID | None,
    ) -> Sequence[UUID]:
        values = {
            "tenant_id": tenant_id,
            "user_id": user_id,
            "wanted": None if wanted is None else uuid_array(wanted),
            "kept": spared,
        }
        rows = await (await connection.execute(self._queries["end_sessions"], values)).fetchall()
        return [id_ for (id_,) in rows]

    async def _within_tenant_of(self, connection: Connection, digest: bytes) -> str | None:
        """Find the tenant of a secret. From here on, the transaction sees only that tenant's rows."""
        row = await self._one(connection, "tenant_of_secret", {"digest": digest})
        if row is None or row[0] is None:
            return None
        await connection.execute("SELECT set_config('responsa.tenant_id', %s, true)", (row[0],))
        return str(row[0])

    async def _one(self, connection: Connection, query: str, values: Mapping[str, object]) -> _Fetched | None:
        return await (await connection.execute(self._queries[query], values)).fetchone()


def _connection(row: Mapping[str, Any]) -> domain.Connection | None:
    if row["client_id"] is None:
        return None
    return build(domain.Connection, row, display_name=row["client_name"])


def _session(row: Mapping[str, Any]) -> Row:
    return to_row(row, connection=_connection(row))


def _unproven(session: Mapping[str, Any], proof: Proof | None) -> str | None:
    """What shows that a refresh token, or the code of a program's session, does not come from whom it was given to:
    see `NotRefreshed.wrong`. None if it does."""
    if proof is None or proof.client_id != session["client_id"]:
        return None if proof is None and session["client_id"] is None else ""
    shown = {
        "redirect_uri": proof.redirect_uri,
        "code_challenge": proof.code_challenge,
        "resource": proof.resource,
    }
    return next((name for name, value in shown.items() if value is not None and value != session[name]), None)


def _account(row: Mapping[str, Any] | None) -> Account | None:
    return None if row is None else Account(user_of(row), row["hash"], row["password_time"])
