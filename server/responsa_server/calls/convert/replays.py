"""Replays, as administrators see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.longrunning import operations_proto_pb2 as operations_pb2

from responsa.admin.v1 import admin_service_pb2, replay_pb2
from responsa_server.calls.convert import messages
from responsa_server.calls.convert.enums import TURN_STATE
from responsa_server.calls.convert.knowledge import operation
from responsa_server.calls.convert.values import timestamp, to_datetime
from responsa_server.domain import names
from responsa_server.domain.knowledge import Operation
from responsa_server.domain.replays import ReplayedEnd, ReplayedTurns
from responsa_server.domain.rows import Row
from responsa_server.domain.turns import TurnState

_MOST_TURNS: Final = 100
_STATES: Final = (TurnState.ANSWERED, TurnState.REFUSED, TurnState.FAILED)
_SIDE: Final = ("answered", "refused", "failed", "cancelled", "milliseconds")
_TOTALS: Final = (
    "replayed",
    "left_out",
    "changed_outcomes",
    "citations_kept",
    "citations_lost",
    "citations_new",
)


def source(request: admin_service_pb2.StartReplayRequest) -> ReplayedTurns | Sequence[str]:
    if request.HasField("texts"):
        return list(request.texts.questions)
    turns = request.turns
    start = to_datetime("turns.start_time", turns.start_time) if turns.HasField("start_time") else None
    end = to_datetime("turns.end_time", turns.end_time) if turns.HasField("end_time") else None
    states = [state for number in turns.states if (state := TURN_STATE.value(number)) is not None]
    return ReplayedTurns(start, end, states or _STATES, turns.max_turns or _MOST_TURNS)


def replay_operation(value: Operation) -> operations_pb2.Operation:
    progress = replay_pb2.ReplayMetadata(
        agent_version=value.agent_version,
        questions_done=value.passages_done,
        questions_total=value.passages_total,
        totals=_totals(value),
        create_time=timestamp(value.create_time),
        update_time=timestamp(value.update_time),
        paused=value.paused and not value.done,
    )
    return operation(value, progress, lambda: progress.totals)


def replayed_question(value: Row) -> replay_pb2.ReplayedQuestion:
    return messages.message(
        replay_pb2.ReplayedQuestion,
        value,
        # Who asked a turn is not shown: the replay names no more people than ListTenantTurns.
        user=names.user(value.user_id) if value.turn_id is None else "",
        before=_end(value.before),
        after=_end(value.after),
    )


def _totals(value: Operation) -> replay_pb2.ReplayTotals:
    counts = value.counts

    def side(name: str) -> replay_pb2.ReplaySums:
        return replay_pb2.ReplaySums(
            cost_usd_micros=counts.get(f"{name}_cost_micros", 0),
            **{key: counts.get(f"{name}_{key}", 0) for key in _SIDE},
        )

    return replay_pb2.ReplayTotals(
        before=side("before"), after=side("after"), **{key: counts.get(key, 0) for key in _TOTALS}
    )


def _end(value: ReplayedEnd | None) -> replay_pb2.ReplayedEnd | None:
    if value is None:
        return None
    return messages.message(replay_pb2.ReplayedEnd, value, cost_usd_micros=value.cost_micros)
