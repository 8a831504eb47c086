"""The shape that all list calls share (AIP-158)."""

from __future__ import annotations

from typing import Protocol, TypeVar


class PagedRequest(Protocol):
    """A request for a page of a list."""

    page_token: str


class PagedResponse(Protocol):
    """A page of a list."""

    next_page_token: str


PagedRequestT = TypeVar("PagedRequestT", bound=PagedRequest)
PagedResponseT = TypeVar("PagedResponseT", bound=PagedResponse)
