"""Checking texts that come from the command line."""

from __future__ import annotations

from responsa_server.cli.failures import EXIT_USAGE, CommandFailed


def valid_text(text: str, what: str) -> str:
    """The text itself. Bytes of an argument that are not UTF-8 arrive as lone surrogates, which no request can carry.

    Raises:
        CommandFailed: it holds such; `what` names it, e.g. "The question".
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CommandFailed(f"{what} is not valid UTF-8.", "Send it as UTF-8 text.", EXIT_USAGE) from None
    return text
