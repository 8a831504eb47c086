"""The section `cache` of the settings."""

from __future__ import annotations

from pydantic import BaseModel, Field


class CacheSettings(BaseModel, extra="forbid"):
    """How long entries of each kind are cached. 0 turns a kind off. `docs/install.md` says what each kind costs and saves."""

    vectors_seconds: int = Field(
        default=86_400,
        ge=0,
        le=2_592_000,
        description="The vectors of questions, in the memory of each server.",
    )
    searches_seconds: int = Field(
        default=300,
        ge=0,
        le=3600,
        description="The results of searches, for each reader, in Redis.",
    )
    credentials_seconds: float = Field(
        default=0.8,
        ge=0,
        le=0.8,
        description=(
            "API keys, sessions and tokens, in the memory of each server. Other servers refuse an ended "
            "credential within this time; with 0, at once."
        ),
    )
