"""Settings that are numbers within limits."""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field

Number = TypeVar("Number", int, float)


def limit(default: Number, least: Number, largest: Number, description: str) -> Number:
    """A setting: its default, its least and its largest value, and what it is."""
    number: Number = Field(default=default, ge=least, le=largest, description=description)
    return number
