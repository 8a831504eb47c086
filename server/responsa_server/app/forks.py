"""Keeps OpenTelemetry's SDK away from the children of a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_fork_handlers() -> Generator[None]:
    """What is made in the block registers no handlers for forks.

    The SDK starts its threads again in every fork. uvloop lets a child do this between the fork and the program that
    the child becomes, which kills the child now and then (SIGSEGV). No server goes on as a fork, so it needs no such
    threads.
    """

    def ignore(**_: Callable[[], Any]) -> None:
        pass

    register = os.register_at_fork
    os.register_at_fork = ignore
    try:
        yield
    finally:
        os.register_at_fork = register
