"""Programs that administrators have registered, so that people can connect them with OAuth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

SEARCH: Final = "search"
ASK: Final = "ask"
RESOURCES: Final[Mapping[str, Sequence[str]]] = {"/mcp": (SEARCH, ASK), "/a2a": (ASK,)}
"""The protected resources (RFC 9728) by their paths, with their scopes."""
