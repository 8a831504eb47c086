"""The settings of the original paths, under the name `originals`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

_Agent = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$")]


class OriginalSettings(BaseModel, extra="forbid", frozen=True):
    """The original paths. Each agent is for questions that name none; empty: the default agent."""

    question_agent: _Agent = Field(default="personal", description="The agent of `/chat/question`.")
    query_agent: _Agent = Field(default="knowledge", description="The agent of `/agent/query`.")
    process_agent: _Agent = Field(default="cairo", description="The agent of `POST /agents/process`.")
