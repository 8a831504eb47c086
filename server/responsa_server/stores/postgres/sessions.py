"""The beginning of sessions, within the transactions of the stores: by a password, a provider or a code."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.accounts import MOST_SESSIONS, NewSession, StartedSession
from responsa_server.domain.people import AuditEvent
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import Connection, Queries

_QUERIES: Final = Queries("sessions.sql")
_AUDIT: Final = AuditLog()


async def begin_session(
    connection: Connection,
    user_id: UUID,
    kind: str,
    session: NewSession,
    audit: AuditEvent,
    *,
    key_id: UUID | None = None,
    sign_in_time: datetime | None = None,
    password_time: datetime | None = None,
) -> StartedSession | None:
    """Begin a session of a user of the transaction's tenant, and delete the tenant's expired ones.

    A user has at most `MOST_SESSIONS` sessions: those that were unused for longest end. audit: the event, whose
    resource becomes the session. key_id: the API key that began the session. sign_in_time: None for now. password_time:
    when the checked password was set.

    Returns None, and changes nothing, if the user may not sign in: the user is disabled, deleted or a service, the
    tenant is suspended, or the password is not the checked one any more.
    """
    program = session.connection
    values: dict[str, object] = {
        "id": session.id,
        "kind": kind,
        "token": session.token,
        "tenant_id": audit.tenant_id,
        "user_id": user_id,
        "key_id": key_id,
        "address": session.origin.address,
        "user_agent": session.origin.user_agent,
        "seconds": session.seconds,
        "client_id": None if program is None else program.client_id,
        "client_name": None if program is None else program.display_name,
        "redirect_uri": None if program is None else program.redirect_uri,
        "scopes": None if program is None else list(program.scopes),
        "resource": None if program is None else program.resource,
        "program_id": None if program is None else program.program_id,
        "code_challenge": session.code_challenge,
        "sign_in_time": sign_in_time,
        "password_time": password_time,
        "others": MOST_SESSIONS - 1,
    }
    for check in ("admit", "same_password") if password_time is not None else ("admit",):
        if await (await connection.execute(_QUERIES[check], values)).fetchone() is None:
            return None
    await connection.execute(_QUERIES["drop_ended"], values)
    row = await (await connection.execute(_QUERIES["add"], values)).fetchone()
    assert row is not None
    await connection.execute(_QUERIES["note_sign_in"], values)
    values["id"] = row[0]
    await _AUDIT.write(connection, replace(audit, resource_name=names.session(row[0])))
    for (surplus,) in await (await connection.execute(_QUERIES["drop_surplus"], values)).fetchall():
        ended = replace(audit, action="session.end", resource_name=names.session(surplus))
        await _AUDIT.write(connection, ended)
    return StartedSession(row[1], row[2])
