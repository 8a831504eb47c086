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
    turns: int = Field(
        default=16,
        ge=1,
        le=1000,
        description=(
            "The most turns that one connection follows at a time. Let it be more than "
            "`limits.user.messages_per_minute`, so that somebody who sends too much meets that limit."
        ),
    )
    message_bytes: int = Field(
        default=262_144, ge=1024, le=1_048_576, description="The largest message that is accepted, in bytes."
    )
