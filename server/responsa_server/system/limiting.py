"""Settings that are numbers within limits."""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field

Number = TypeVar("Number", int, float)


def limit(default: Number, lowest: Number, highest: Number, description: str) -> Number:
    """A setting: its default, its lowest and its highest value, and what it is."""
    number: Number = Field(default=default, ge=lowest, le=highest, description=description)
    return number
