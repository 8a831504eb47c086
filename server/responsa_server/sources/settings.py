"""The settings `sources`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field


class SourceSettings(BaseModel, extra="forbid"):
    """The settings for sources: where the declarations of their connections are, and the notifications about their runs."""

    folder: Path | None = Field(
        default=None,
        description=(
            "The folder with the declarations of connections, `NAME.toml`, and with SQLite files. A "
            "change applies at once. Empty: `connections` in the data folder."
        ),
    )
    webhooks_folder: Path | None = Field(
        default=None,
        description=(
            "The folder with the declarations of webhooks, `NAME.toml`. A change applies at once. "
            "Empty: `webhooks` in the data folder."
        ),
    )
    mails: bool = Field(
        default=True,
        description=(
            "Whether administrators get an e-mail when a run of a source fails or needs a confirmation, at "
            "most one of each kind in an hour. Needs `mail`."
        ),
    )
