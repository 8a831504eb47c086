"""The child process that does for `responsa up` what needs the database."""

from __future__ import annotations

import os
import signal
import sys

import psutil
import pytest

from responsa_local.commands.assistant import Assistant
from responsa_local.embedded import EmbeddedError
from responsa_server.system.fixable import Fixable

# Python 3.12 warns of any fork beside threads, which the test runner has. `responsa up` has none yet.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def refuse(message: str) -> None:
    raise Fixable(message, "wait")


def divide(dividend: int, divisor: int) -> float:
    return dividend / divisor


def tell_modules() -> tuple[int, bool]:
    import wave  # a module that nothing here has loaded

    return os.getpid(), wave.__name__ in sys.modules


def test_the_modules_of_a_call_stay_in_a_process_that_the_next_call_uses() -> None:
    assistant = Assistant()
    first, loaded = assistant.run(tell_modules)
    assert loaded
    assert "wave" not in sys.modules
    assert first != os.getpid()
    assert assistant.run(os.getpid) == first
    assistant.retire()
    assert assistant.run(os.getpid) != first


def test_an_error_says_what_a_person_can_do_or_where_it_was_raised() -> None:
    assistant = Assistant()
    with pytest.raises(EmbeddedError) as told:
        assistant.run(refuse, "The disk sleeps")
    assert (told.value.message, told.value.remedy) == ("The disk sleeps", "wait")
    with pytest.raises(FileNotFoundError):
        assistant.run(os.stat, "/nowhere")
    with pytest.raises(RuntimeError, match=r"in divide[\s\S]*ZeroDivisionError"):
        assistant.run(divide, 1, 0)
    assert assistant.run(divide, 1, 2) == 0.5
    assistant.retire()


def test_a_killed_process_is_replaced_at_the_next_call() -> None:
    assistant = Assistant()
    pid = assistant.run(os.getpid)
    with pytest.raises(EmbeddedError, match="was killed; start again"):
        assistant.run(os.kill, pid, signal.SIGKILL)
    assert assistant.run(os.getpid) != pid
    assistant.retire()


def test_it_holds_no_pipe_of_the_caller_open() -> None:
    """A server waits for the end of a pipe that the supervisor holds."""
    reading, writing = os.pipe()
    assistant = Assistant()
    pid = assistant.run(os.getpid)
    assert len(psutil.Process(pid).open_files()) == 0
    os.close(writing)
    assert os.read(reading, 1) == b""
    os.close(reading)
    assistant.retire()
