"""What a command says about a call that failed: its sentence, and the process's exit code."""

from __future__ import annotations

from responsa_client.errors import (
    AlreadyExists,
    BrokenAnswer,
    CannotConnect,
    InvalidRequest,
    NotFound,
    NotTrusted,
    ResponsaError,
    Unauthenticated,
    Unavailable,
)
from responsa_server.cli.exits import EXIT_CONNECT, EXIT_FAILED, EXIT_USAGE
from responsa_server.domain.formatting import in_seconds


def exit_code_of(error: ResponsaError) -> int:
    """Return the process's exit code for an error.

    The code is 3 without a connection or a valid credential, 2 for an invalid request, a missing resource or a name
    that is already in use, and 1 for all other errors.
    """
    if isinstance(error, Unauthenticated) or (isinstance(error, Unavailable) and not error.from_server):
        return EXIT_CONNECT
    if isinstance(error, InvalidRequest | NotFound | AlreadyExists):
        return EXIT_USAGE
    return EXIT_FAILED


def sentence_of(error: ResponsaError) -> str:
    """Describe the error for the user in one paragraph: its message, the wrong fields, and the remedy."""
    message = error.message
    soon = "" if error.retry_after is None else f"again in {in_seconds(error.retry_after)}."
    # If the message already ends with the advice to ask or try again, the waiting time is inserted into that advice, and
    # the advice is not repeated.
    advises = message.endswith(("; ask again.", "; try again."))
    text = message.removesuffix("again.") + soon if soon and advises else message
    parts = [text if text.endswith((".", "?", "!")) else f"{text}."]
    parts += [
        f"{violation.field}: {violation.description.rstrip('.')}."
        for violation in error.violations
        # The server cuts long descriptions, and ends them with "…".
        if violation.description.removesuffix("…") not in message
    ]
    known = error.metadata.get("known", "").replace(",", ", ")
    if known and known not in message:
        parts.append(f"Known: {known}.")
    if isinstance(error, Unauthenticated) and error.reason.startswith("CREDENTIAL_"):
        parts.append("Check RESPONSA_API_KEY, or the key's file (RESPONSA_API_KEY_FILE).")
    elif isinstance(error, NotTrusted):
        parts.append(error.remedy)
    elif isinstance(error, CannotConnect) or (
        isinstance(error, Unavailable) and not error.from_server and not error.turn
    ):
        parts.append("Start a server with `responsa up`, or select another server with RESPONSA_URL.")
    elif soon and text == message:
        parts.append(f"Try {soon}")
    if error.turn and not isinstance(error, BrokenAnswer | CannotConnect | InvalidRequest | NotFound):
        parts.append(f"{going_on(error.turn, error.after_seq)} follows it.")
    return " ".join(parts)


def going_on(turn: str, after_seq: int) -> str:
    """Return the command for following a turn, starting after the event with this seq."""
    after = f" --after {after_seq}" if after_seq else ""
    return f"`responsa resume {turn}{after}`"
