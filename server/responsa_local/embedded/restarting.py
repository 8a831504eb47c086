"""How `responsa restart` asks a running `responsa up` to replace its servers: over a unix socket, on which `up` says
what it does, one JSON object on each line."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from responsa_local.embedded.errors import EmbeddedError

_SAID: Final = "said"
_FAILED: Final = "failed"
_DONE: Final = "done"
_SLOW_READER: Final = 1.0


class RestartFailed(EmbeddedError):
    """A part could not be replaced. It goes on, and so do all others."""


class Requests:
    """The requests to restart that wait at a socket. Only the user of this process can make them."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen()
        self._listener.setblocking(False)

    def close(self) -> None:
        """Take no further requests."""
        self._listener.close()
        self._path.unlink(missing_ok=True)

    @contextmanager
    def next(self) -> Generator[Callable[[str], None] | None]:
        """The next request, as the function to which the block tells what it does; None if nobody asks. A RestartFailed
        of the block becomes the answer."""
        try:
            asker, _ = self._listener.accept()
        except BlockingIOError:
            yield None
            return
        asker.settimeout(_SLOW_READER)

        def tell(message: Mapping[str, str]) -> None:
            with suppress(OSError):  # the asker has ended; the restart goes on
                asker.sendall(json.dumps(message).encode() + b"\n")

        with closing(asker):
            try:
                yield lambda line: tell({_SAID: line})
            except RestartFailed as error:
                tell({_FAILED: error.message, "remedy": error.remedy})
            else:
                tell({_DONE: ""})


def request_restart(path: Path) -> Generator[str]:
    """Ask for a restart, and yield what is said until it is complete.

    Raises:
        EmbeddedError: no `responsa up` listens, the restart failed, or `up` ended before it was complete.
    """
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as asker:
        try:
            asker.connect(str(path))
        except OSError as error:
            raise EmbeddedError("`responsa up` does not run on this data folder", "start it") from error
        with asker.makefile(encoding="utf-8") as lines:
            for line in lines:
                message = json.loads(line)
                if _SAID in message:
                    yield message[_SAID]
                elif _FAILED in message:
                    raise EmbeddedError(message[_FAILED], message["remedy"])
                else:
                    return
    raise EmbeddedError("`responsa up` exited during the restart", "start it again")
