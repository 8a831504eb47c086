"""The settings of `/ws/chat`, under the name `sockets`."""

from __future__ import annotations

from pydantic import BaseModel, Field


class SocketSettings(BaseModel, extra="forbid", frozen=True):
    """WebSocket, `/ws/chat`."""

    agent: str = Field(
        default="chat",
        pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$",
        description=(
            "The agent for questions that name neither an agent nor a teacher. Empty: the default agent."
        ),
    )
