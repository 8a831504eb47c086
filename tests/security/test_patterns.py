"""No regular expression of the server takes time that grows with the square of a text, because a pattern that
backtracks holds the interpreter's lock and so stops all calls."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

LEAST_PATTERNS = 250
"""Fewer mean that the walk does not find them."""


def slow(*arguments: str, cpu_seconds: int) -> tuple[Sequence[Mapping[str, Any]], int]:
    """The patterns that are too slow, and how many were attacked."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("pattern_attacks.py"), *arguments],
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds)),
    )
    *found, last = map(json.loads, done.stdout.splitlines())
    return found, last["patterns"]


def test_no_pattern_takes_time_that_grows_with_the_square_of_a_text() -> None:
    found, count = slow(cpu_seconds=60)
    assert count >= LEAST_PATTERNS
    assert not found


@pytest.mark.soak
def test_no_pattern_takes_longer_than_50_ms_for_16_kib() -> None:
    found, count = slow("--whole", cpu_seconds=3600)
    assert count >= LEAST_PATTERNS
    assert not found


def test_the_attacks_find_patterns_that_questions_have_stopped_the_server_with() -> None:
    patterns = [
        r"^(?P<lead>(?:\W*[\w'’]+){0,4}?\W*)\b(?P<aux>do|does|is|are)\b",
        r"\s+(?P<first>[^?!.;]{3,200}?),?\s+and\s+then\s+",
        r"\s++x",
    ]
    found, _ = slow(*patterns, cpu_seconds=30)
    assert [one["pattern"] for one in found] == patterns
