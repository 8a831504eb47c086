"""The settings of insight, in the section `insight`."""

from __future__ import annotations

from pydantic import BaseModel, Field


class InsightSettings(BaseModel, extra="forbid"):
    """Insight: what is asked, and how well it is answered."""

    model: str = Field(
        default="",
        description=(
            "The language model that gives titles to patterns of questions, as provider:model. It "
            "reads questions of the tenants that allow texts of questions, and no others. If empty, "
            "patterns have no titles."
        ),
    )
    model_seconds: float = Field(
        default=30.0,
        ge=1,
        le=600,
        description="The maximum time of one call of `model`. After that, it is asked again an hour later.",
    )
