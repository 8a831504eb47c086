"""The section `cache` of the settings."""

from __future__ import annotations

from pydantic import BaseModel, Field

from responsa_server.system.limiting import limit


class CacheSettings(BaseModel, extra="forbid"):
    """How long entries of each kind are cached. 0 turns a kind off. `docs/install.md` says what each kind costs and saves."""

    vectors_seconds: int = limit(
        86_400, 0, 2_592_000, "The vectors of questions, in the memory of each server."
    )
    searches_seconds: int = limit(300, 0, 3600, "The results of searches, for each reader, in Redis.")
    credentials_seconds: float = Field(
        default=0.8,
        ge=0,
        le=0.8,
        description=(
            "API keys, sessions and tokens, in the memory of each server. Other servers refuse one that has "
            "ended within this time; with 0, at once."
        ),
    )
