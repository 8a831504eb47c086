"""A pytest plugin that lets an interrupted run stop its instances and remove their files.

pytest-xdist would kill its workers 10 seconds after an interruption, and a second SIGINT, which execnet sends to each
worker after 5 seconds, would end the worker's teardown. A worker now has at least 10 seconds for its teardown; then
execnet ends it, and the kernel ends what it started (tests/tied.py).
"""

from __future__ import annotations

import os
import signal

import pytest
from xdist.workermanage import NodeManager

SECONDS = 30
"""So long the workers have to end. execnet ends them earlier, 15 seconds after the interruption."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Have the workers killed later."""
    pytest.MonkeyPatch().setattr(NodeManager, "EXIT_TIMEOUT", SECONDS)


@pytest.hookimpl(tryfirst=True)
def pytest_keyboard_interrupt() -> None:
    """Ignore a second SIGINT in a worker."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
