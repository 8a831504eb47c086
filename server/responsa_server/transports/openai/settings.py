"""The settings of OpenAI's API, under the name `openai`."""

from __future__ import annotations

from pydantic import BaseModel, Field


class OpenAiApiSettings(BaseModel, extra="forbid", frozen=True):
    """OpenAI's API, `/v1`."""

    sources_in_text: bool = Field(
        default=True,
        description=(
            "Whether the text of a chat completion has the marks of its citations, such as [1], and its "
            "sources at the end. Most clients show nothing else."
        ),
    )
