"""What a command says while it waits, and how long it waits. All commands say it here.

This module does not import the client, so that the commands of the server's machine start fast.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from math import ceil
from typing import Annotated, Any, Final

import typer
from typer.main import get_command

from responsa_server.cli.output import print_error
from responsa_server.domain.formatting import in_seconds

TIMEOUT_SECONDS: Final = 30.0
"""How long a command waits by default."""
TIMEOUT_HELP: Final = "How many seconds to wait for a server, or for a part of it that is unavailable."
_SHORTEST_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 86_400.0
_QUIET_SECONDS: Final = 0.9
"""A command that has worked and waited so long for a first answer says so."""
_LEAST_QUIET_SECONDS: Final = 0.4
"""No wait that is shorter is worth a line, however long the command has worked before."""

_seconds: ContextVar[float] = ContextVar("timeout", default=TIMEOUT_SECONDS)


def timeout() -> float:
    """The number of seconds that this command waits."""
    return _seconds.get()


def set_timeout(seconds: float) -> None:
    """Let this command wait so many seconds. Raises ValueError."""
    if not _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS:
        raise ValueError(f"must be {_SHORTEST_SECONDS:g} to {_LONGEST_SECONDS:.0f}")
    _seconds.set(seconds)


def timeout_option() -> Any:
    """The option --timeout, a parameter for any command that waits."""

    def waits(
        timeout: Annotated[
            float,
            typer.Option(
                "--timeout",
                min=_SHORTEST_SECONDS,
                max=_LONGEST_SECONDS,
                metavar="SECONDS",
                help=TIMEOUT_HELP,
                callback=set_timeout,
                expose_value=False,
            ),
        ] = TIMEOUT_SECONDS,
    ) -> None:
        del timeout

    app = typer.Typer(add_completion=False)
    app.command()(waits)
    (option,) = get_command(app).params
    return option


def quiet_seconds(worked: float) -> float:
    """For how many seconds a command waits without a word. worked: the seconds of CPU time that it has used so far,
    nearly all of them for imports: somebody who waits for the first word has waited for these, too."""
    return max(_LEAST_QUIET_SECONDS, _QUIET_SECONDS - worked)


class WaitingLine:
    """Says what a command waits for and until when: once for each wait."""

    def __init__(self, say: Callable[[str], None] = print_error) -> None:
        self._say = say
        self._until = 0.0

    def tell(self, why: str, seconds: float) -> str:
        """Say that the command waits for so many seconds, unless it was said. why: a sentence, of which the part up to a
        semicolon counts. Returns what is said."""
        now, until = datetime.now().astimezone(), time.monotonic() + seconds
        why = why.partition("\n")[0].partition("; ")[0].rstrip(".")
        end = now + timedelta(seconds=seconds)
        sentence = f"{why}. Waiting until {end:%H:%M:%S}, {in_seconds(ceil(seconds))}."
        if abs(until - self._until) > 1.0:
            self._until = until
            self._say(sentence)
        return sentence

    def begin(self, why: str, seconds: float, over: Callable[[], bool] = lambda: False) -> threading.Timer:
        """Say within a second of the command's start, or else soon, that the command waits, if by then the wait is not
        over and nothing was said. The caller may cancel the timer."""
        quiet = quiet_seconds(time.process_time())

        def late() -> None:
            if not over() and not self._until:
                self.tell(why, seconds - quiet)

        timer = threading.Timer(quiet, late)
        timer.daemon = True
        timer.start()
        return timer

    @contextmanager
    def during(self, why: str, seconds: float) -> Generator[None]:
        """A block that waits: see `begin`."""
        timer = self.begin(why, seconds)
        try:
            yield
        finally:
            timer.cancel()
