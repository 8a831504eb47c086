"""The settings `sources`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field


class SourceSettings(BaseModel, extra="forbid"):
    """The settings for sources: where the declarations of their connections are, and the notifications about their runs."""

    folder: Path | None = Field(
        default=None,
        description=(
            "The folder with the declarations of connections to databases and websites, `NAME.toml`, "
            "and with SQLite files; if empty, `connections` in the data folder. A change applies at "
            "once."
        ),
    )
    webhooks_folder: Path | None = Field(
        default=None,
        description=(
            "The folder with the declarations of webhooks, `NAME.toml`; if empty, `webhooks` in the "
            "data folder. A change applies at once."
        ),
    )
    mails: bool = Field(
        default=True,
        description=(
            "Whether administrators get a mail when a run of a source fails or needs a confirmation. "
            "For each source, at most one mail of each kind is sent in an hour. Mails need the "
            "settings `mail`."
        ),
    )
    success_mails: bool = Field(
        default=False,
        description=(
            "Whether administrators get a mail when runs of a source have succeeded. For each "
            "source, at most one such mail is sent in an hour. Mails need the settings `mail`."
        ),
    )
