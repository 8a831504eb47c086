"""The settings `agents` and `tools`, which say where the files of agents and tools are, and `citations`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, Field

DEFAULT: Final = "default"
"""The id of the agent that answers questions that name no agent, unless the settings name another one."""


class AgentSettings(BaseModel, extra="forbid"):
    """The settings for agents: where their files are, and how agents are chosen and reloaded."""

    folder: Path | None = Field(
        default=None,
        description=(
            "The folder with your own agents, each in a folder with its id; one replaces a shipped "
            "agent with the same id. Empty: `agents` in the data folder."
        ),
    )
    default: str = Field(
        default=DEFAULT,
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="The agent for requests that name no agent.",
    )
    watch: bool = Field(
        default=True,
        description=(
            "Whether agents are reloaded when their files change. If not, run `responsa agents reload`."
        ),
    )


class ToolSettings(BaseModel, extra="forbid"):
    """The settings for tools: where their declarations are."""

    folder: Path | None = Field(
        default=None,
        description=(
            "The folder with the declarations of your tools, `NAME.toml`, which are reloaded with the "
            "agents. Empty: `tools` in the data folder."
        ),
    )


class CitationSettings(BaseModel, extra="forbid"):
    """The settings for checking the citations of answers."""

    judge: str = Field(
        default="",
        description=(
            "The model (`provider:model`) that judges, once for each answer, which sentences their "
            "quotes support, in at most 10 seconds and half of the turn's remaining time. Empty: only "
            "rules decide."
        ),
    )
