"""The settings of insight, in the section `insight`."""

from __future__ import annotations

from pydantic import BaseModel, Field


class InsightSettings(BaseModel, extra="forbid"):
    """Insight: what is asked, and how well it is answered."""

    model: str = Field(
        default="",
        description=(
            "The model (`provider:model`) that gives titles to patterns of questions. It reads only "
            "questions of tenants that allow it. Empty: no titles."
        ),
    )
