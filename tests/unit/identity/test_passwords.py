"""Strength, hashes and the bounded pool."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator

import bcrypt
import pytest

from responsa_server.domain.errors import Exhausted, InvalidRequest, Reason
from responsa_server.identity.passwords import MAX_BYTES, Passwords
from tests.people import GOOD


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    found = Passwords(memory_kib=8192, iterations=1)
    yield found
    found.close()


@pytest.mark.parametrize(
    ("password", "rule", "remedy"),
    [
        ("", "password.min_len", "at least 12 characters"),
        ("äöü€äöü€äöü", "password.min_len", "at least 12 characters"),
        ("password1234", "password.strength", "uncommon words"),
        ("aaaaaaaaaaaaaaaaaaaa", "password.strength", "uncommon words"),
        ("qwertyuiopasdfgh", "password.strength", "uncommon words"),
        ("password password", "password.strength", "uncommon words"),
        ("Responsa2026!!", "password.strength", "uncommon words"),
        ("ann.lovelace@example.org", "password.strength", "uncommon words"),
        ("a" * 72 + GOOD, "password.strength", "uncommon words"),
        ("a" * (MAX_BYTES + 1), "password.max_bytes", "at most 256 bytes"),
        ("ä" * (MAX_BYTES // 2 + 1), "password.max_bytes", "at most 256 bytes"),
    ],
)
async def test_a_weak_password_is_refused_with_a_remedy(
    passwords: Passwords, password: str, rule: str, remedy: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await passwords.check("new_password", password, ["ann.lovelace@example.org", "Ann Lovelace"])
    (violation,) = caught.value.violations
    assert (caught.value.reason, violation.field, violation.rule) == (
        Reason.INVALID_FIELD,
        "new_password",
        rule,
    )
    assert remedy in violation.description
    assert password == "" or password not in caught.value.message


@pytest.mark.parametrize(
    "password",
    [GOOD, "kyrgyz teapot orbit", "ünüüü vier Murmeltiere jodeln", "x9#kQ2!vLp0w", "-Q2!v_Lp.0w x9#k"],
)
async def test_no_rule_asks_for_kinds_of_characters(passwords: Passwords, password: str) -> None:
    await passwords.check("password", password)


async def test_the_estimate_is_fast_for_every_length(passwords: Passwords) -> None:
    for text in ("aB3$", "x1y2z3", "p4ssw0rd", "qwertyuiop", "1"):
        begin = time.process_time()
        with pytest.raises(InvalidRequest):
            await passwords.check("password", (text * MAX_BYTES)[:MAX_BYTES])
        assert time.process_time() - begin < 1.0


async def test_only_the_password_itself_is_good(passwords: Passwords) -> None:
    stored = await passwords.hash(GOOD)
    assert stored.startswith("$argon2id$v=19$m=8192,t=1,p=1$")
    assert GOOD not in stored
    assert (await passwords.verify(stored, GOOD)).good
    for other in (GOOD + " ", GOOD.upper(), "", stored):
        assert not (await passwords.verify(stored, other)).good
    assert not (await passwords.verify(None, GOOD)).good
    assert not (await passwords.verify("no hash", GOOD)).good
    # The two ways to write an umlaut are the same password.
    assert (await passwords.verify(await passwords.hash("Murmeltier ü"), "Murmeltier u\u0308")).good


async def test_a_hash_of_bcrypt_is_accepted_and_replaced(passwords: Passwords) -> None:
    stored = bcrypt.hashpw(GOOD.encode(), bcrypt.gensalt(4)).decode()
    assert not (await passwords.verify(stored, "another")).good
    found = await passwords.verify(stored, GOOD)
    assert found.good
    assert found.upgraded is not None
    again = await passwords.verify(found.upgraded, GOOD)
    assert (again.good, again.upgraded) == (True, None)
    # bcrypt ignores what comes after 72 bytes.
    long = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert (await passwords.verify(long, "x" * 100)).good
    for damaged in (stored[:-20], stored[:20]):
        assert not (await passwords.verify(damaged, GOOD)).good


async def test_a_hash_with_other_parameters_is_replaced(passwords: Passwords) -> None:
    dearer = Passwords(memory_kib=9000, iterations=1)
    found = await dearer.verify(await passwords.hash(GOOD), GOOD)
    dearer.close()
    assert found.upgraded is not None
    assert "m=9000" in found.upgraded


async def test_beyond_the_queue_calls_are_refused(passwords: Passwords) -> None:
    small = Passwords(memory_kib=8192, iterations=1, queue=3, threads=1)
    results = await asyncio.gather(*(small.hash(GOOD) for _ in range(8)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Exhausted)]
    assert len(refused) == 5
    assert all(one.reason is Reason.OVERLOADED and one.retry_after == 1.0 for one in refused)
    assert (await small.verify(await small.hash(GOOD), GOOD)).good
    small.close()


async def test_an_unknown_account_costs_the_same_work() -> None:
    """Medians of alternating checks, because the machine is shared. The whole campaign compares the times of sign-ins."""
    passwords = Passwords(threads=1)
    stored = await passwords.hash(GOOD)
    taken: dict[str | None, list[float]] = {stored: [], None: []}
    for _ in range(15):
        for one, times in taken.items():
            begin = time.process_time()
            await passwords.verify(one, "not the password")
            times.append(time.process_time() - begin)
    passwords.close()
    known, unknown = (statistics.median(times) for times in taken.values())
    assert abs(known - unknown) < 0.25 * known
