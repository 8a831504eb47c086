"""The clients of commands: they try again until the time of the command is over, and say what they wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from responsa_client import Backoff, Responsa
from responsa_client.aio import AsyncResponsa
from responsa_client.notices import Notice, Reconnecting
from responsa_client.retries import LIMITS
from responsa_client.stubs import credentials
from responsa_server.cli.output import EXIT_USAGE, CommandFailed
from responsa_server.cli.waiting import WaitingLine, timeout

_SHORT_SECONDS: Final = 0.5
"""Interruptions that are over sooner are not worth a line."""
_MANY: Final = 1_000_000
_Client = TypeVar("_Client", Responsa, AsyncResponsa)


class ClientLine(WaitingLine):
    """The line of a client."""

    def __call__(self, notice: Notice) -> None:
        self.notice(notice)

    def notice(self, notice: Notice) -> str:
        """Say that a call failed and is made again. Returns the sentence, also if it was said before; "" for an
        interruption that is over at once."""
        match notice:
            case Reconnecting(cause=cause) if cause is not None and cause.reason in LIMITS:
                return self.tell(cause.message, notice.seconds)
            case Reconnecting(cause=cause) if (
                cause is not None and notice.failing_seconds + notice.seconds >= _SHORT_SECONDS
            ):
                return self.tell(cause.message, notice.left_seconds)
            case _:
                return ""


def connect(
    make: type[_Client], url: str, credential: str | Callable[[], str] = "", least_seconds: float = 0.0
) -> _Client:
    """Return a client. credential: as the client takes it; "" for public calls. least_seconds: for how long the first
    call waits at least for a server that is silent.

    Raises:
        CommandFailed: the URL or the key is not valid.
    """
    line, seconds, began = ClientLine(), timeout(), False

    def token() -> str:  # the client asks for it before each call
        nonlocal began
        secret = credential() if callable(credential) else credential
        if not began:
            began = True
            silent = f"{client.url} has not answered yet"
            line.begin(silent, max(seconds, least_seconds), lambda: client.reached)
        return secret

    try:
        if not callable(credential):
            credentials(credential)  # raises if the key cannot be sent
        # Time alone limits the tries.
        client = make(url, token, seconds, backoff=lambda: Backoff(_MANY), patience=seconds, on_notice=line)
    except ValueError as error:
        raise CommandFailed(
            f"{error}".rstrip(".") + ".", "Correct RESPONSA_URL or RESPONSA_API_KEY.", EXIT_USAGE
        ) from None
    return client
