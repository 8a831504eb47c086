"""The settings `sources`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field
from pydantic_settings import NoDecode

from responsa_server.identity.openid_settings import PrivateHosts


def _split(value: object) -> object:
    """Reads paths from an environment variable, in which commas separate them."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


class SourceSettings(BaseModel, extra="forbid"):
    """The settings for sources: where the declarations of their connections are, which folders may be connected, and
    the notifications about their runs."""

    folder: Path | None = Field(
        default=None,
        description=(
            "The folder with the declarations of connections, `NAME.toml`, and with SQLite files. A "
            "change applies at once. Empty: `connections` in the data folder."
        ),
    )
    paths: Annotated[tuple[Path, ...] | None, NoDecode, BeforeValidator(_split)] = Field(
        default=None,
        description=(
            "The folders of the server below which administrators may connect folders, such as "
            "`/srv/files/{tenant}`; `{tenant}` stands for the id of the administrator's tenant. Unset: the home "
            "folder of the server's user, for owners of the installation alone, while only this machine can reach "
            "the server; otherwise none."
        ),
    )
    allow_private: PrivateHosts = Field(
        default=(),
        description=(
            "Hosts and networks, such as `cloud.intranet.example` or `10.1.0.0/16`, separated by spaces, whose folders "
            "administrators may connect, beside those at public addresses."
        ),
    )
    files: int = Field(
        default=10_000,
        ge=1,
        le=100_000,
        description=(
            "The maximum number of files of a connected folder. A run of a source makes at most 10 requests, and its "
            "listings have at most 20 entries, for each of them."
        ),
    )
    run_seconds: float = Field(
        default=21_600.0,
        gt=0,
        le=604_800,
        description=(
            "The maximum number of seconds for which a run of a source reads. The time in which it waits for those of "
            "other tenants does not count."
        ),
    )
    run_bytes: int = Field(
        default=4 << 30,
        ge=1,
        le=1 << 40,
        description="The maximum number of bytes that a run of a source lists and stores for new documents until it has read all.",
    )
