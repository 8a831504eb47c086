"""Refresh tokens with lost replies, racing processes and thieves: nobody is signed out, and every theft is caught.

Each session belongs to a program whose replies may be lost, and whose processes may refresh at the same time, on two servers with one database. In some
sessions, a thief uses a copy of a refresh token, before or after the owner. `make soak CAMPAIGN=refreshes` makes 10,000 refreshes.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import Reason, Unauthenticated
from responsa_server.domain.people import Origin, Principal, Role
from responsa_server.identity.accounts import SignedIn
from responsa_server.identity.credentials import LIFETIME_SECONDS
from responsa_server.identity.service import Credential
from responsa_server.stores.postgres.database import Database
from tests.faults.forms import Form, Report, forms
from tests.instance import PATIENCE
from tests.people import GOOD, People, people_of

AT_ONCE: Final = 8
EACH: Final = 20
"""The refreshes of one session."""
SECOND: Final = 1.0


class Program:
    """A signed-in program. `refresh` makes one refresh, repeats it while replies are lost, and may make it in several processes at once."""

    def __init__(self, servers: tuple[People, People], signed: SignedIn, dice: random.Random) -> None:
        self.servers = servers
        self.signed = signed
        self.used: list[str] = []
        self._dice = dice

    async def refresh(self, report: Report) -> None:
        """Exchange the newest token. Raises Unauthenticated if the program was signed out."""
        request, token = uuid7(), self.signed.refresh_token
        for _ in range(self._dice.choice((0, 0, 1, 2))):
            await self._send(token, request)
            report.count("lost replies")
        racing = self._dice.choice((1, 1, 2, 4))
        replies = await asyncio.gather(*(self._send(token, request) for _ in range(racing)))
        report.count("refreshes")
        report.count("racing calls", racing - 1)
        assert len({(reply.access_token, reply.refresh_token) for reply in replies}) == 1
        self.used.append(token)
        self.signed = replies[0]

    async def _send(self, token: str, request: UUID) -> SignedIn:
        server = self._dice.choice(self.servers)
        return await server.accounts.refresh(token, request)


async def refused(people: People, signed: SignedIn) -> bool:
    try:
        await people.identity.authenticate(Credential("token", signed.access_token))
    except Unauthenticated as error:
        return error.reason is Reason.TOKEN_INVALID
    return False


async def stolen(program: Program, dice: random.Random, report: Report) -> None:
    """A thief copies a token and uses it. Afterwards, whoever comes second ends the session for both, on both servers, within a second."""
    if dice.random() < 0.5:
        # The thief is first: the owner's next refresh is the second use.
        thief = await program.servers[0].accounts.refresh(program.signed.refresh_token, uuid7())
        second = program.signed.refresh_token
    else:
        # The thief has an older token, which the owner has used.
        thief = None
        second = dice.choice(program.used)
    for people in program.servers:
        await people.identity.authenticate(Credential("token", program.signed.access_token))
    with pytest.raises(Unauthenticated):
        await program.servers[1].accounts.refresh(second, uuid7())
    at, within = time.monotonic(), LIFETIME_SECONDS + SECOND if report.form.limits else PATIENCE
    for people in program.servers:
        while not await refused(people, program.signed):
            assert time.monotonic() - at < within, "a stolen session goes on"
            await asyncio.sleep(0.05)
    report.measured("until refused everywhere", time.monotonic() - at)
    for signed in (program.signed, thief):
        if signed is not None:
            with pytest.raises(Unauthenticated):
                await program.servers[0].accounts.refresh(signed.refresh_token, uuid7())
            assert await refused(program.servers[0], signed)
    report.count("thefts caught")


@forms(long=10_000)
async def test_refreshes(form: Form, database: Database, request: pytest.FixtureRequest) -> None:
    report = Report("refreshes", form)
    servers = people_of(database), people_of(database)
    await servers[0].identity.create_tenant("acme", "Acme")
    user = await servers[0].identity.create_user("acme", "Ann", "ann@example.org", Role.USER)
    code, _ = await servers[0].accounts.create_reset_code(
        Principal("acme", user.id, Role.ADMIN, "api_key"), user.id
    )
    await servers[0].accounts.reset_password(code, GOOD)
    sessions = max(1, form.count // EACH)
    gate = asyncio.Semaphore(AT_ONCE)

    async def live(number: int) -> None:
        dice = form.dice(str(number))
        async with gate:
            signed, _ = await servers[0].accounts.login("acme", "ann@example.org", GOOD, Origin())
            program = Program(servers, signed, dice)
            for _ in range(EACH):
                await program.refresh(report)
            await servers[1].identity.authenticate(Credential("token", program.signed.access_token))
            report.count("still signed in")
            if number % 5 == 0:
                await stolen(program, dice, report)

    await asyncio.gather(*(live(number) for number in range(sessions)))
    assert report.counts["still signed in"] == sessions
    assert report.counts["refreshes"] == sessions * EACH
    assert report.counts["thefts caught"] == (sessions + 4) // 5
    report.tell(request)
