"""What several tries at one call have cost together."""

from __future__ import annotations

from responsa_server.domain.ports.models import Spent


def together(before: Spent | None, now: Spent) -> Spent:
    """`now`, with what was spent before it; the model is the one that is asked now."""
    if before is None:
        return now
    return Spent(
        before.usage + now.usage,
        now.model,
        before.cached_input_tokens + now.cached_input_tokens,
        before.cache_write_tokens + now.cache_write_tokens,
    )
