"""The settings of turns, under the name `turns`: times, limits and leases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

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
            description=(
                "How long a worker keeps a turn without renewing its lease; then another takes it over."
            ),
        ),
    ] = 6.0
    max_running: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description=(
                "The most turns with a language model that one worker runs at a time; further ones wait."
            ),
        ),
    ] = 64
    max_pending: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            description=(
                "The most turns, over all replicas, that wait for a worker; further ones are refused "
                "with OVERLOADED."
            ),
        ),
    ] = 1000
    answer_seconds: Annotated[
        float,
        Field(
            ge=0.1,
            le=600,
            description=(
                "A server takes at most as many questions to agents without a language model as it "
                "answers in this time, by the rate that it measures; further ones are refused with "
                "OVERLOADED."
            ),
        ),
    ] = 1.5
    max_losses: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            description=(
                "How many times in succession, without a new checkpoint, a turn may lose its worker; "
                "the next loss fails it with WORKER_LOST."
            ),
        ),
    ] = 5
    alone_after_losses: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description=(
                "After how many such losses a turn runs alone in its process; if that is lost, too, the "
                "turn fails with WORKER_LOST."
            ),
        ),
    ] = ALONE_AFTER_LOSSES
    retention_days: Annotated[
        int,
        Field(
            ge=1,
            le=3650,
            description=(
                "How long the events of an ended turn are stored; later, a resume returns only the "
                "whole answer."
            ),
        ),
    ] = 30
    conversation_days: Annotated[
        int,
        Field(
            ge=0,
            le=36_500,
            description=(
                "After how many days without a change a conversation is deleted with everything in it, even "
                "if pinned or archived; 0 keeps all."
            ),
        ),
    ] = 0
    checkpoint_hours: Annotated[
        float,
        Field(
            ge=1,
            le=8760,
            description=(
                "How long the checkpoint of a turn without a worker is stored; a later worker starts "
                "from the beginning."
            ),
        ),
    ] = 24.0


@dataclass(frozen=True, slots=True)
class TurnOptions(TurnSettings):
    """The settings, and the other options for the turns of one process.

    works: whether this process runs turns; otherwise it only accepts and follows them. poll_seconds: how
    often, in seconds, the log is read for silent turns that run elsewhere. merge_bytes: while a commit is in
    flight, neighbouring deltas are merged into deltas of at most this many bytes; 0 disables merging.
    slots: how many turns that ask no language model work at a time in this process; the others wait.
    alone_seconds: how long a turn that may stop its worker waits for the other turns of its process to end, and
    then how long it has the process for itself. prune_seconds: how often a worker deletes events and checkpoints that
    are too old. sweep_seconds: how often a worker looks for turns that wait or whose lease has expired; it is told of most at
    once, and without Redis it looks every quarter of a second. max_queued: the most turns that wait in one conversation
    (`on_busy` QUEUE); further ones are refused with QUEUE_FULL. heartbeat_seconds: how often a silent stream sends an empty
    frame; after 45 seconds of silence, clients consider the connection lost. disconnect_seconds: how long a turn with
    `cancel_on_disconnect` continues without a client that follows it.
    """

    works: bool = True
    poll_seconds: float = 0.5
    merge_bytes: int = MAX_DELTA_BYTES
    slots: int = 8
    alone_seconds: float = 10.0
    prune_seconds: float = 3600.0
    sweep_seconds: float = 2.0
    max_queued: int = 8
    heartbeat_seconds: float = 15.0
    disconnect_seconds: float = 10.0
