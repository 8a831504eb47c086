"""A campaign of races for codes that work once: sign-in codes, reset codes and invitations, on two servers. Short ones
are in tests/contract/test_identity.py, test_accounts.py and test_mail.py.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Sequence

import pytest

from responsa_server.domain.errors import Reason, Unauthenticated
from responsa_server.domain.people import Role
from responsa_server.stores.postgres.database import Database
from tests.contract.test_accounts import principal, user_of
from tests.people import GOOD, people_of

AT_ONCE = 6


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_each_of_a_thousand_codes_works_once(database: Database) -> None:
    servers = (people_of(database), people_of(database))
    admin = principal(await user_of(servers[0], role=Role.ADMIN))

    def uses(kind: int, code: str, place: int) -> Sequence[Awaitable[object]]:
        both = [servers[number % 2] for number in range(AT_ONCE)]
        if kind == 0:
            return [one.identity.exchange_code(code) for one in both]
        if kind == 1:
            return [one.accounts.reset_password(code, f"{GOOD} {number}") for number, one in enumerate(both)]
        return [
            one.accounts.register("", code, f"p{place}-{number}@example.org", GOOD, "")
            for number, one in enumerate(both)
        ]

    for place in range(int(os.environ.get("RESPONSA_SOAK_COUNT") or 1000)):
        kind, server = place % 3, servers[place % 2]
        if kind == 0:
            code, _ = await server.identity.create_session_code(admin)
        elif kind == 1:
            code, _ = await server.accounts.create_reset_code(admin, admin.user_id)
        else:
            code, _ = await server.accounts.create_invitation(admin, Role.USER, "", 3600)
        results = await asyncio.gather(*uses(kind, code, place), return_exceptions=True)
        lost = [result for result in results if isinstance(result, BaseException)]
        assert len(lost) == AT_ONCE - 1, place
        assert all(isinstance(one, Unauthenticated) for one in lost), lost
        reasons = {one.reason for one in lost if isinstance(one, Unauthenticated)}
        assert reasons == {Reason.SESSION_CODE_INVALID if kind == 0 else Reason.CODE_INVALID}
    for one in servers:
        one.passwords.close()
