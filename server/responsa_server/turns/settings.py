"""The settings of turns, under the name `turns`: times, limits and leases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from responsa_server.domain.agents import HISTORY_MESSAGES, TIME_LIMIT_SECONDS
from responsa_server.domain.events import MAX_DELTA_BYTES
from responsa_server.domain.turns import ALONE_AFTER_LOSSES


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """The settings that an operator may change. The bounds are checked when settings are read. Tests create settings
    directly, so that they can use shorter times."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    lease_seconds: Annotated[
        float,
        Field(
            ge=0.5,
            le=300,
            description="How long a worker keeps a turn without renewing its lease; after that, another worker takes the turn over.",
        ),
    ] = 6.0
    sweep_seconds: Annotated[
        float,
        Field(
            ge=0.1,
            le=60,
            description=(
                "How often a worker looks for turns that wait for a worker or whose lease has expired. "
                "It is told of most of them at once; without Redis, it looks every quarter of a second."
            ),
        ),
    ] = 2.0
    time_limit_seconds: Annotated[
        float,
        Field(
            ge=1,
            le=3600,
            description="The maximum time from the first claim of a turn to its end; after that, the turn fails with TURN_TIME_LIMIT.",
        ),
    ] = TIME_LIMIT_SECONDS
    max_running: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description=(
                "The maximum number of turns with a language model that one worker runs at a time; "
                "further turns wait for a worker with room."
            ),
        ),
    ] = 64
    max_pending: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            description=(
                "The maximum number of turns, over all replicas, that may wait for a worker; further "
                "turns are refused with OVERLOADED."
            ),
        ),
    ] = 1000
    answer_seconds: Annotated[
        float,
        Field(
            ge=0.1,
            le=600,
            description=(
                "A server has at most as many questions to agents without a language model as it answers "
                "in this time, by the rate that it measures; further ones are refused with OVERLOADED."
            ),
        ),
    ] = 1.5
    max_queued: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description=(
                "The maximum number of turns that may wait in one conversation (`on_busy` QUEUE); "
                "further turns are refused with QUEUE_FULL."
            ),
        ),
    ] = 8
    max_losses: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            description=(
                "How many times in succession, without a new checkpoint, a turn may lose its worker and "
                "be taken over; the next loss fails the turn with WORKER_LOST."
            ),
        ),
    ] = 5
    alone_after_losses: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description=(
                "After how many such losses a turn runs alone in its process, because it may be the "
                "cause; if it loses its worker while it runs alone, it fails with WORKER_LOST."
            ),
        ),
    ] = ALONE_AFTER_LOSSES
    history_messages: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            description="The number of earlier messages of the conversation that an agent reads.",
        ),
    ] = HISTORY_MESSAGES
    heartbeat_seconds: Annotated[
        float,
        Field(
            ge=1,
            le=30,
            description=(
                "How often a silent stream sends an empty frame; after 45 seconds of silence, clients "
                "treat the connection as lost."
            ),
        ),
    ] = 15.0
    disconnect_seconds: Annotated[
        float,
        Field(
            ge=0.1,
            le=300,
            description="How long a turn with `cancel_on_disconnect` continues after the last client has stopped following it.",
        ),
    ] = 10.0
    retention_days: Annotated[
        int,
        Field(
            ge=1,
            le=3650,
            description="How long the events of an ended turn are stored; after that, resuming the turn returns only the whole answer.",
        ),
    ] = 30
    conversation_days: Annotated[
        int,
        Field(
            ge=0,
            le=36_500,
            description=(
                "After how many days without a change a conversation is deleted with everything in it, also a pinned or "
                "archived one; 0 keeps all."
            ),
        ),
    ] = 0
    checkpoint_hours: Annotated[
        float,
        Field(
            ge=1,
            le=8760,
            description=(
                "How long the checkpoint of a turn without a worker is stored; a worker that takes the "
                "turn over later starts it from the beginning."
            ),
        ),
    ] = 24.0
    prune_seconds: Annotated[
        float,
        Field(
            ge=1, le=86_400, description="How often a worker deletes events and checkpoints that are too old."
        ),
    ] = 3600.0
    partition_days_ahead: Annotated[
        int,
        Field(
            ge=2,
            le=90,
            description="How many days in advance the partitions of the event log are created.",
        ),
    ] = 14
    share_days: Annotated[
        int,
        Field(
            ge=1,
            le=3650,
            description="After how many days a shared answer's link ends, if its user does not choose a time.",
        ),
    ] = 30
    max_share_days: Annotated[
        int,
        Field(ge=1, le=3650, description="The maximum number of days for which users can share an answer."),
    ] = 365


@dataclass(frozen=True, slots=True)
class TurnOptions(TurnSettings):
    """The settings, and the other options for the turns of one process.

    works: whether this process runs turns; otherwise it only accepts and follows them. poll_seconds: how
    often, in seconds, the log is read for silent turns that run elsewhere. merge_bytes: while a commit is in
    flight, neighbouring deltas are merged into deltas of at most this many bytes; 0 disables merging.
    slots: how many turns that ask no language model work at a time in this process; the others wait.
    alone_seconds: how long a turn that may stop its worker waits for the other turns of its process to end, and
    then how long it has the process for itself.
    """

    works: bool = True
    poll_seconds: float = 0.5
    merge_bytes: int = MAX_DELTA_BYTES
    slots: int = 8
    alone_seconds: float = 10.0
