"""Passwords: the estimate of their strength, and their hashes. All of this work runs in a small pool of threads,
because one hash takes tens of milliseconds of CPU time.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import string
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import argon2
import bcrypt
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn_rs_py import zxcvbn

from responsa_server.domain.errors import Exhausted, InvalidRequest, Reason

Result = TypeVar("Result")

MIN_CHARACTERS: Final = 12
MAX_BYTES: Final = 256
"""The maximum length of a password in bytes of UTF-8. The contract has the same limit."""
# The estimate's time grows faster than the text: 72 characters take at most about 20 ms, 100 characters twice as long.
_ESTIMATED_CHARACTERS: Final = 72
_PRODUCT: Final = "responsa"
_SEPARATORS: Final = str.maketrans("", "", " -_.")
_BCRYPT: Final = ("$2a$", "$2b$", "$2y$")
# bcrypt itself ignores all further bytes.
_BCRYPT_BYTES: Final = 72
_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_RETRY_SECONDS: Final = 1.0
_LEAST_SCORE: Final = 3
"""The least strength of a new password, as zxcvbn estimates it: 0 (guessed at once) to 4."""
_NICE: Final = 5


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of a check. upgraded: the hash to store in place of the given one; None to keep the given one."""

    good: bool
    upgraded: str | None = None


class Passwords:
    """Estimates, hashes and checks passwords (Argon2id, RFC 9106). Accepts hashes of bcrypt, which a check replaces."""

    def __init__(
        self, *, memory_kib: int = 19_456, iterations: int = 2, threads: int = 2, queue: int = 100
    ) -> None:
        """memory_kib, iterations: what one hash of Argon2id costs. threads: how many passwords are hashed or checked at a
        time. queue: how many may be hashed, checked or waiting."""
        self._queue = queue
        self._hasher = argon2.PasswordHasher(
            time_cost=iterations,
            memory_cost=memory_kib,
            parallelism=1,
            hash_len=_HASH_BYTES,
            salt_len=_SALT_BYTES,
            type=argon2.Type.ID,
        )
        self._nobodys = _hash_of_nothing(memory_kib, iterations)
        # The threads yield to the event loop's thread, so that many sign-ins delay no stream.
        self._pool = ThreadPoolExecutor(threads, "passwords", initializer=_be_nice)
        self._pending = 0

    def close(self) -> None:
        """Stop the pool. Work that has not begun is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def check(self, field: str, password: str, known: Sequence[str] = ()) -> None:
        """Refuse a new password that is too short, too long or easy to guess.

        field: the field's path, for the error. known: texts that an attacker would try first, such as the user's name and e-mail address.

        Raises:
            InvalidRequest: the field's violation names the remedy (INVALID_FIELD).
            Exhausted: too many passwords are being processed (OVERLOADED).
        """
        if len(password) < MIN_CHARACTERS:
            raise InvalidRequest.of_field(
                field,
                "password.min_len",
                f"must have at least {MIN_CHARACTERS} characters; several uncommon words are easy to remember",
            )
        if len(password.encode()) > MAX_BYTES:
            raise InvalidRequest.of_field(
                field, "password.max_bytes", f"must have at most {MAX_BYTES} bytes; shorten it"
            )
        advice = await self._run(lambda: self._advice(password, known))
        if advice is not None:
            raise InvalidRequest.of_field(
                field,
                "password.strength",
                f"is too easy to guess; add more uncommon words{advice and f' ({advice})'}",
            )

    async def hash(self, password: str) -> str:
        """Return the hash of a password in PHC's format, with its parameters and salt. Raises Exhausted (OVERLOADED)."""
        return await self._run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, stored: str | None, password: str) -> Verified:
        """Check a password. stored: its hash; None if there is no such account, which takes the same time as a wrong password.

        Raises Exhausted (OVERLOADED).
        """
        return await self._run(lambda: self._verify(self._nobodys if stored is None else stored, password))

    def _advice(self, password: str, known: Sequence[str]) -> str | None:
        """What the estimator says against a weak password, which may be nothing (""). None if the password is good."""
        # Whoever guesses knows the parts of a name, too.
        parts = [part for text in known for part in (text, *text.replace("@", " ").replace(".", " ").split())]
        estimates = [
            zxcvbn(text[:_ESTIMATED_CHARACTERS], [_PRODUCT, *parts[:16]])
            for text in {password, _compact(password)}
        ]
        weakest = min(estimates, key=lambda estimate: int(estimate.score))
        if int(weakest.score) >= _LEAST_SCORE:
            return None
        warning = weakest.feedback.warning if weakest.feedback is not None else None
        return "" if warning is None else str(warning).rstrip(".")

    def _verify(self, stored: str, password: str) -> Verified:
        if stored.startswith(_BCRYPT):
            good = False
            with contextlib.suppress(ValueError):  # a damaged hash
                good = bcrypt.checkpw(password.encode()[:_BCRYPT_BYTES], stored.encode())
            return Verified(good, self._hasher.hash(_normal(password)) if good else None)
        try:
            self._hasher.verify(stored, _normal(password))
        except (VerificationError, InvalidHashError):
            return Verified(good=False)
        old = self._hasher.check_needs_rehash(stored)
        return Verified(good=True, upgraded=self._hasher.hash(_normal(password)) if old else None)

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._pending >= self._queue:
            raise Exhausted(
                Reason.OVERLOADED,
                "The server is checking as many passwords as it can; try again in a moment.",
                {"limit": str(self._queue)},
                retry_after=_RETRY_SECONDS,
            )
        self._pending += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # A caller may leave; its work still occupies the pool until it has ended.
        future.add_done_callback(self._on_end)
        return await asyncio.shield(future)

    def _on_end(self, future: asyncio.Future[Any]) -> None:
        self._pending -= 1
        if not future.cancelled():
            future.exception()  # the caller may have left


def _normal(password: str) -> str:
    """Keyboards write some characters in several ways; all of them are the same password (RFC 8265)."""
    return unicodedata.normalize("NFC", password)


def _compact(password: str) -> str:
    """The password without separators and without punctuation at its ends. zxcvbn gives every sequence of three parts a
    score of 3 at least, so that "password password" passes and "passwordpassword" does not.
    """
    return password.strip(string.punctuation + string.whitespace).translate(_SEPARATORS)


def _hash_of_nothing(memory_kib: int, iterations: int) -> str:
    """Return a hash that no password has: random bytes with the parameters of other hashes, so that a check takes as long."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")
        for size in (_SALT_BYTES, _HASH_BYTES)
    )
    return f"$argon2id$v=19$m={memory_kib},t={iterations},p=1${salt}${digest}"


def _be_nice() -> None:
    # On Linux, this lowers the priority of the calling thread alone.
    with contextlib.suppress(OSError):
        os.nice(_NICE)
