"""The exit codes of commands."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONNECT = 3
EXIT_CANCELLED = 4
EXIT_EXTRA = 5
"""The extra that the command needs is not installed."""
EXIT_INTERRUPTED = 130
