"""The settings of turns, `turns`: how long, how many, how they are kept alive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from responsa_server.domain.events import MAX_DELTA_BYTES


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """What an operator may set. The bounds hold where settings are read; tests make quicker ones directly."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    lease_seconds: Annotated[
        float,
        Field(
            ge=0.5,
            le=300,
            description="How long a worker owns a turn without renewing; then another one takes the turn over and goes on.",
        ),
    ] = 6.0
    sweep_seconds: Annotated[
        float,
        Field(
            ge=0.1,
            le=60,
            description="How often a worker looks for turns that wait for one, or whose lease ran out.",
        ),
    ] = 0.5
    time_limit_seconds: Annotated[
        float,
        Field(
            ge=1,
            le=3600,
            description="The longest a turn may take, from when a worker first took it, before it ends as TURN_TIME_LIMIT.",
        ),
    ] = 60.0
    max_running: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description="Turns that one worker runs at a time; more wait for a worker with room.",
        ),
    ] = 64
    max_pending: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            description="Turns that may wait for a worker, over all replicas; more are refused with OVERLOADED.",
        ),
    ] = 1000
    max_queued: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="Turns that may wait for each other in one conversation (`on_busy` QUEUE); more are refused with QUEUE_FULL.",
        ),
    ] = 8
    max_losses: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            description="How often a turn is taken over from a worker that was lost over it; the next loss ends it as WORKER_LOST.",
        ),
    ] = 5
    history_messages: Annotated[
        int, Field(ge=0, le=100, description="Messages of the conversation that are read as context.")
    ] = 10
    heartbeat_seconds: Annotated[
        float,
        Field(
            ge=1,
            le=30,
            description="How often a silent stream sends an empty frame; clients take 45 seconds of silence for a cut.",
        ),
    ] = 15.0
    disconnect_seconds: Annotated[
        float,
        Field(
            ge=0.1,
            le=300,
            description="How long a turn asked with `cancel_on_disconnect` goes on after its caller left, when nobody follows it.",
        ),
    ] = 10.0
    retention_days: Annotated[
        int,
        Field(
            ge=1,
            le=3650,
            description="How long the events of an ended turn are kept; who resumes it later gets its answer whole.",
        ),
    ] = 30
    checkpoint_hours: Annotated[
        float,
        Field(
            ge=1,
            le=8760,
            description="For how long a turn that no worker runs can be gone on with where it stood; taken over later, it begins anew.",
        ),
    ] = 24.0
    prune_seconds: Annotated[
        float,
        Field(
            ge=1, le=86_400, description="How often a worker removes events and checkpoints that are older."
        ),
    ] = 3600.0
    partition_days_ahead: Annotated[
        int, Field(ge=2, le=90, description="How far ahead partitions of the event log are made.")
    ] = 14


@dataclass(frozen=True, slots=True)
class TurnOptions(TurnSettings):
    """The settings, and what else the turns of one process need to know.

    works: whether this process runs turns; otherwise it accepts and follows them only. poll_seconds: how often the log is asked for turns that run elsewhere and
    were silent. merge_bytes: neighbouring deltas become one of at most this length while a commit is in flight; 0 leaves each as it was.
    """

    works: bool = True
    poll_seconds: float = 0.5
    merge_bytes: int = MAX_DELTA_BYTES
