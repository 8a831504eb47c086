"""The numbers of the advisory locks of the whole database."""

from __future__ import annotations

from enum import IntEnum, unique


@unique
class Lock(IntEnum):
    """Each number is for one purpose. Servers of the release before know these numbers, so none gets another meaning."""

    MIGRATE = 0x7265_7370
    """One process migrates at a time."""
    VECTOR_INDEXES = 0x7265_7371
    """One process builds the indexes of the vectors at a time."""
    JOB_WORKERS = 0x7265_7372
    """Every process with a job worker holds it in shared mode. Worker number N alone also holds the lock `JOB_WORKERS << 32 | N`."""
    LATE_INDEXES = 0x7265_7373
    """One process builds the indexes that migrations leave to the server at a time."""
