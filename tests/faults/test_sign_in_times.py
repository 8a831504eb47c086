"""The times of a failed sign-in, a registration and a request for a reset do not tell whether the account exists, and
sign-ins do not delay the event loop.

`make soak CAMPAIGN=sign_in_times` makes 1,000 calls of each kind, with the limits of attempts lifted.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import psycopg
import pytest

from responsa_server.domain.errors import Reason, Unauthenticated
from responsa_server.domain.people import Origin, Principal, Role
from responsa_server.identity.settings import MailSettings, PasswordSettings, Registration
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.jobs import JobQueue
from tests.conftest import DatabaseUrls
from tests.faults.forms import Form, Report, forms
from tests.people import GOOD, People, people_of

MOST_AUC: Final = 0.55
"""An attacker who looks at times alone is right in at most this share of cases; .5 is a coin."""
MOST_DELAY_SECONDS: Final = 0.05
MAIL: Final = MailSettings(host="127.0.0.1", sender="responsa@example.org")
LIFTED: Final = PasswordSettings(attempts_per_account=10_000, attempts_per_address=1_000_000)


def auc(some: Sequence[float], others: Sequence[float]) -> float:
    """The share of pairs in which the one of `others` is the greater, at least .5. Equal values count half."""
    ranked = sorted(others)
    above = sum(len(ranked) - (bisect_left(ranked, one) + bisect_right(ranked, one)) / 2 for one in some) / (
        len(some) * len(others)
    )
    return max(above, 1 - above)


async def harness(database: Database, queue: JobQueue | None = None) -> People:
    """A process with one account. queue: for a process that sends mails, with open registration."""
    people = people_of(
        database,
        passwords=LIFTED,
        mail=None if queue is None else MAIL,
        waiting=1000,
        mails=1000,
        queue=queue,
        registration=Registration.INVITED if queue is None else Registration.OPEN,
    )
    await people.identity.create_tenant("acme", "Acme")
    user = await people.identity.create_user("acme", "Ann", "ann@example.org", Role.USER)
    code, _ = await people.accounts.create_reset_code(
        Principal("acme", user.id, Role.ADMIN, "api_key"), user.id
    )
    await people.accounts.reset_password(code, GOOD)
    return people


async def failed(people: People, tenant: str, email: str) -> float:
    begin = time.perf_counter()
    with pytest.raises(Unauthenticated) as caught:
        await people.accounts.login(tenant, email, "not the password", Origin("192.0.2.1"))
    assert caught.value.reason is Reason.SIGN_IN_FAILED
    return time.perf_counter() - begin


@forms(long=1000)
async def test_times_do_not_tell_accounts_apart(
    form: Form, database: Database, request: pytest.FixtureRequest
) -> None:
    people, dice = await harness(database), form.dice()
    report = Report("sign_in_times", form)
    kinds = {
        "known": ("acme", "ann@example.org"),
        "unknown": ("acme", "bob@example.org"),
        "no tenant": ("nowhere", "ann@example.org"),
    }
    for _ in range(form.count):
        # In another order each time, so that a load of the machine falls on all kinds alike.
        for kind in dice.sample(sorted(kinds), len(kinds)):
            report.measured(kind, await failed(people, *kinds[kind]))
            report.count("sign-ins")
    aucs = {kind: auc(report.samples["known"], report.samples[kind]) for kind in ("unknown", "no tenant")}
    for kind, value in aucs.items():
        report.count(f"AUC of {kind} in thousandths", round(1000 * value))
    people.passwords.close()
    report.tell(request)
    if form.limits:
        assert max(aucs.values()) <= MOST_AUC, aucs


@forms(long=1000)
async def test_times_of_calls_that_send_mails_do_not_tell_accounts_apart(
    form: Form, database: Database, database_urls: DatabaseUrls, request: pytest.FixtureRequest
) -> None:
    people, dice = await harness(database, JobQueue(database_urls.log, concurrency=1)), form.dice()
    report = Report("mail_times", form)
    accounts, origin = people.accounts, Origin("192.0.2.1")
    calls: dict[str, Callable[[str], Awaitable[None]]] = {
        "reset": lambda email: accounts.request_reset("acme", email, origin),
        "registration": lambda email: accounts.register("acme", "", email, GOOD, "Ann", origin),
    }
    aucs: dict[str, float] = {}
    for what, call in calls.items():
        for _ in range(form.count):
            for who in dice.sample(("known", "unknown"), 2):
                email = "ann@example.org" if who == "known" else "bob@example.org"
                begin = time.perf_counter()
                await call(email)
                report.measured(f"{what} {who}", time.perf_counter() - begin)
                report.count("calls")
            # Both addresses keep below the limit of mails.
            with psycopg.connect(database_urls.superuser) as connection:
                connection.execute("DELETE FROM responsa.sign_in_attempt")
        aucs[what] = auc(report.samples[f"{what} known"], report.samples[f"{what} unknown"])
        report.count(f"AUC of {what} in thousandths", round(1000 * aucs[what]))
    people.passwords.close()
    report.tell(request)
    if form.limits:
        assert max(aucs.values()) <= MOST_AUC, aucs


@forms(long=20)
async def test_fifty_sign_ins_at_once_do_not_hold_the_loop(
    form: Form, database: Database, request: pytest.FixtureRequest
) -> None:
    people = await harness(database)
    report = Report("sign_ins_at_once", form)

    async def watch() -> None:
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(0.005)
            report.measured("delay of the loop", time.perf_counter() - begin - 0.005)

    watching = asyncio.create_task(watch())
    for _ in range(form.count):
        await asyncio.gather(
            *(people.accounts.login("acme", "ann@example.org", GOOD, Origin()) for _ in range(50))
        )
        report.count("sign-ins", 50)
    watching.cancel()
    people.passwords.close()
    report.tell(request)
    if form.limits:
        assert report.quantile("delay of the loop", 0.99) <= MOST_DELAY_SECONDS


def test_the_measure_of_difference() -> None:
    assert auc([1, 2, 3], [1, 2, 3]) == 0.5
    assert auc([1, 1], [2, 2]) == auc([2, 2], [1, 1]) == 1.0
