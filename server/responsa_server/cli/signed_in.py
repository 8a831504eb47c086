"""The session of the command line: its tokens, in a private file of this user, and their refresh.

Several commands may run at once. A lock lets only one of them refresh the tokens. The file holds the request_id of a
refresh before the call, so that a command that is killed in between leaves a refresh that the next command can repeat.

When the server has ended the session, the file stays, without tokens, until `responsa login` or `responsa logout`:
commands must not go on with another credential, such as the administrator's key of this machine, unless the user says
so.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, cast

from responsa.auth.v1 import session_pb2
from responsa_client import Responsa
from responsa_client.errors import Unauthenticated
from responsa_client.requests import new_request_id
from responsa_server.cli.connecting import connect
from responsa_server.cli.output import EXIT_CONNECT, CommandFailed
from responsa_server.system.private_files import write_private

# A token that expires sooner is refreshed before a call, so that it does not expire on the way.
_SPARE_SECONDS: Final = 60.0
_MAX_BYTES: Final = 65_536
_LOGIN: Final = "Sign in with `responsa login`."
_ENDED: Final = "Sign in with `responsa login`, or forget the session with `responsa logout`."


@dataclass(frozen=True, slots=True)
class StoredTokens:
    """The content of the file. access_expires: seconds since 1970. request_id: the id of a refresh that was sent and
    whose reply was not stored yet; "" if all replies were stored.
    refresh_token: "" if the session has ended."""

    access_token: str
    access_expires: float
    refresh_token: str
    request_id: str = ""

    @classmethod
    def of(cls, tokens: session_pb2.SessionTokens) -> StoredTokens:
        return cls(tokens.access_token, tokens.access_expire_time.seconds, tokens.refresh_token)

    def __repr__(self) -> str:
        return "StoredTokens(…)"


class SessionFile:
    """The tokens for one server."""

    def __init__(self, url: str, folder: Path | None = None) -> None:
        """url: the server. folder: the folder of the file; None for the user's folder for state. Raises OSError if this
        user has no home folder."""
        self._url = url
        name = hashlib.sha256(url.encode()).hexdigest()[:16]
        self._folder = folder or state_folder() / "sessions"
        self._file = self._folder / f"{name}.json"

    def exists(self) -> bool:
        """Whether this user is signed in to the server, or the session has ended."""
        return self._file.is_file()

    def access_token(self) -> str:
        """Return an access token that is valid for at least a minute, and refresh it first if needed.

        Raises:
            CommandFailed: this user is not signed in, or the session has ended.
            ResponsaError: the server cannot be reached.
        """
        stored = self._read()
        if (
            stored is not None
            and stored.access_expires - time.time() > _SPARE_SECONDS
            and not stored.request_id
        ):
            return stored.access_token
        with self._lock():
            # Another command may have refreshed the tokens, or signed out, in the meantime.
            stored = self._read()
            if stored is None:
                raise CommandFailed("You are not signed in.", _LOGIN, EXIT_CONNECT)
            if not stored.refresh_token:
                raise _session_ended()
            if stored.access_expires - time.time() > _SPARE_SECONDS and not stored.request_id:
                return stored.access_token
            stored = replace(stored, request_id=stored.request_id or new_request_id())
            self._write(stored)
            try:
                with connect(Responsa, self._url) as client:
                    tokens = client.refresh_tokens(stored.refresh_token, stored.request_id)
            except Unauthenticated:
                self._write(StoredTokens("", 0.0, ""))
                raise _session_ended() from None
            fresh = StoredTokens.of(tokens)
            self._write(fresh)
            return fresh.access_token

    def put(self, tokens: session_pb2.SessionTokens) -> str:
        """Store the tokens of a new session. Returns the refresh token of the session that they replace, or "". Raises OSError."""
        with self._lock():
            earlier = self._read()
            self._write(StoredTokens.of(tokens))
        return "" if earlier is None else earlier.refresh_token

    def take(self) -> str:
        """Remove the tokens. Returns the refresh token, or "" if there was none. Raises OSError."""
        with self._lock():
            earlier = self._read()
            with contextlib.suppress(FileNotFoundError):
                self._file.unlink()
        return "" if earlier is None else earlier.refresh_token

    @contextmanager
    def _lock(self) -> Generator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._file.with_suffix(".lock"), flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> StoredTokens | None:
        try:
            descriptor = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, encoding="utf-8") as file:
                if os.fstat(descriptor).st_uid != os.geteuid():
                    return None
                content = cast("object", json.loads(file.read(_MAX_BYTES)))
            return StoredTokens(**cast("dict[str, str]", content))  # pyright: ignore[reportArgumentType]  # a wrong type fails at its use
        except (OSError, ValueError, TypeError):
            # A damaged file is like a missing one: signing in replaces it.
            return None

    def _write(self, tokens: StoredTokens) -> None:
        write_private(self._file, json.dumps(asdict(tokens)) + "\n")


def _session_ended() -> CommandFailed:
    return CommandFailed("Your session has ended.", _ENDED, EXIT_CONNECT)


def state_folder() -> Path:
    """Return this program's folder in the folder for state of the XDG Base Directory Specification.

    Raises:
        OSError: this user has no home folder.
    """
    chosen = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        folder = chosen if chosen.is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise OSError(str(error)) from None
    return folder / "responsa"
