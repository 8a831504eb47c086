"""`responsa replay`: what it asks for, and what it prints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from clients.conformance.server import Context
from responsa.admin.v1 import admin_service_pb2, replay_pb2
from responsa.chat.v1 import turn_pb2
from responsa.knowledge.v1 import knowledge_service_pb2
from tests.clients.command_line import CommandLine
from tests.clients.scripted import ADMIN, KNOWLEDGE, Scripted

OPERATION = "operations/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10"
TOTALS = replay_pb2.ReplayTotals(
    replayed=2,
    left_out=1,
    changed_outcomes=1,
    before=replay_pb2.ReplaySums(refused=1, cost_usd_micros=20, milliseconds=1500),
    after=replay_pb2.ReplaySums(answered=2, cost_usd_micros=500_000, milliseconds=900),
    citations_new=2,
)
ANSWERED = replay_pb2.ReplayedEnd(
    state=turn_pb2.TURN_STATE_ANSWERED, citations=2, cost_usd_micros=250_000, milliseconds=450
)
REFUSED = replay_pb2.ReplayedEnd(
    state=turn_pb2.TURN_STATE_REFUSED, reason="NO_SUPPORT", cost_usd_micros=20, milliseconds=1500
)
QUESTIONS = [
    replay_pb2.ReplayedQuestion(
        place=1,
        state=replay_pb2.REPLAY_STATE_REPLAYED,
        turn="turns/1",
        before=REFUSED,
        after=ANSWERED,
        citations_new=2,
        unrecorded_tool_calls=1,
    ),
    replay_pb2.ReplayedQuestion(place=2, state=replay_pb2.REPLAY_STATE_USER_GONE, turn="turns/2"),
    replay_pb2.ReplayedQuestion(
        place=3, state=replay_pb2.REPLAY_STATE_REPLAYED, question="Why?", after=ANSWERED
    ),
]
PRINTED = f"""\
{OPERATION}  3 questions
   1  turns/1
      refused (NO_SUPPORT) → answered; citations 0 kept, 0 lost, 2 new; 0.00002 → 0.25 USD; 1.5 → 0.5 s; 1 tool call not made
   2  user gone  turns/2
   3  Why?
      answered; 2 citations; 0.25 USD; 0.5 s
2 questions replayed, 1 left out, 1 outcome changed
citations  0 kept, 0 lost, 2 new
before     1 refused; 0.00002 USD; 1.5 s
after      2 answered; 0.50 USD; 0.9 s
"""


@pytest.fixture(autouse=True)
def replays(server: Scripted) -> list[admin_service_pb2.StartReplayRequest]:
    requests = list[admin_service_pb2.StartReplayRequest]()
    state = operations_pb2.Operation(name=OPERATION)
    state.metadata.Pack(
        replay_pb2.ReplayMetadata(
            agent_version="agents/tutor/versions/2", questions_done=1, questions_total=3
        )
    )

    async def start(request: admin_service_pb2.StartReplayRequest, _: Context) -> operations_pb2.Operation:
        requests.append(request)
        return state

    async def watch(_: Any, __: Context) -> AsyncIterator[knowledge_service_pb2.WatchOperationResponse]:
        done = operations_pb2.Operation(name=OPERATION, done=True, metadata=state.metadata)
        done.response.Pack(TOTALS)
        yield knowledge_service_pb2.WatchOperationResponse(operation=done, seq=2)

    async def listed(_: Any, __: Context) -> admin_service_pb2.ListReplayedQuestionsResponse:
        return admin_service_pb2.ListReplayedQuestionsResponse(replayed_questions=QUESTIONS)

    async def operations(_: Any, __: Context) -> operations_pb2.ListOperationsResponse:
        return operations_pb2.ListOperationsResponse(operations=[state])

    server.on(f"{ADMIN}/StartReplay", start)
    server.on(f"{ADMIN}/ListReplayedQuestions", listed)
    server.on(f"{KNOWLEDGE}/WatchOperation", watch)
    server.on("google.longrunning.Operations/ListOperations", operations)
    return requests


async def test_turns_are_chosen_and_compared(
    responsa: CommandLine, replays: list[admin_service_pb2.StartReplayRequest]
) -> None:
    chosen = (
        "--since",
        "2026-11-01",
        "--until",
        "2026-11-02T06:00:00Z",
        "--outcome",
        "refused",
        "--most",
        "7",
    )
    done = await responsa("replay", "--agent", "tutor", "--version", "2", "--max-cost", "0.5", *chosen)
    assert (done.code, done.out, done.err) == (0, PRINTED, "")
    [request] = replays
    assert (request.agent_version, request.max_cost_usd_micros) == ("agents/tutor/versions/2", 500_000)
    assert request.turns == admin_service_pb2.ReplayedTurns(
        start_time=Timestamp(seconds=1_793_491_200),
        end_time=Timestamp(seconds=1_793_599_200),
        states=[turn_pb2.TURN_STATE_REFUSED],
        max_turns=7,
    )
    assert (await responsa("operations", "list")).out == (
        f"{OPERATION}  replaying  agents/tutor/versions/2  1 of 3 questions\n"
    )


async def test_questions_of_a_file(
    responsa: CommandLine, replays: list[admin_service_pb2.StartReplayRequest]
) -> None:
    file = responsa.folder / "old.jsonl"
    command = ("replay", "--agent", "tutor", "--version", "2", "--from", str(file), "--json")
    file.write_text('{"question": "Why?"}\n\n{"question": "How?"}\n')
    done = await responsa(*command)
    assert (done.code, [line.get("place") for line in done.lines]) == (0, [1, 2, 3, None])
    assert done.lines[-1]["replayed"] == 2
    assert list(replays[0].texts.questions) == ["Why?", "How?"]

    assert (await responsa(*command, "--most", "1")).code == 0
    assert list(replays[1].texts.questions) == ["Why?"]
    done = await responsa(*command, "--since", "2026-11-01", "--outcome", "failed", "--outcome", "refused")
    assert (done.code, "which --since and --outcome cannot filter" in done.err) == (2, True)

    file.write_text('{"question": "Why?"}\n{"text": "How?"}\n')
    done = await responsa(*command)
    assert (done.code, f"Line 2 of {file} is not an object with the text `question`" in done.err) == (2, True)
    file.unlink()
    assert (await responsa(*command)).code == 2
    assert len(replays) == 2
