"""What other packages let the sandbox compute, and the limits of all that it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from responsa_formats.containers import MIB

Write = Callable[[bytes], None]
"""Passes bytes on to the server at once, so that they arrive even if the process ends right afterwards."""


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """Limits for one document.

    input_bytes: the maximum size of the file. memory_bytes: the maximum growth of the process's address space.
    cpu_seconds: the maximum processor time. wall_seconds: the maximum time from the start of the process to the last byte of its
    result. result_bytes: the maximum size of the encoded result.
    """

    memory_bytes: int
    cpu_seconds: int
    wall_seconds: float
    input_bytes: int = 64 * MIB
    result_bytes: int = 192 * MIB


@dataclass(frozen=True, slots=True)
class Computation:
    """A function that reads bytes of strangers and runs in a process of its own, confined like the parsers of
    documents. It is an attribute of a module, which only the sandbox imports.

    run: reads the bytes and writes its result. Whatever it raises, the process ends. sample: bytes with which it loads
    all modules that it needs.
    """

    run: Callable[[bytes, Write], None]
    sample: bytes
