"""The settings of agents' files, `agents`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field


class AgentSettings(BaseModel, extra="forbid"):
    """Agents: where their files are."""

    folder: Path | None = Field(
        default=None,
        description="Folder of your own agents, each in a folder that is named by its id; empty means `agents` in the data folder. One of the same id as a shipped agent takes its place.",
    )
    default: str = Field(
        default="default",
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="The agent that answers who names none.",
    )
    watch: bool = Field(
        default=True,
        description="Whether a change of their files is taken up at once; else `responsa agents reload` does.",
    )
