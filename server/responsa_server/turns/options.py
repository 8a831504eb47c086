"""How turns are kept."""

from __future__ import annotations

from dataclasses import dataclass

from responsa_server.turns.pack import MAX_DELTA_BYTES


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """Times in seconds.

    works: whether this process runs turns; without, it accepts and follows alone. sweep: how often turns are looked for that nobody has. poll: how often the log is
    asked for turns that run elsewhere and of which nothing was heard. max_running: turns at once in this process. max_pending: turns that may wait for a
    worker, over all processes; max_queued: in one conversation for each other. max_losses: a turn over which more workers were lost is ended as failed. disconnect:
    after how long a watched turn that nobody follows is cancelled. retention: for how long logs are kept; checkpoint_hours: for how long a turn that nobody runs
    can be gone on with where it stood; both looked after every prune_seconds. merge_bytes: up to which length neighbouring deltas become one while a commit is in
    flight; 0 leaves each as it was told.
    """

    works: bool = True
    lease_seconds: float = 6.0
    sweep_seconds: float = 0.5
    heartbeat_seconds: float = 15.0
    poll_seconds: float = 0.5
    max_running: int = 64
    max_pending: int = 1000
    max_queued: int = 8
    max_losses: int = 5
    disconnect_seconds: float = 10.0
    partition_days_ahead: int = 14
    retention_days: int = 30
    checkpoint_hours: float = 24.0
    prune_seconds: float = 3600.0
    merge_bytes: int = MAX_DELTA_BYTES
