"""What other packages let the sandbox compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Write = Callable[[bytes], None]
"""Passes bytes on to the server at once, so that they arrive even if the process ends right afterwards."""


@dataclass(frozen=True, slots=True)
class Computation:
    """A function that reads bytes of strangers and runs in a process of its own, confined like the parsers of
    documents. It is an attribute of a module, which only the sandbox imports.

    run: reads the bytes and writes its result. Whatever it raises, the process ends. sample: bytes with which it loads
    all modules that it needs.
    """

    run: Callable[[bytes, Write], None]
    sample: bytes
