"""Opening a client as the settings say."""

from __future__ import annotations

from responsa_client import Responsa
from responsa_client.aio import AsyncResponsa
from responsa_server.cli.failures import EXIT_USAGE, CommandFailed
from responsa_server.cli.settings import client_settings


def open_client(*, timeout: float | None = 60.0) -> Responsa:
    """A client for the server of the settings.

    Raises:
        CommandFailed: a setting cannot be right, or there is no key.
    """
    settings = client_settings()
    key = settings.read_key()
    try:
        return Responsa(settings.server_url, key, timeout)
    except ValueError as error:
        raise _refused(error) from None


def open_async_client(*, timeout: float | None = 60.0) -> AsyncResponsa:
    """The same for asyncio."""
    settings = client_settings()
    key = settings.read_key()
    try:
        return AsyncResponsa(settings.server_url, key, timeout)
    except ValueError as error:
        raise _refused(error) from None


def _refused(error: ValueError) -> CommandFailed:
    return CommandFailed(
        f"{error}".rstrip(".") + ".", "Correct RESPONSA_URL or RESPONSA_API_KEY.", EXIT_USAGE
    )
