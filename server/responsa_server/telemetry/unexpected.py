"""Counts unexpected errors, in the groups that GetSystemStatus returns and in the metrics."""

from __future__ import annotations

from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.telemetry import instruments


def note(errors: UnexpectedErrors, error: BaseException, identity: str) -> None:
    """Count an error. identity: see `UnexpectedErrors.add`."""
    group = errors.add(error, identity)
    instruments.ERRORS.add(1, group.error, group.place)
