"""A child process that does for `responsa up` what needs the database, so that the supervisor never loads its modules: it
would keep their 45 MB for as long as Responsa runs."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from typing import Any, NoReturn, ParamSpec, TypeVar

from responsa_local.embedded import EmbeddedError
from responsa_local.embedded.spawn import die_with_parent
from responsa_local.embedded.supervise import STOP_SIGNALS
from responsa_server.system.fixable import Fixable

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Assistant:
    """The process starts with the first call and keeps its modules for the next ones, until `retire`."""

    def __init__(self) -> None:
        self._pipe: Connection | None = None
        self._retired = False

    def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function of a module in the process and return its result. It, the arguments and the result are pickled.

        Raises EmbeddedError with the message of a Fixable, any OSError, and RuntimeError with the stack of another error.
        """
        # A process that waits for a call sends nothing, so a pipe that can be read is one whose process has ended.
        if self._pipe is None or self._pipe.poll():
            self._pipe = _fork()
        try:
            self._pipe.send((function, args, kwargs))
            succeeded, result = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise EmbeddedError("A process that works with the database was killed", "start again") from None
        except BaseException:
            self._close()
            raise
        if self._retired:
            self._close()
        if succeeded:
            return result
        raise result if isinstance(result, Exception) else EmbeddedError(*result)

    def retire(self) -> None:
        """End the process; from now on, each call has a process of its own."""
        self._retired = True
        self._close()

    def _close(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None


def _fork() -> Connection:
    ours, theirs = Pipe()
    if os.fork():
        theirs.close()
        return ours
    try:
        # The parts wait for the end of pipes and locks of the supervisor, so this process must not hold their other ends.
        os.closerange(3, theirs.fileno())
        os.closerange(theirs.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        _serve(theirs)
    finally:
        os._exit(1)


def _serve(pipe: Connection) -> NoReturn:
    die_with_parent(signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    while True:
        try:
            function, args, kwargs = pipe.recv()
        except EOFError:
            os._exit(0)
        pipe.send(_call(function, args, kwargs))


def _call(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[bool, Any]:
    try:
        return True, function(*args, **kwargs)
    except Fixable as error:
        return False, (error.message, error.remedy)
    except OSError as error:
        return False, error
    except Exception:  # the supervisor's log gets the stack
        return False, RuntimeError(traceback.format_exc())
