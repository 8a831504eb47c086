"""The settings of agents' files, `agents`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field


class AgentSettings(BaseModel, extra="forbid"):
    """Agents: where their files are."""

    folder: Path | None = Field(
        default=None,
        description="The folder of your own agents, each in a folder named by its id; empty: `agents` in the data folder. An agent with the id of a shipped agent replaces it.",
    )
    default: str = Field(
        default="default",
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="The agent that answers requests that name no agent.",
    )
    watch: bool = Field(
        default=True,
        description="Whether the server reloads agents when their files change; otherwise run `responsa agents reload`.",
    )
