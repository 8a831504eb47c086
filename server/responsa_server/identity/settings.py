"""The settings of browser sessions, `sessions`, and of the audit log, `audit`."""

from __future__ import annotations

from pydantic import BaseModel, Field


class SessionSettings(BaseModel, extra="forbid"):
    """Browser sessions."""

    code_seconds: int = Field(
        default=600, ge=30, le=3600, description="How long a single-use session code is valid."
    )
    session_seconds: int = Field(
        default=43_200, ge=300, le=2_592_000, description="How long a browser session is valid."
    )
    secure_cookie: bool = Field(
        default=False,
        description="Whether browsers send the session cookie only over TLS. Turn this on if users reach the server over TLS.",
    )


class AuditSettings(BaseModel, extra="forbid"):
    """The audit log."""

    retention_days: int = Field(
        default=400, ge=30, le=36_500, description="How long the events of the audit log are stored."
    )
