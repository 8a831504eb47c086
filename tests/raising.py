"""What a test expects to fail."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import pytest

Error = TypeVar("Error", bound=BaseException)


async def raises(
    kind: type[Error] | tuple[type[Error], ...], work: Awaitable[object], match: str | None = None
) -> Error:
    """The error of this kind that the work raises. match: a pattern that stands in the error's text."""
    with pytest.raises(kind, match=match) as caught:
        await work
    return caught.value
